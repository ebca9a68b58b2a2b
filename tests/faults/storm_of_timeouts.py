"""Transactions of every shape, each in a timeout of about the time that it takes."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from statistics import median
from typing import NamedTuple
from uuid import UUID, uuid4

import asyncpg

from tests.database.ledger import CallerError, free_places
from timber.app import Timber
from timber.database.outcome import outcome_of
from timber.database.unit_of_work import UnitOfWork
from timber.errors import Outcome

TASKS = 16
"""More than the pool has connections, so that some wait for one when their time is over."""


class Attempt:
    """One transaction: what it was to write, and what its caller was told."""

    def __init__(self, timber: Timber, user: str) -> None:
        self.timber = timber
        self.user = user
        self.unit: UnitOfWork | None = None
        self.sessions: list[UUID] = []
        self.never: list[UUID] = []
        self.called = 0
        self.callbacks = 0
        self.told: Outcome | None = None

    async def create(self, *, never: bool = False) -> UUID:
        key = uuid4()
        (self.never if never else self.sessions).append(key)
        await self.timber.sessions.create_session(self.user, "research", {"n": 1}, id=key)
        return key

    def begin(self) -> UnitOfWork:
        self.unit = self.timber.unit_of_work()
        return self.unit

    def on_commit(self, unit: UnitOfWork) -> None:
        async def called() -> None:
            await asyncio.sleep(0)
            self.called += 1

        unit.on_commit(called)
        self.callbacks += 1


Shape = Callable[[Attempt], Awaitable[None]]


async def lone(attempt: Attempt) -> None:
    await attempt.create()


async def several(attempt: Attempt) -> None:
    async with attempt.begin():
        for _ in range(3):
            await attempt.create()


async def with_callbacks(attempt: Attempt) -> None:
    async with attempt.begin() as uow:
        await attempt.create()
        attempt.on_commit(uow)
        await attempt.create()
        attempt.on_commit(uow)


async def over_services(attempt: Attempt) -> None:
    async with attempt.begin() as uow:
        key = await attempt.create()
        attempt.on_commit(uow)
        await attempt.timber.research.save_research(key, {"pe": 29.1}, "fundamental")
        await attempt.timber.notifications.create_notification(
            attempt.user, "ready", title="x", content="y"
        )
        await attempt.timber.sessions.complete_session(key, {"done": True})


async def nested(attempt: Attempt) -> None:
    timber = attempt.timber
    async with attempt.begin():
        await attempt.create()
        async with timber.unit_of_work() as inner:
            await attempt.create()
            attempt.on_commit(inner)
            async with timber.unit_of_work():
                await attempt.create()
        await attempt.create()


async def with_savepoints(attempt: Attempt) -> None:
    async with attempt.begin() as uow:
        await attempt.create()
        async with uow.savepoint():
            await attempt.create()
            attempt.on_commit(uow)
        with suppress(CallerError):
            async with uow.savepoint():
                await attempt.create(never=True)
                raise CallerError
        await attempt.create()


async def rolled_back(attempt: Attempt) -> None:
    with suppress(CallerError):
        async with attempt.begin():
            await attempt.create(never=True)
            raise CallerError


async def run(attempt: Attempt) -> None:
    async def body(unit: UnitOfWork) -> None:
        attempt.unit = unit
        attempt.sessions.clear()
        await attempt.create()
        await attempt.create()

    await attempt.timber.run(body, isolation="repeatable read")


SHAPES: tuple[Shape, ...] = (
    lone, several, with_callbacks, over_services, nested, with_savepoints, rolled_back, run,
)  # fmt: skip


class Storm(NamedTuple):
    """What came of it."""

    transactions: int
    cut_off: int
    committed: int
    committed_and_cut_off: int
    commits_misreported: int
    rollbacks_misreported: int
    halves: int
    wrong_callbacks: int
    swallowed: int
    slots_lost: int


async def storm(
    timber: Timber, database: asyncpg.Connection, rng: random.Random, count: int
) -> Storm:
    """Run so many transactions, and compare what their callers were told with what is there.

    Timeouts are drawn from nothing to twice the median time that the shape takes under the same load.
    """
    times = await _own_times(timber)
    jobs = [(shape := rng.choice(SHAPES), rng.uniform(0, 2) * times[shape]) for _ in range(count)]
    attempts: list[tuple[Attempt, bool]] = []
    swallowed = 0

    async def work() -> None:
        nonlocal swallowed
        while jobs:
            shape, seconds = jobs.pop()
            attempt = Attempt(timber, f"user-{len(attempts)}")
            cut, lost = await _cut_off_after(seconds, shape, attempt)
            attempts.append((attempt, cut))
            swallowed += lost

    await asyncio.gather(*(work() for _ in range(TASKS)))
    return await _compare(attempts, database, swallowed, _slots_lost(timber))


async def _cut_off_after(seconds: float, shape: Shape, attempt: Attempt) -> tuple[bool, bool]:
    """Whether it was cut off, and whether the timeout passed and was lost all the same."""
    timeout = asyncio.timeout(seconds)
    try:
        async with timeout:
            await shape(attempt)
            # A timeout that passed earlier may not be found out about by this wait only.
            lost = timeout.expired()
    except TimeoutError as error:
        attempt.told = outcome_of(error) or _before_anything(attempt)
        return True, False
    attempt.told = "rolled_back" if shape is rolled_back else "committed"
    return False, lost


def _before_anything(attempt: Attempt) -> Outcome | None:
    """Cut off while waiting for a connection: there was no transaction to speak of."""
    return "rolled_back" if attempt.unit is None or attempt.unit.outcome is None else None


def _slots_lost(timber: Timber) -> int:
    settings = timber.settings
    return settings.pool_size + settings.max_overflow - sum(free_places(timber.db))


async def _own_times(timber: Timber) -> dict[Shape, float]:
    times: dict[Shape, list[float]] = defaultdict(list)
    shapes = [shape for shape in SHAPES for _ in range(12)]

    async def work() -> None:
        while shapes:
            shape = shapes.pop()
            began = time.perf_counter()
            await shape(Attempt(timber, "own times"))
            times[shape].append(time.perf_counter() - began)

    await asyncio.gather(*(work() for _ in range(TASKS)))
    return {shape: median(taken) for shape, taken in times.items()}


async def _compare(
    attempts: list[tuple[Attempt, bool]],
    database: asyncpg.Connection,
    swallowed: int,
    slots_lost: int,
) -> Storm:
    there = {row["id"] for row in await database.fetch("SELECT id FROM sessions")}
    counts: Counter[str] = Counter()
    for attempt, cut in attempts:
        written = [key in there for key in attempt.sessions]
        committed = bool(written) and all(written)
        counts["cut"] += cut
        counts["halves"] += any(written) != committed or any(key in there for key in attempt.never)
        counts["committed"] += committed
        counts["both"] += committed and cut
        said = attempt.told
        if attempt.unit is not None and attempt.unit.outcome is not None:
            counts["commits"] += committed and attempt.unit.outcome != "committed"
        if committed:
            counts["commits"] += said != "committed"
            counts["callbacks"] += attempt.called != attempt.callbacks
        else:
            # What wrote nothing at all may well be said to be committed.
            counts["rollbacks"] += said != "rolled_back" and bool(written)
            counts["callbacks"] += said == "rolled_back" and attempt.called != 0
    return Storm(
        len(attempts), counts["cut"], counts["committed"], counts["both"], counts["commits"],
        counts["rollbacks"], counts["halves"], counts["callbacks"], swallowed, slots_lost,
    )  # fmt: skip
