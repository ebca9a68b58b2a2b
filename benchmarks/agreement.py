"""Every contender's result, and what it left in the tables, must be equal before anything is timed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby, zip_longest
from typing import TYPE_CHECKING
from uuid import UUID

from pydantic import BaseModel

from benchmarks import rows
from benchmarks.operations import Batch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.contenders import Contender
    from benchmarks.database import World
    from benchmarks.operations import Operation
    from benchmarks.wire import Recorder


class DisagreementError(Exception):
    """Two contenders did not do the same."""


async def check_agreement(
    operation: Operation, contenders: Sequence[Contender], world: World
) -> None:
    """Let each contender do ``operation`` and compare what it returned and what it wrote.

    Raises:
        DisagreementError: naming the contender and the first difference.
    """
    expected: list[object] | None = None
    for contender in contenders:
        inputs = await operation.inputs(Batch(world, min(operation.small, 3), 1))
        started = datetime.now(UTC)
        results = [await getattr(contender, operation.method)(value) for value in inputs]
        plain = _Plain(started)
        written = [plain.of(row) for row in await world.written()]
        actual = [plain.of(results), sorted(written, key=repr)]
        if operation.writes:
            await world.restore()
        if expected is None:
            expected = actual
        elif actual != expected:
            where = _difference(expected, actual, "result")
            raise DisagreementError(f"{operation.title}, {contender.title}: {where}")


@dataclass(frozen=True, slots=True)
class Traffic:
    """What one call sends: its statements in order, and the round trips that they take."""

    statements: tuple[str, ...]
    round_trips: int

    @property
    def counted(self) -> Iterator[str]:
        """The statements, those that follow themselves only once with their number."""
        for statement, group in groupby(self.statements):
            count = len(list(group))
            yield statement if count == 1 else f"{statement} ({count} times)"


async def record_traffic(
    operation: Operation, contender: Contender, world: World, recorder: Recorder
) -> Traffic:
    """The traffic of one call on a connection where the statements are prepared."""
    inputs = await operation.inputs(Batch(world, 1 if operation.rows > 1000 else 3, 1))
    for value in inputs:
        recorder.clear()
        await getattr(contender, operation.method)(value)
    if operation.writes:
        await world.restore()
    return Traffic(tuple(recorder.statements), recorder.round_trips)


def check_statements(operation: Operation, limit: Traffic, timber: Traffic) -> None:
    """The limit is one only if it does what Timber does: the same statements, whatever the order of their columns.

    Raises:
        DisagreementError: with the first statement that differs.
    """
    for ours, theirs in zip_longest(timber.statements, limit.statements, fillvalue=""):
        if _words(ours) != _words(theirs):
            raise DisagreementError(
                f"{operation.title}: Timber sends\n  {ours or 'nothing'}\nand the limit\n  {theirs or 'nothing'}"
            )


def _words(statement: str) -> list[str]:
    """Names, keywords, operators and parameters, in alphabetical order."""
    return sorted(re.findall(r"[\w.]+|\$|[^\s\w.$(),\"]+", re.sub(r"\$\d+", "$", statement)))


class _Plain:
    """Results as lists and dicts of exact types, with keys and times made by the call replaced by their kind."""

    def __init__(self, started: datetime) -> None:
        self._started = started
        self._made: dict[UUID, str] = {}

    def of(self, value: object) -> object:
        if isinstance(value, BaseModel):
            return [type(value).__name__, self.of(dict(value))]
        if isinstance(value, dict):
            return {key: self.of(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.of(item) for item in value]
        if isinstance(value, UUID):
            return self._key(value)
        if isinstance(value, datetime):
            return "now" if value >= self._started else value
        return [type(value).__name__, value]

    def _key(self, value: UUID) -> str:
        name = str(value) if rows.is_fixed(value) else f"made {len(self._made) + 1}"
        return self._made.setdefault(value, name)


def _difference(expected: object, actual: object, path: str) -> str:
    if isinstance(expected, dict) and isinstance(actual, dict) and expected.keys() == actual.keys():
        pairs = [(f"{path}.{key}", expected[key], actual[key]) for key in expected]
    elif isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        pairs = [
            (f"{path}[{index}]", *pair)
            for index, pair in enumerate(zip(expected, actual, strict=True))
        ]
    else:
        return f"{path} is {actual!r}, not {expected!r}"
    return next(_difference(a, b, where) for where, a, b in pairs if a != b)
