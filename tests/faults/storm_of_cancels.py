"""Useful work beside statements that are cancelled one after the other, on the same pool.

Useful work is transactions that commit, each made of a write, a wait, some reckoning and a write. In the storm each of them has a
deadline of one to three times the time that such a transaction takes undisturbed, and as many tasks again begin transactions
that would never end in time, under deadlines of the same length.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from statistics import median
from uuid import UUID, uuid4

from sqlalchemy import event

from tests.database.ledger import Observer, add, free_places, insert
from timber.context import deadline
from timber.database.manager import AsyncDatabaseManager
from timber.database.outcome import outcome_of
from timber.database.statements import Statement
from timber.errors import QueryTimeoutError

WORKERS = 8
BYSTANDERS = 2
"""Those of them that never have a deadline."""
STUCK = 8
PLACES = 2 * WORKERS + 4
"""A connection for each task: what is measured is cancelling, not queueing."""
WORK_SECONDS = 0.02
STUCK_SECONDS = 10.0

_WORK = Statement(
    "SELECT pg_sleep($1), (SELECT sum(n) FROM generate_series(1, 5000) AS n)", label="work"
)
_TOLERANCE = 0.002
"""Seconds that a server's timeout, in whole milliseconds, may be early."""


@dataclass
class Weather:
    """What came of some seconds of it."""

    seconds: float
    useful: int = 0
    """Transactions that committed."""
    times: list[float] = field(default_factory=list)
    cancels: int = 0
    late: int = 0
    """Those of them that were useful work."""
    reconnects: int = 0
    wrong_victims: list[str] = field(default_factory=list)
    """Who was cancelled or failed although the time was not over."""
    misreported: list[str] = field(default_factory=list)
    """Of whom something was said that is not so."""
    unknown: int = 0
    """Whose COMMIT was not answered by the end of a deadline: nothing is said of them."""
    slots_lost: int = 0

    @property
    def throughput(self) -> float:
        return self.useful / self.seconds


class Storm:
    """A pool, and what is done on it."""

    def __init__(self, db: AsyncDatabaseManager, observer: Observer, rng: random.Random) -> None:
        self.db = db
        self.observer = observer
        self.rng = rng
        self.own = 0.0
        """Seconds that a transaction takes undisturbed."""
        self.made = 0
        """Connections made so far."""
        self._until = 0.0
        event.listen(db.engine.sync_engine.pool, "connect", self._count)

    def _count(self, *_: object) -> None:
        self.made += 1

    async def warm_up(self, seconds: float) -> None:
        """A connection for each place, and the time that a transaction takes."""
        await asyncio.gather(*(self.db.fetch(_WORK, (0.05,)) for _ in range(PLACES)))
        await self.blow(seconds, storm=False)

    async def blow(self, seconds: float, *, storm: bool) -> Weather:
        """Work for so long, in a storm or undisturbed."""
        weather = Weather(seconds)
        said: dict[UUID, str | None] = {}
        self._until = time.perf_counter() + seconds
        made = self.made

        async def repeat(work: float, *, limited: bool) -> None:
            while time.perf_counter() < self._until:
                limit = self.own * self.rng.uniform(1, 3) if limited else None
                await self._once(weather, said, work, limit)

        await asyncio.gather(
            *(repeat(WORK_SECONDS, limited=storm) for _ in range(WORKERS - BYSTANDERS)),
            *(repeat(WORK_SECONDS, limited=False) for _ in range(BYSTANDERS)),
            *(repeat(STUCK_SECONDS, limited=True) for _ in range(STUCK if storm else 0)),
        )
        if not storm:
            self.own = median(weather.times)
        await self._settle()
        weather.reconnects = self.made - made
        weather.slots_lost = PLACES - sum(free_places(self.db))
        there = await self.observer.keys()
        weather.unknown = sum(outcome == "unknown" for outcome in said.values())
        for key, outcome in said.items():
            true = "committed" if key in there else "rolled_back"
            if outcome not in (true, "unknown"):
                weather.misreported.append(f"{true}, called {outcome}")
        return weather

    async def _settle(self) -> None:
        async with asyncio.timeout(5):
            while self.db._core.connections.checked_out:
                await asyncio.sleep(0.01)

    async def _once(
        self, weather: Weather, said: dict[UUID, str | None], work: float, limit: float | None
    ) -> None:
        key = uuid4()
        began = time.perf_counter()
        try:
            if limit is None:
                await self._transaction(key, work)
            elif self.rng.random() < 0.5:
                async with deadline(limit):
                    await self._transaction(key, work)
            else:
                async with asyncio.timeout(limit):
                    await self._transaction(key, work)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is looked at
            said[key] = outcome_of(error)
            took = time.perf_counter() - began
            is_late = isinstance(error, TimeoutError | QueryTimeoutError)
            if limit is None or not is_late or took < limit - _TOLERANCE:
                weather.wrong_victims.append(f"{error!r} after {took:.3f} of {limit} s")
            else:
                weather.cancels += 1
                weather.late += work == WORK_SECONDS
            return
        said[key] = "committed"
        ended = time.perf_counter()
        if ended < self._until:
            weather.useful += 1
            weather.times.append(ended - began)

    async def _transaction(self, key: UUID, work: float) -> None:
        async with self.db.unit_of_work():
            await insert(self.db, "storm", key)
            await self.db.fetch(_WORK, (work,))
            await add(self.db, key, 1)
