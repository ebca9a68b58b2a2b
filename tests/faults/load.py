"""Clients that write without end, and keep a journal of it outside the database."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any, Self
from uuid import uuid4

import asyncpg

from tests.database.ledger import FIND, INSERT, by_key
from tests.faults.journal import Account, Journal, Said
from tests.faults.report import Report
from tests.harness.postgres import Postgres
from timber.context import deadline
from timber.database.manager import AsyncDatabaseManager
from timber.database.outcome import outcome_of
from timber.errors import ServiceError

TABLE = """
CREATE TABLE IF NOT EXISTS entry (id uuid PRIMARY KEY, note text, code text UNIQUE,
                                  amount int NOT NULL DEFAULT 0, data jsonb, token bigint);
TRUNCATE entry
"""
_TICK = 0.01
_PAUSE = 0.004
"""Seconds between two pieces of work of a client, on average."""


class Load:
    """``async with Load(...)``: clients write until the block ends.

    Args:
        clients: how many there are of each kind: ``run`` (units of three rows given to ``run()``), ``unit`` (units of two rows
            that nobody repeats), ``lone`` (an insert alone) and ``read``.
        within: the deadline of each piece of work, in seconds.
    """

    def __init__(
        self,
        db: AsyncDatabaseManager,
        journal: Journal,
        chance: random.Random,
        clients: dict[str, int],
        *,
        within: float | None = None,
    ) -> None:
        self.db = db
        self.journal = journal
        self.chance = chance
        self.errors: Counter[str] = Counter()
        """Errors that callers saw, by kind of client."""
        self.seen: Counter[str] = Counter()
        """The same, by their text."""
        self._ways: dict[str, tuple[int, Callable[[str, int], Awaitable[None]]]] = {
            "run": (3, self._by_run),
            "unit": (2, self._in_a_unit),
            "lone": (1, self._insert),
            "read": (0, self._read),
        }
        self._within = within
        self._late: list[tuple[float, float]] = []
        self._clients = clients
        self._tasks: list[asyncio.Task[None]] = []
        self._done: Counter[str] = Counter()
        self._over = False
        self._stalls: list[tuple[float, float]] = []
        self._succeeded = asyncio.Event()

    async def __aenter__(self) -> Self:
        for kind, number in self._clients.items():
            for place in range(number):
                self._tasks.append(asyncio.create_task(self._client(kind, f"{kind}-{place}")))
        self._tasks.append(asyncio.create_task(self._watch()))
        await self.next_success()
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        self._over = True
        if kind is None:
            await asyncio.gather(*self._tasks)
            return
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def next_success(self, *, seconds: float = 30.0) -> float:
        """Wait until the next piece of work that is acknowledged; the seconds it took."""
        began = monotonic()
        self._succeeded.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._succeeded.wait()
        except TimeoutError:
            raise AssertionError(f"nothing succeeds any more: {self.seen}") from None
        return monotonic() - began

    async def everybody_succeeds(self, kind: str, *, seconds: float = 30.0) -> None:
        """Wait until each client of a kind has done something anew: what follows hits nobody who is still repeating."""
        before = dict(self._done)
        clients = [name for name in before if name.startswith(kind)]
        until = monotonic() + seconds
        while any(self._done[name] == before[name] for name in clients):
            assert monotonic() < until, f"somebody does not get on any more: {self.seen}"
            await asyncio.sleep(0.01)

    def overrun(self, *, without_stalls: bool) -> float:
        """By how many seconds the latest piece of work ended after its deadline.

        Args:
            without_stalls: less what the whole process stood still between that deadline and that end.
        """
        late = [(due, ended) for due, ended in self._late if ended > due]
        if not without_stalls:
            return max((ended - due for due, ended in late), default=0.0)
        return max((ended - due - self._stalled(due, ended) for due, ended in late), default=0.0)

    def _stalled(self, due: float, ended: float) -> float:
        return sum(max(0.0, min(to, ended) - max(since, due)) for since, to in self._stalls)

    async def _watch(self) -> None:
        """Note when this whole process stood still: the machine had other things to do."""
        while not self._over or any(not task.done() for task in self._tasks[:-1]):
            began = monotonic()
            await asyncio.sleep(_TICK)
            if (ended := monotonic()) > began + 1.5 * _TICK:
                self._stalls.append((began + _TICK, ended))

    async def _client(self, kind: str, client: str) -> None:
        self._done[client] = 0
        count, way = self._ways[kind]
        while not self._over:
            await asyncio.sleep(self.chance.random() * 2 * _PAUSE)
            name = f"{kind}-{uuid4().hex}"
            self.journal.begin(name, rows=count)
            began = monotonic()
            try:
                async with deadline(self._within) if self._within else nullcontext():
                    await way(name, count)
            except ServiceError as error:
                self.errors[kind] += 1
                self.seen[f"{kind}: {type(error).__name__}: {error}"] += 1
                self.journal.end(name, outcome_of(error) or self._nothing(kind), why=error)
            else:
                self.journal.end(name, "committed")
                self._succeeded.set()
                self._done[client] += 1
            finally:
                if self._within is not None:
                    self._late.append((began + self._within, monotonic()))

    @staticmethod
    def _nothing(kind: str) -> Said:
        return "rolled_back" if kind == "read" else "failed"

    async def _insert(self, name: str, count: int) -> None:
        for _ in range(count):
            key = uuid4()
            await self.db.write(INSERT, (key, name), check=by_key(key))

    async def _read(self, _name: str, _count: int) -> None:
        await self.db.fetch(FIND, (uuid4(),))

    async def _by_run(self, name: str, count: int) -> None:
        await self.db.run(lambda _: self._insert(name, count))

    async def _in_a_unit(self, name: str, count: int) -> None:
        async with self.db.unit_of_work():
            await self._insert(name, count)


async def account_of(server: Postgres, journal: Path) -> Account:
    """The journal held against the rows."""
    connection = await asyncpg.connect(server.driver_url)
    try:
        rows = await connection.fetch("SELECT note, count(*) AS rows FROM entry GROUP BY note")
    finally:
        await connection.close()
    return Account.of(Journal(journal).read(), {row["note"]: row["rows"] for row in rows})


def tell(report: Report, account: Account) -> None:
    """The figures of an account."""
    report.count("acknowledged", account.committed)
    report.count("known to be rolled back", account.rolled_back)
    for name, found in vars(account).items():
        if isinstance(found, list) and name != "strangers":
            report.count(
                {"halved": "by half", "denied": "called rolled back"}.get(name, name), len(found)
            )


def spread(seconds: list[float]) -> str:
    return f"median {median(seconds):.2f} s, max {max(seconds):.2f} s"


async def prepare(server: Postgres) -> str:
    """An empty table on a running server; the server's version."""
    connection: Any = await asyncpg.connect(server.driver_url)
    try:
        await connection.execute(TABLE)
        version: str = await connection.fetchval("SHOW server_version")
    finally:
        await connection.close()
    return version
