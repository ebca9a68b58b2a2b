"""The ways in which a transaction reaches a cache: each is the real code from what was written to what is cleared."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

from timber.cache.binding import Binding
from timber.cache.cached_model import CachedModel
from timber.cache.coherence.changes import Changes
from timber.cache.debt import Debt
from timber.cache.model_cache import ModelCache
from timber.database.levels import Change, Level
from timber.database.moments import Moments
from timber.errors import Outcome
from timber.models import ModelConfig

if TYPE_CHECKING:
    from tests.cache.model.world import Process

ROWS = CachedModel(
    ModelConfig.model_validate(
        {
            "name": "Row",
            "table": "rows",
            "columns": [
                {"name": "id", "type": "Integer", "primary_key": True},
                {"name": "of", "type": "Text"},
                {"name": "n", "type": "Integer"},
            ],
            "features": {"cache": {"tags": ["rows:of:{of}"]}},
        }
    )
)
ONE = {"id": 1, "of": "one"}
"""The row that is written where one row is cached."""
ANOTHER = {"id": 2, "of": "one"}
"""The row that is written where a list is cached."""

Owed = list[tuple[UUID, tuple[str, ...]]]
"""The owed rows that become visible with the COMMIT."""
_INSERTED = re.compile(r"VALUES \('([0-9a-f-]+)', (\$owed\w+\$)\{(.*)\}\2::text\[\]\)")


class Way:
    """One transaction: what it owes, what is told once its outcome is known."""

    def __init__(self, process: Process, written: Mapping[str, Any]) -> None:
        self.process = process
        self.cache = process.cache
        self.written = written

    def undone(self) -> None:
        """A part that a savepoint takes back has written another row."""

    def write(self) -> None:
        """The write itself."""

    async def owe(self) -> Owed:
        """Before COMMIT."""
        raise NotImplementedError

    async def ended(self, outcome: Outcome) -> None:
        """After it."""
        raise NotImplementedError


class Unit(Way):
    """A unit of work, whose owed row goes in one message with COMMIT."""

    is_part = False

    def __init__(self, process: Process, written: Mapping[str, Any]) -> None:
        super().__init__(process, written)
        self.levels = [Level()]
        self.outcome: Outcome | None = None
        self.last = ""
        self.writes = 1
        self._moments = Moments()
        Binding(self.cache, _Database(self._moments), _NoModels())  # type: ignore[arg-type]

    @property
    def changes(self) -> tuple[Change, ...]:
        return tuple(change for level in self.levels for change in level.changes)

    def say_last(self, sql: str) -> bool:
        self.last = sql
        return True

    def undone(self) -> None:
        inner = Level()
        inner.changes.append(Change("Row", (3,), ("rows:of:another",)))
        self.levels.append(inner)
        self.levels.pop()

    def write(self) -> None:
        debt = Debt(ROWS)
        for model, ids, tags in debt.told_by([self.written]):
            self.levels[-1].changes.append(Change(model, tuple(ids), tuple(tags)))

    async def owe(self) -> Owed:
        for hook in self._moments.before_commit:
            await hook(self)
        found = _INSERTED.search(self.last)
        if found is None:
            return []
        return [(UUID(found[1]), tuple(re.findall(r'"([^"]*)"', found[3])))]

    async def ended(self, outcome: Outcome) -> None:
        self.outcome = outcome
        moments = self._moments
        for hook in moments.after_rollback if outcome == "rolled_back" else moments.after_commit:
            waiting = hook(self)
            if waiting is not None:
                await waiting


class Bulk(Unit):
    """A unit of work that has changed it is not known which rows, in the ORM's bulk statement or in very many."""

    def write(self) -> None:
        self.levels[-1].changes.append(Change("Row"))


class Lone(Way):
    """A write alone, whose owed row is in its own statement."""

    def write(self) -> None:
        self._models = ModelCache(self.cache, ROWS)
        debt = self._models.debt("update", ["n"])
        assert debt is not None
        self._debt = debt

    async def owe(self) -> Owed:
        _, (id_, known) = self._debt.owing(many=False)
        # PostgreSQL makes the names of the row by itself, and has the others as arguments.
        told = [f"Row:{self.written['id']}", f"rows:of:{self.written['of']}"]
        return [(id_, (*known, *told))]

    async def ended(self, outcome: Outcome) -> None:
        if outcome == "committed":
            await self._models.pay(self._debt, self._debt.told_by([self.written]))
        elif outcome == "unknown":
            self._models.pay_later(self._debt)


class Session(Way):
    """A session of SQLAlchemy that commits by itself."""

    changes: Changes

    def write(self) -> None:
        self.changes = self.cache.changes()
        self.changes.add("Row", [self.written["id"]], ROWS.tags_of(self.written))

    async def owe(self) -> Owed:
        owed = self.cache.owed_statement(self.changes)
        assert owed is not None
        _, (id_, names) = owed
        assert isinstance(id_, UUID)
        assert isinstance(names, list)
        return [(id_, tuple(names))]

    async def ended(self, outcome: Outcome) -> None:
        if outcome == "committed":
            await self.cache.committed(self.changes)
        elif outcome == "unknown":
            self.cache.overdue(self.changes)


class _Database:
    """What the binding sees of a database in which there is no session."""

    def __init__(self, moments: Moments) -> None:
        self.moments = moments

    def current(self) -> None:
        return None


class _NoModels:
    """The registry of a database whose models a repository would ask the cache for."""

    def list_models(self) -> list[str]:
        return []


WAYS: dict[str, Callable[[Process, Mapping[str, Any]], Way]] = {
    "unit": Unit,
    "bulk": Bulk,
    "lone": Lone,
    "session": Session,
}
