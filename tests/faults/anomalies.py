"""Martin Kleppmann's Hermitage (https://github.com/ept/hermitage) as a caller of ``timber.run`` meets it: transactions whose
statements are sent in a fixed order, and the anomaly that they are made to show.

Whoever loses against another transaction is repeated by ``run``, then at its own pace; what counts is what the attempts that
committed have seen, and what is there in the end.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple
from uuid import UUID

from tests.faults.accounts import AccountDTO
from timber.database.levels import Isolation
from timber.repository import Repository


class Desk:
    """What a transaction does its work with: two accounts, 1 and 2, of 10 and 20."""

    def __init__(self, accounts: Repository[AccountDTO], ids: dict[int, UUID]) -> None:
        self.accounts = accounts
        self.ids = ids
        self.value = accounts.model.__table__.c.value

    async def get(self, number: int) -> int:
        return (await self.accounts.get(self.ids[number])).value

    async def set(self, number: int, value: int) -> None:
        await self.accounts.update(self.ids[number], {"value": value})

    async def find(self, *filters: object) -> list[int]:
        return sorted(account.value for account in await self.accounts.find(*filters))


Results = list[Any]
"""What the statements of one attempt have returned."""
Act = Callable[[Desk, Results], Awaitable[object]]


class Step(NamedTuple):
    """One statement of one of the transactions, or its end."""

    player: int
    act: Act | None
    """None for its end."""
    aborts: bool = False


class Seen(NamedTuple):
    """What came of it."""

    by: dict[int, Results]
    """What each transaction that committed has seen."""
    final: dict[int, int]
    retries: int


class Case(NamedTuple):
    name: str
    about: str
    steps: tuple[Step, ...]
    is_anomaly: Callable[[Seen], bool]


def get(player: int, number: int) -> Step:
    return Step(player, lambda desk, _: desk.get(number))


def put(player: int, number: int, value: int) -> Step:
    return Step(player, lambda desk, _: desk.set(number, value))


def add_to_read(player: int, number: int, amount: int) -> Step:
    """Write what the statement before has read, and a bit more."""
    return Step(player, lambda desk, results: desk.set(number, results[-1] + amount))


def insert(player: int, value: int) -> Step:
    return Step(player, lambda desk, _: desk.accounts.insert({"value": value}))


def find_all(player: int) -> Step:
    return Step(player, lambda desk, _: desk.find())


def find_equal(player: int, value: int) -> Step:
    return Step(player, lambda desk, _: desk.find(desk.value == value))


def find_multiples(player: int, of: int) -> Step:
    return Step(player, lambda desk, _: desk.find(desk.value % of == 0))


def delete_equal(player: int, value: int) -> Step:
    return Step(player, lambda desk, _: desk.accounts.delete_where(desk.value == value))


def commit(player: int) -> Step:
    return Step(player, None)


def abort(player: int) -> Step:
    return Step(player, None, aborts=True)


def _goes_back(seen: Seen) -> bool:
    """Whether the third transaction has seen work of the first after that of the second, which came later."""
    writers = {10: 0, 20: 0, 11: 1, 19: 1, 12: 2, 18: 2}
    order = [writers[value] for value in seen.by[3]]
    return order != sorted(order)


CASES: tuple[Case, ...] = (
    Case(
        "G0", "write cycle",
        (put(1, 1, 11), put(2, 1, 12), put(1, 2, 21), commit(1), put(2, 2, 22), commit(2)),
        lambda seen: seen.final not in ({1: 11, 2: 21}, {1: 12, 2: 22}),
    ),
    Case(
        "G1a", "aborted read",
        (put(1, 1, 101), find_all(2), abort(1), find_all(2), commit(2)),
        lambda seen: any(101 in values for values in seen.by[2]),
    ),
    Case(
        "G1b", "intermediate read",
        (put(1, 1, 101), find_all(2), put(1, 1, 11), commit(1), find_all(2), commit(2)),
        lambda seen: any(101 in values for values in seen.by[2]),
    ),
    Case(
        "G1c", "circular flow of information",
        (put(1, 1, 11), put(2, 2, 22), get(1, 2), get(2, 1), commit(1), commit(2)),
        lambda seen: seen.by[1][-1] == 22 and seen.by[2][-1] == 11,
    ),
    Case(
        "OTV", "observed transaction vanishes",
        (
            put(1, 1, 11), put(1, 2, 19), put(2, 1, 12), commit(1), get(3, 1), put(2, 2, 18),
            get(3, 2), commit(2), get(3, 2), get(3, 1), commit(3),
        ),
        _goes_back,
    ),
    Case(
        "PMP", "predicate has many preceders: a read",
        (find_equal(1, 30), insert(2, 30), commit(2), find_multiples(1, 3), commit(1)),
        lambda seen: seen.by[1] == [[], [30]],
    ),
    Case(
        "PMP-write", "predicate has many preceders: a write",
        (
            put(1, 1, 20), put(1, 2, 30), delete_equal(2, 20), commit(1), find_equal(2, 20), commit(2),
        ),
        lambda seen: seen.by[2][-1] == [20],
    ),
    Case(
        "P4", "lost update",
        (get(1, 1), get(2, 1), add_to_read(1, 1, 1), add_to_read(2, 1, 1), commit(1), commit(2)),
        lambda seen: seen.final[1] != 12,
    ),
    Case(
        "G-single", "read skew",
        (
            get(1, 1), get(2, 1), get(2, 2), put(2, 1, 12), put(2, 2, 18), commit(2), get(1, 2), commit(1),
        ),
        lambda seen: seen.by[1] not in ([10, 20], [12, 18]),
    ),
    Case(
        "G-single-predicate", "read skew over a predicate",
        (find_multiples(1, 5), put(2, 1, 12), commit(2), find_multiples(1, 3), commit(1)),
        lambda seen: seen.by[1] == [[10, 20], [12]],
    ),
    Case(
        "G-single-write", "read skew found out by a write",
        (
            get(1, 1), find_all(2), put(2, 1, 12), put(2, 2, 18), commit(2), delete_equal(1, 20), commit(1),
        ),
        lambda seen: seen.by[1] == [10, 0],
    ),
    Case(
        "G2-item", "write skew",
        (
            find_all(1), find_all(2), put(1, 1, 11), put(2, 2, 21), commit(1), commit(2),
        ),
        lambda seen: seen.by[1][0] == seen.by[2][0] == [10, 20],
    ),
    Case(
        "G2", "anti-dependency cycle",
        (
            find_multiples(1, 3), find_multiples(2, 3), insert(1, 30), insert(2, 42), commit(1), commit(2),
        ),
        lambda seen: seen.by[1][0] == seen.by[2][0] == [],
    ),
    Case(
        "G2-two-edges", "anti-dependency cycle that a reader sees",
        (find_all(1), put(2, 2, 25), commit(2), find_all(3), commit(3), put(1, 1, 0), commit(1)),
        lambda seen: seen.by[1][0] == [10, 20] and seen.by[3][0] == [10, 25],
    ),
)  # fmt: skip

_UNDER_SNAPSHOTS = {
    "PMP", "PMP-write", "P4", "G-single", "G-single-predicate", "G-single-write",
}  # fmt: skip
POSSIBLE: dict[Isolation, set[str]] = {
    "read committed": {*_UNDER_SNAPSHOTS, "G2-item", "G2", "G2-two-edges"},
    "repeatable read": {"G2-item", "G2", "G2-two-edges"},
    "serializable": set(),
}
"""Which anomalies PostgreSQL lets happen; it prevents the others."""
