"""Calls of public methods, made from their signatures: some arguments fit, some are junk."""

from __future__ import annotations

import inspect
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from tests.faults.junk import junk, shown
from timber.app import Timber
from timber.models.config import ModelConfig

MODELS = ("Session", "ResearchData", "Notification", "Tracker", "TrackerEvent", "Folder", "Case")
USERS = ("user-1", "user-2")
_NOT_CALLED = frozenset({
    "before_create", "after_create", "before_update", "after_update", "before_delete", "after_delete",
    "of_settings", "repository_of",
})  # fmt: skip
"""What a subclass overrides, and what wires a service."""
_OPERATORS: tuple[tuple[str, int], ...] = (
    ("__eq__", 1), ("__ne__", 1), ("__lt__", 1), ("__le__", 1), ("__gt__", 1), ("__ge__", 1), ("in_", 1), ("not_in", 1),
    ("between", 2), ("like", 1), ("ilike", 1), ("is_null", 0), ("not_null", 0), ("contains", 1),
)  # fmt: skip


class World:
    """What there is to call, and what is known to be there."""

    def __init__(self, timber: Timber) -> None:
        self.timber = timber
        self.ids: dict[str, list[UUID]] = {name: [] for name in MODELS}
        self.cursors: list[str] = []
        self.targets: dict[str, Any] = {
            "sessions": timber.sessions,
            "research": timber.research,
            "notifications": timber.notifications,
            "tracking": timber.tracking,
            "folders": timber.service("Folder"),
            "cases": timber.service("Case"),
        }
        for name in MODELS:
            dto = timber.registry.read_dto(name)
            self.targets[f"repository of {name}"] = timber.repository(name, dto)
        self.methods: list[tuple[str, str]] = [
            (target, name)
            for target, found in self.targets.items()
            for name in dir(type(found))
            if not name.startswith("_") and name not in _NOT_CALLED
            if inspect.isfunction(getattr(type(found), name))
        ]

    def note(self, result: object) -> None:
        """Remember what a call has given, for the next ones."""
        for each in result if isinstance(result, list) else [result]:
            for name in ("next_cursor", "previous_cursor"):
                if isinstance(cursor := getattr(each, name, None), str):
                    self.cursors = [*self.cursors[-20:], cursor]

    def config_of(self, target: str) -> ModelConfig:
        found = self.targets[target]
        repository = getattr(found, "repository", None) or getattr(found, "trackers", found)
        return repository.config


class Call:
    """One call. Its arguments are made when it is run, since filters refuse some themselves."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self.world = world
        self.rng = rng
        self.target, self.method = rng.choice(world.methods)
        self.config = world.config_of(self.target)
        self.badness = rng.choice((0.0, 0.05, 0.2, 0.5))
        self.args: tuple[Any, ...] = ()
        self.kwargs: dict[str, Any] = {}

    def __str__(self) -> str:
        given = [shown(each) for each in self.args]
        given += [f"{shown(name)}={shown(value)}" for name, value in self.kwargs.items()]
        return f"{self.target}.{self.method}({', '.join(given)})"

    async def run(self) -> object:
        function = getattr(self.world.targets[self.target], self.method)
        self.args, self.kwargs = self._arguments(function)
        result = function(*self.args, **self.kwargs)
        if inspect.isawaitable(result):
            result = await result
        if hasattr(result, "__aenter__"):
            return await _open(result)
        self.world.note(result)
        return result

    # Arguments

    def _arguments(self, function: Callable[..., Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        rng = self.rng
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.kind is parameter.VAR_POSITIONAL:
                args += [self._filter() for _ in range(rng.choice((0, 0, 1, 2)))]
            elif parameter.kind is parameter.VAR_KEYWORD:
                for _ in range(rng.choice((0, 0, 1, 2))):
                    column = self._column()
                    if column not in kwargs:
                        kwargs[column] = self._of_column(column)
            elif parameter.kind is parameter.KEYWORD_ONLY:
                if parameter.default is parameter.empty or rng.random() < 0.4:
                    kwargs[name] = self._argument(name)
            elif parameter.default is parameter.empty or rng.random() < 0.6:
                args.append(self._argument(name))
            else:
                args.append(parameter.default)
        return tuple(args), kwargs

    def _argument(self, name: str) -> Any:
        if self.rng.random() < self.badness:
            return junk(self.rng)
        return self._fitting(name)

    def _fitting(self, name: str) -> Any:  # noqa: PLR0911  # one line for each kind of argument
        rng = self.rng
        if name in {"cursor", "after"}:
            return rng.choice([None, *self.world.cursors, *map(self._damaged, self.world.cursors)])
        if name in {"values", "changes", "content", "metadata", "context"}:
            return self._values()
        if name in {"items", "rows"}:
            return [self._values() for _ in range(rng.choice((0, 1, 2, 5)))]
        if name == "ids":
            return [self._id() for _ in range(rng.choice((0, 1, 3)))]
        if name in {"order_by", "by", "on", "merge", "update", "columns", "column"}:
            return self._names()
        if name in {"loader", "compute"}:
            return self._loader(self._values() if rng.random() < 0.7 else junk(rng))
        if name == "into":
            return rng.choice([None, *map(self.world.timber.registry.read_dto, MODELS)])
        if name in {"id", "whose"} or name.endswith("_id"):
            return rng.choice(USERS) if name in {"user_id", "whose"} else self._id(_HOME.get(name))
        return rng.choice(_OF_ARGUMENT.get(name, _WORDS))

    def _id(self, model: str | None = None) -> Any:
        rng = self.rng
        own = self.world.ids.get(model or self.config.name) or [uuid4()]
        kind = rng.random()
        if kind < 0.7:
            found = rng.choice(own)
            return found if rng.random() < 0.7 else str(found)
        others = [each for ids in self.world.ids.values() for each in ids]
        return rng.choice(others or [uuid4()]) if kind < 0.9 else uuid4()

    def _column(self) -> str:
        if self.rng.random() < 0.1:
            return str(self.rng.choice(_WORDS))
        return self.rng.choice([column.name for column in self.config.columns])

    def _values(self) -> dict[str, Any]:
        """The columns of a new row, or to change; now and then one that is not for callers, or none at all."""
        rng = self.rng
        is_new, share = rng.random() < 0.6, rng.choice((0.1, 0.5))
        values: dict[str, Any] = {}
        for column in self.config.columns:
            is_ours = column.generated is not None or column.hidden or column.name in _KEPT
            if is_ours and rng.random() > self.badness / 10:
                continue
            if rng.random() < share or (is_new and not column.nullable):
                values[column.name] = self._of_column(column.name)
        if rng.random() < self.badness / 3:
            values[rng.choice(_WORDS)] = junk(rng)
        return values

    def _of_column(self, name: str) -> Any:
        rng = self.rng
        column = next((each for each in self.config.columns if each.name == name), None)
        if column is None or rng.random() < self.badness / 3:
            return junk(rng)
        if name.endswith("user_id"):
            return rng.choice(USERS)
        if column.type.kind == "UUID":
            return self._id(_HOME.get(name))
        if name in _OF_COLUMN:
            return rng.choice(_OF_COLUMN[name])
        return self._of_kind(column.type)

    def _of_kind(self, kind: Any) -> Any:
        rng = self.rng
        if kind.kind == "Array":
            return [self._of_kind(kind.item) for _ in range(rng.randint(0, 3))]
        if kind.kind == "Enum":
            return rng.choice(kind.labels)
        fitting = _OF_KIND.get(kind.kind, _WORDS)
        value = rng.choice(fitting if rng.random() > self.badness / 5 else _AT_THE_EDGE)
        return value[: kind.length] if kind.length and isinstance(value, str) else value

    def _names(self) -> Any:
        rng = self.rng
        names = [rng.choice(("", "-")) + self._column() for _ in range(rng.randint(1, 2))]
        kind = rng.random()
        return names[0] if kind < 0.6 else tuple(names) if kind < 0.9 else names

    def _filter(self) -> Any:
        rng = self.rng
        if rng.random() < self.badness / 2:
            return junk(rng)
        found = self.world.targets[self.target]
        repository = found if hasattr(found, "where") else getattr(found, "repository", None)
        column = self._column()
        field = (repository or found.trackers).where[column]
        if rng.random() < 0.15:
            field = field[rng.choice(("a", "symbol", 0, -1, "x" * 300, None, 1.5, "\0"))]
        operator, count = rng.choice(_OPERATORS)
        values: list[Any] = [self._of_column(column) for _ in range(count)]
        if operator in {"in_", "not_in"} and rng.random() < 0.8:
            values = [[self._of_column(column) for _ in range(rng.randint(0, 3))]]
        made = getattr(field, operator)(*values)
        if rng.random() < 0.2:
            other = self._filter()
            return made & other if rng.random() < 0.5 else made | other
        return ~made if rng.random() < 0.1 else made

    def _damaged(self, text: str) -> str:
        at = self.rng.randrange(len(text))
        return self.rng.choice(
            (text[:at], text[:at] + "A" + text[at + 1 :], text + "=", text[::-1])
        )

    def _loader(self, content: object) -> Callable[[], Awaitable[object]]:
        async def load() -> object:
            return content

        return load


async def _open(manager: Any) -> list[object]:
    """The first of what a stream gives; a subscription would wait for more."""
    first: list[object] = []
    async with manager as found:
        if isinstance(found, AsyncIterator) and not hasattr(found, "cursor"):
            async for each in found:
                first.append(each)
                if len(first) == 3:
                    break
    return first


_WORDS: tuple[Any, ...] = (
    "research", "active", "paused", "completed", "deleted", "ready", "note", "keyword", "gold", "day", "hour", "status",
    "high", "low", "colour", "price", "pending", "running", "user-1", "x",
)  # fmt: skip
_KEPT = frozenset({"id", "version", "created_at", "updated_at", "deleted_at", "version_token"})
"""Columns that Timber keeps itself."""
_HOME = {"session_id": "Session", "research_id": "ResearchData", "notification_id": "Notification",
         "tracker_id": "Tracker", "folder_id": "Folder"}  # fmt: skip
_OF_COLUMN: dict[str, tuple[Any, ...]] = {
    "session_type": ("research", "trading", "portfolio"),
    "metadata": ({}, {"symbol": "AAPL"}, {"a": [1, {"b": None}]}),
    "level": (0, 1, 9),
    "short": ("", "a", "abc"),
    "number": tuple(range(1000)),
    "moment": (datetime(2026, 1, 1, tzinfo=UTC), None),
    "until": (datetime(2027, 1, 1, tzinfo=UTC), None),
    "check_interval": (timedelta(1), timedelta(minutes=1), None),
}
_OF_KIND: dict[str, tuple[Any, ...]] = {
    "String": ("a", "abc", "x" * 300, "A b"),
    "Text": ("", "gold and silver", "x" * 10_000),
    "Integer": (0, 1, 5, -1, 2**31 - 1),
    "BigInteger": (0, -1, 2**63 - 1, -(2**63)),
    "SmallInteger": (0, -1, 2**15 - 1),
    "Float": (0.0, 1.5, -1e300, 1),
    "Numeric": (0, 1, Decimal("1.5"), Decimal("9e15"), 0.1),
    "Boolean": (True, False),
    "Date": (date(2026, 1, 1), date.min, date.max),
    "Time": (time(1, 2), time.max),
    "DateTime": (datetime(2026, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)),
    "Interval": (timedelta(1), timedelta(0), timedelta(days=-1)),
    "JSON": ({}, [], {"a": [1, {"b": None}]}, "x", 1, {"symbol": "AAPL"}, {"x": 1e30}),
    "JSONB": ({}, [], {"a": [1, {"b": None}]}, "x", 1, {"symbol": "AAPL"}, {"x": 1e30}),
    "Binary": (b"", b"\0\xff", b"x" * 1000),
}
_AT_THE_EDGE: tuple[Any, ...] = (
    None, 2**15, 2**31, 2**63, float("nan"), "2.5", "1", Decimal("1e16"), "2026-01-01", "01:02", "2026-01-01T00:00:00Z",
    timedelta.max, timedelta.min, 1, "colour", "",
)  # fmt: skip
_NUMBERS = (1, 2, 20, 100, 1000)
_FLAGS = (True, False)
_SPANS = (0, 1, 0.5, timedelta(minutes=1))
_OF_ARGUMENT: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("limit", "page", "per_page", "batch"), _NUMBERS),
    **dict.fromkeys(
        ("fresh", "include_deleted", "hard", "hard_delete", "unread_only", "triggered"), _FLAGS
    ),
    **dict.fromkeys(("conditions", "event_data"), _OF_KIND["JSONB"]),
    **dict.fromkeys(("max_age", "lease", "check_interval"), _SPANS),
    "owner": (None, *USERS),
    "expected_version": (None, 1, 2),
    "mode": (None, "keyword", "semantic", "hybrid"),
}
