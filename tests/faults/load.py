"""Clients that write without end, and keep a journal of it outside the database."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any, Self
from uuid import uuid4

import asyncpg

from tests.database.ledger import INSERT, by_key
from tests.faults.journal import Account, Journal
from tests.faults.report import Report
from tests.harness.postgres import Postgres
from timber.database.manager import AsyncDatabaseManager
from timber.database.outcome import outcome_of
from timber.errors import ServiceError

TABLE = """
CREATE TABLE IF NOT EXISTS entry (id uuid PRIMARY KEY, note text, code text UNIQUE,
                                  amount int NOT NULL DEFAULT 0, data jsonb, token bigint);
TRUNCATE entry
"""
_PAUSE = 0.004
"""Seconds between two pieces of work of a client, on average."""


class Load:
    """``async with Load(...)``: clients write until the block ends.

    Args:
        clients: how many there are of each kind: ``run`` (units of three rows given to ``run()``), ``unit`` (units of two rows
            that nobody repeats) and ``lone`` (an insert alone).
    """

    def __init__(
        self,
        db: AsyncDatabaseManager,
        journal: Journal,
        chance: random.Random,
        clients: dict[str, int],
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
        }
        self._clients = clients
        self._tasks: list[asyncio.Task[None]] = []
        self._over = False
        self._succeeded = asyncio.Event()

    async def __aenter__(self) -> Self:
        for kind, number in self._clients.items():
            self._tasks += [asyncio.create_task(self._client(kind)) for _ in range(number)]
        await self.next_success()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._over = True
        await asyncio.gather(*self._tasks)

    async def next_success(self, *, seconds: float = 30.0) -> float:
        """Wait until the next piece of work that is acknowledged; the seconds it took."""
        began = monotonic()
        self._succeeded.clear()
        async with asyncio.timeout(seconds):
            await self._succeeded.wait()
        return monotonic() - began

    async def _client(self, kind: str) -> None:
        count, way = self._ways[kind]
        while not self._over:
            await asyncio.sleep(self.chance.random() * 2 * _PAUSE)
            name = f"{kind}-{uuid4().hex}"
            self.journal.begin(name, rows=count)
            try:
                await way(name, count)
            except ServiceError as error:
                self.errors[kind] += 1
                self.seen[f"{kind}: {type(error).__name__}: {error}"] += 1
                self.journal.end(name, outcome_of(error) or "failed", why=error)
                continue
            self.journal.end(name, "committed")
            self._succeeded.set()

    async def _insert(self, name: str, count: int) -> None:
        for _ in range(count):
            key = uuid4()
            await self.db.write(INSERT, (key, name), check=by_key(key))

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
