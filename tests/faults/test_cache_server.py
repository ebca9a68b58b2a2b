"""A Redis that is killed, frozen and started again empty under load: nobody hears of it, and nothing read is too old."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

import pytest
import redis.asyncio

from tests.cache.servers import Tormented
from tests.cache.torture.counters import COUNTER, REGISTRY, SHELF, Counters
from tests.faults import rows
from tests.faults.report import Report, forms, seeded_bug
from timber import AsyncDatabaseManager, Repository, Timber
from timber.cache.coherence.cache import CoherentCache
from timber.cache.coherence.store import UnreachableError
from timber.database.statements import Statement
from timber.errors import ServiceError

ROW = rows.CACHE
KEYS = 12
WRITERS, READERS = 3, 5


@pytest.fixture
async def counters_url(bare_database_url: str) -> str:
    db = AsyncDatabaseManager(bare_database_url)
    try:
        await db.create_all_tables(REGISTRY.metadata)
        stored: Repository[Any] = Repository(db, COUNTER, REGISTRY.read_dto("Counter"))
        await stored.insert_many([{"id": key, "shelf": SHELF, "n": 0} for key in range(KEYS)])
    finally:
        await db.dispose()
    return bare_database_url


class Crowd:
    """Writers and readers of one process, and what they saw."""

    def __init__(self, timber: Timber, report: Report) -> None:
        self.counters = Counters(timber)
        self.chance = report.random
        self.known: Counter[int] = Counter()
        """What counters stand at by key, as far as it was acknowledged."""
        self.seen: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.slowest = 0.0
        self._over = False

    async def work(self, torment: Callable[[], Awaitable[None]]) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(WRITERS):
                group.create_task(self._write())
            for _ in range(READERS):
                group.create_task(self._read())
            await torment()
            self._over = True

    async def _write(self) -> None:
        while not self._over:
            await asyncio.sleep(self.chance.random() * 0.01)
            keys = sorted(self.chance.sample(range(KEYS), self.chance.choice([1, 1, 3])))
            try:
                turned = await self.chance.choice(self.counters.ways)(keys)
            except (ServiceError, UnreachableError) as error:
                self.errors[repr(error)] += 1
                continue
            for key, n in turned.items():
                self.known[key] = max(self.known[key], n)
            self.seen["writes"] += 1

    async def _read(self) -> None:
        while not self._over:
            await asyncio.sleep(self.chance.random() * 0.002)
            known = dict(self.known)
            began = monotonic()
            try:
                if self.chance.random() < 0.2:
                    found = await self.counters.rows.find(shelf=SHELF)
                else:
                    found = [await self.counters.rows.get(self.chance.randrange(KEYS))]
            except (ServiceError, UnreachableError) as error:
                self.errors[repr(error)] += 1
                continue
            self.slowest = max(self.slowest, monotonic() - began)
            self.seen["reads"] += 1
            self.seen["too old"] += any(row.n < known.get(row.id, 0) for row in found)


async def _torment(crowd: Crowd, server: Tormented, size: int, report: Report) -> None:
    async def kill() -> None:
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(crowd.chance.uniform(0.1, 1.0))
        await asyncio.to_thread(server.start)

    async def freeze() -> None:
        server.freeze()
        await asyncio.sleep(crowd.chance.uniform(0.2, 1.5))
        server.thaw()

    async def flush() -> None:
        client = redis.asyncio.Redis.from_url(server.url)
        await client.flushall()
        await client.aclose()

    faults = {"killed and started empty": kill, "frozen": freeze, "flushed": flush}
    for _ in range(size):
        for name, fault in faults.items():
            await asyncio.sleep(crowd.chance.uniform(0.2, 0.8))
            await fault()
            report.count(name, 1)
    await asyncio.sleep(0.5)


async def _version(server: Tormented) -> str:
    client = redis.asyncio.Redis.from_url(server.url)
    info = await client.info("server")
    await client.aclose()
    return str(info.get("valkey_version") or info["redis_version"])


async def torment(size: int, url: str, report: Report) -> None:
    with Tormented() as server:
        report.version("Valkey", await _version(server))
        settings: Any = {"registry": REGISTRY, "cache_url": server.url, "cache_prefix": "faults"}
        async with Timber(url, pool_size=10, max_overflow=0, **settings) as timber:
            version = await timber.db.fetch(Statement("SHOW server_version", label="version"))
            report.version("PostgreSQL", version[0][0])
            crowd = Crowd(timber, report)
            await crowd.work(lambda: _torment(crowd, server, size, report))
            stored = await crowd.counters.rows.find(shelf=SHELF, fresh=True)
            hits = timber.cache.stats()
            server.thaw()
    lost = sum(row.n < crowd.known[row.id] for row in stored)
    for name in ("writes", "reads", "too old"):
        report.count(name, crowd.seen[name])
    report.count("writes lost", lost)
    report.count("errors", sum(crowd.errors.values()))
    report.figure("slowest read", f"{crowd.slowest:.2f} s")
    assert not crowd.errors, f"errors: {crowd.errors}"
    assert not crowd.seen["too old"], f"too old: {crowd.seen}"
    assert not lost, f"lost: {lost}"
    assert hits["l1"]["Counter"]["hits"], "nothing came from the cache"


@forms(1, 15, timeout=600)
async def test_nobody_hears_of_it(size: int, counters_url: str, report: Report):
    await torment(size, counters_url, report)


@seeded_bug("after a commit the process keeps its own copies")
async def test_copies_that_are_kept_are_caught(
    counters_url: str, report: Report, monkeypatch: pytest.MonkeyPatch
):
    async def forgetful(*_: object) -> None:
        pass

    monkeypatch.setattr(CoherentCache, "committed", forgetful)
    with pytest.raises(AssertionError, match="too old"):
        await torment(1, counters_url, report)


@pytest.mark.slow
@seeded_bug("an error of Redis is passed on to the caller")
async def test_errors_of_redis_that_callers_see_are_caught(
    counters_url: str, report: Report, monkeypatch: pytest.MonkeyPatch
):
    class Another(Exception):  # noqa: N818  # nobody raises it
        pass

    monkeypatch.setattr("timber.cache.coherence.reading.UnreachableError", Another)
    with pytest.raises(AssertionError, match="errors"):
        await torment(1, counters_url, report)
