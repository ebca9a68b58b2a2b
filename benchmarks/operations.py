"""The operations: what they are called, what they are given, and what Timber aims at."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from benchmarks import rows
from benchmarks.rows import Change, Criteria, Plan, Visit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from benchmarks.database import World

Inputs = list[Any]


@dataclass(frozen=True, slots=True)
class Batch:
    """The calls that one contender makes in one round."""

    world: World
    calls: int
    round: int = 0


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing every contender does."""

    name: str
    title: str
    method: str
    """The method of the contender, called with one input."""
    inputs: Callable[[Batch], Awaitable[Inputs]]
    """One input for each call of a batch; not timed."""
    writes: bool = False
    concurrent: bool = True
    bound: float | None = None
    """Timber's time divided by the limit's, at most."""
    orm_factor: float | None = None
    """The ORM's time divided by Timber's, at least, with 32 tasks."""
    rows: int = 1
    """Rows that one call writes."""

    @property
    def small(self) -> int:
        """Calls of a batch where time does not matter."""
        return max(1, min(8, 200 // self.rows))


async def _ids(batch: Batch) -> Inputs:
    return list(rows.seeded_ids(batch.calls, batch.round))


async def _users(batch: Batch) -> Inputs:
    return [rows.user(batch.round * 31 + number) for number in range(batch.calls)]


async def _criteria(batch: Batch) -> Inputs:
    return [
        Criteria(
            user_id=rows.user(batch.round * 31 + number),
            statuses=["active", "completed"],
            since=rows.EPOCH + timedelta(days=1),
            until=rows.EPOCH + timedelta(days=6),
            metadata={"symbol": rows.SYMBOLS[number % 5]},
        )
        for number in range(batch.calls)
    ]


async def _new_sessions(batch: Batch) -> Inputs:
    return [rows.new_session(number) for number in range(batch.calls)]


def _batches_of(size: int) -> Callable[[Batch], Awaitable[Inputs]]:
    async def batches(batch: Batch) -> Inputs:
        return [
            [rows.new_session(call * size + number) for number in range(size)]
            for call in range(batch.calls)
        ]

    return batches


async def _changes(batch: Batch) -> Inputs:
    added = await batch.world.add_sessions(batch.calls)
    return [Change(key, rows.metadata(number + 1)) for number, key in enumerate(added)]


async def _doomed(batch: Batch) -> Inputs:
    return list(await batch.world.add_sessions(batch.calls))


async def _plans(batch: Batch) -> Inputs:
    contents = ({"pe": 29.1, "summary": "above the estimate"}, {"pb": 4.2, "tags": ["a", "b"]})
    return [Plan(rows.new_session(number), contents) for number in range(batch.calls)]


async def _visits(batch: Batch) -> Inputs:
    reads = rows.seeded_ids(5 * batch.calls, batch.round)
    changes = await _changes(batch)
    return [
        Visit(tuple(reads[number * 5 : number * 5 + 5]), change)
        for number, change in enumerate(changes)
    ]


OPERATIONS = (
    Operation("get", "get by id", "get", _ids, bound=1.0, orm_factor=4.0),
    Operation("list", "list 20", "list_newest", _users, bound=1.1),
    Operation("filter", "complex filter", "filter", _criteria),
    Operation("join", "join: 20 with their research", "join", _users),
    Operation("nested", "nested: 20 with research and history", "nested", _users, orm_factor=2.0),
    Operation("insert", "insert", "insert", _new_sessions, writes=True, bound=1.15),
    Operation("update", "update", "update", _changes, writes=True, bound=1.15, orm_factor=4.0),
    Operation("delete", "delete", "delete", _doomed, writes=True, bound=1.15),
    Operation(
        "rows_100", "insert 100 rows", "insert_many", _batches_of(100), writes=True, rows=100
    ),
    Operation(
        "rows_10000",
        "insert 10,000 rows",
        "insert_many",
        _batches_of(10_000),
        writes=True,
        concurrent=False,
        bound=1.3,
        rows=10_000,
    ),
    Operation(
        "three_writes",
        "unit of work: 3 writes, two services",
        "three_writes",
        _plans,
        writes=True,
        rows=3,
        bound=1.25,
    ),
    Operation(
        "five_reads",
        "unit of work: 5 reads, 1 update",
        "five_reads_one_update",
        _visits,
        writes=True,
        bound=1.25,
    ),
)
