"""Which settings give which cache, and that it begins and ends with its Timber."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.cache.tables import eventually
from tests.cache.wired.conftest import MakeHouse
from tests.harness.databases import Databases
from timber import (
    AsyncDatabaseManager,
    ConfigurationError,
    ModelConfig,
    ModelRegistry,
    SessionService,
    Timber,
    TimberSettings,
    UsageError,
)
from timber.cache.opening import default_prefix, open_cache
from timber.database.statements import Statement
from timber.testing import count_queries

MEMORY = {"cache_url": "memory"}


async def _is_cached(timber: Timber) -> bool:
    session = await timber.sessions.create_session("ann", "research")
    await timber.sessions.get_session(session.id)
    with count_queries(timber.db) as sent:
        await timber.sessions.get_session(session.id)
    return len(sent) == 0


@pytest.mark.parametrize(
    ("settings", "cached"),
    [({}, False), (MEMORY, True), ({**MEMORY, "cache_enabled": False}, False)],
    ids=["nothing", "memory", "switched off"],
)
async def test_there_is_a_cache_where_one_is_asked_for(
    fresh_database_url: str, settings: dict[str, Any], cached: bool
) -> None:
    async with Timber(fresh_database_url, **settings) as timber:
        assert await _is_cached(timber) == cached
        if not cached:
            with pytest.raises(UsageError, match="cache_url"):
                timber.cache.stats()


async def test_two_processes_share_an_embedded_server(
    fresh_database_url: str, tmp_path: Path
) -> None:
    options: Any = {"cache_url": "embedded", "embedded_directory": tmp_path}
    async with (
        Timber(fresh_database_url, **options) as one,
        Timber(fresh_database_url, **options) as other,
    ):
        assert await _is_cached(one)
        session = await one.sessions.create_session("ann", "research")
        await one.sessions.get_session(session.id)
        with count_queries(other.db, expected=0):
            assert await other.sessions.get_session(session.id) == session
        await other.sessions.complete_session(session.id)
        await eventually(lambda: len(one.cache.memory) == 1)  # the other session
        found = await one.sessions.get_session(session.id)
        assert found is not None
        assert found.status == "completed"


@pytest.mark.parametrize(
    "settings",
    [
        {"cache_url": "embedded", "env": "production"},
        {"cache_url": "postgresql://nowhere"},
        {"cache_url": "memory", "cache_entries": 0},
    ],
    ids=["embedded in production", "another server", "no room"],
)
async def test_what_cannot_work_is_refused_at_the_start(
    fresh_database_url: str, settings: Any
) -> None:
    with pytest.raises(ConfigurationError, match="cache"):
        await Timber(fresh_database_url, **settings).start()


async def test_a_redis_that_is_not_there_keeps_nobody_from_starting(
    fresh_database_url: str,
) -> None:
    async with asyncio.timeout(20):
        async with Timber(fresh_database_url, cache_url="redis://127.0.0.1:9/0") as timber:
            assert not await _is_cached(timber)
            session = await timber.sessions.create_session("ann", "research")
            done = await timber.sessions.complete_session(session.id)
            assert await timber.sessions.get_session(session.id) == done
            assert timber.cache.stats()["breaker"] == "open"


async def test_no_two_databases_have_the_same_keys(
    fresh_database_url: str, test_databases: Databases
) -> None:
    async with test_databases.cloned() as another:
        prefixes = []
        for url in (fresh_database_url, fresh_database_url, another):
            db = AsyncDatabaseManager(url)
            prefixes.append(await default_prefix(db))
            await db.dispose()
    assert prefixes[0] == prefixes[1] != prefixes[2]


async def test_memory_is_bounded(fresh_database_url: str) -> None:
    async with Timber(fresh_database_url, cache_url="memory", cache_entries=3) as timber:
        for _ in range(5):
            assert await _is_cached(timber)
        assert len(timber.cache.memory) == 3


async def test_copies_in_memory_alone_live_for_seconds_unless_nobody_else_writes(
    fresh_database_url: str,
) -> None:
    for sole, seconds in ((False, 5), (True, 300)):
        options: Any = {**MEMORY, "cache_sole_writer": sole}
        async with Timber(fresh_database_url, **options) as timber:
            kind: Any = timber.cache.models["Session"]._rows
            assert kind.memory_ttl == seconds


async def test_a_model_whose_cache_is_switched_off_is_read_and_written_without_one(
    fresh_database_url: str, cache_url: str
) -> None:
    off = ModelConfig.model_validate({"extends": "Session", "features": {"cache": False}})
    registry = ModelRegistry(models=[off])
    async with Timber(fresh_database_url, registry=registry, cache_url=cache_url) as timber:
        assert not await _is_cached(timber)
        assert not timber.cache.models["Session"].model.is_cached
        with count_queries(timber.db, expected=1):
            await timber.sessions.create_session("ann", "research")


async def test_what_is_owed_is_settled_at_the_end(make_house: MakeHouse, house_url: str) -> None:
    house = await make_house()
    for n in range(5):
        await house.tasks.insert({"user_id": "ann", "number": n})
    await house.timber.close()
    db = AsyncDatabaseManager(house_url)
    owed = await db.fetch(Statement("SELECT count(*) FROM timber_owed", label="owed"))
    await db.dispose()
    assert owed[0][0] == 0


async def test_a_service_by_itself_has_a_cache_too(fresh_database_url: str) -> None:
    settings = TimberSettings(database_url=fresh_database_url, cache_url="memory")
    db, registry = AsyncDatabaseManager(settings=settings), ModelRegistry()
    cache = await open_cache(settings, db, registry)
    assert cache is not None
    sessions: SessionService[Any] = SessionService(db, registry=registry, cache=cache)
    session = await sessions.create_session("ann", "research")
    await sessions.get_session(session.id)
    with count_queries(db, expected=0):
        assert await sessions.get_session(session.id) == session
    async with db.unit_of_work():
        done = await sessions.complete_session(session.id)
    assert await sessions.get_session(session.id) == done
    await cache.close()
    await db.close()
