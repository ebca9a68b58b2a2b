"""Erasing where rows are cached: no copy is left, in whichever process, and no bytes of one in Redis."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from tests.cache.servers import cache_server
from tests.harness.databases import connected
from timber import Timber
from timber.cache.coherence.connecting import redis_client

ADA, BOB = "user-ada", "user-bob"
CANARY = "canary-5c1f"


@pytest.fixture(scope="module")
def redis_url() -> Generator[str]:
    with cache_server() as url:
        yield url


@pytest.fixture
def prefix() -> str:
    return f"timber-test-{uuid4().hex[:12]}"


@pytest.fixture
async def redis(redis_url: str, prefix: str) -> AsyncGenerator[Redis]:
    client = redis_client(redis_url)
    yield client
    async for key in client.scan_iter(match=f"{prefix}*"):
        await client.unlink(key)
    await client.aclose()


@pytest.fixture
async def two(
    fresh_database_url: str, redis_url: str, prefix: str, redis: Redis
) -> AsyncGenerator[tuple[Timber, Timber]]:
    """Two processes over one database and one Redis."""
    async with AsyncExitStack() as stack:
        made = [
            await stack.enter_async_context(
                Timber(fresh_database_url, cache_url=redis_url, cache_prefix=prefix, pool_size=3)
            )
            for _ in range(2)
        ]
        yield made[0], made[1]


async def fill(timber: Timber, person: str) -> None:
    session = await timber.sessions.create_session(person, "research", {"symbol": CANARY})
    await timber.research.save_research(session.id, {"of": CANARY}, "fundamental")
    await timber.sessions.transition(session.id, "paused", reason=CANARY)
    await timber.notifications.create_notification(person, "n", title=CANARY, content=person)


async def read(timber: Timber, person: str) -> int:
    """Everything that is cached, twice; how many rows there are."""
    found = 0
    for _ in range(2):
        sessions = await timber.sessions.get_user_sessions(person)
        messages = await timber.notifications.get_user_notifications(person)
        results = await timber.research.get_user_research(person)
        for session in sessions:
            await timber.sessions.get_session(session.id)
            await timber.research.get_session_research(session.id)
            await timber.sessions.get_history(session.id)
        await timber.notifications.unread_count(person)
        found = len(sessions) + len(messages.items) + len(results.items)
    return found


async def lying_about(redis: Redis, prefix: str, word: str) -> list[bytes]:
    """The keys in Redis that hold the word anywhere, in their names or values."""
    found = []
    async for key in redis.scan_iter(match=f"{prefix}*"):
        value = await redis.get(key) or b""
        if word.encode() in key + value:
            found.append(key)
    return found


async def test_no_copy_is_left_in_any_process_and_no_bytes_in_redis(
    two: tuple[Timber, Timber], redis: Redis, prefix: str
) -> None:
    here, there = two
    for person in (ADA, BOB):
        await fill(here, person)
        assert await read(here, person) == await read(there, person) == 3
    assert await lying_about(redis, prefix, ADA)
    report = await here.privacy.delete_user_data(ADA)
    assert report
    assert await lying_about(redis, prefix, ADA) == []
    verified = await here.privacy.verify_deletion(ADA)
    assert verified, str(verified)
    assert {"cache", "timber_owed"} <= {*verified.looked}
    assert await read(there, ADA) == await read(here, ADA) == 0
    assert await read(there, BOB) == await read(here, BOB) == 3
    await here.privacy.delete_user_data(BOB)
    assert await lying_about(redis, prefix, CANARY) == []


async def test_a_copy_that_is_left_in_redis_or_in_memory_is_found(
    two: tuple[Timber, Timber], redis: Redis, prefix: str
) -> None:
    here, there = two
    await fill(here, ADA)
    await read(here, ADA)
    copies = {key: await redis.get(key) async for key in redis.scan_iter(match=f"{prefix}:e:*")}
    await here.privacy.delete_user_data(ADA)
    assert await here.privacy.verify_deletion(ADA)
    for key, value in copies.items():
        await redis.set(key, value)
    report = await there.privacy.verify_deletion(ADA)
    assert [left.place for left in report.left] == ["cache"]
    await there.privacy.delete_user_data(ADA)
    assert await there.privacy.verify_deletion(ADA)
    there.cache.memory.keep("Session:1", ("1", ADA), 10, 60.0)
    assert [x.place for x in (await there.privacy.verify_deletion(ADA)).left] == ["cache"]


async def test_a_clear_that_is_still_owed_is_found(
    two: tuple[Timber, Timber], fresh_database_url: str
) -> None:
    here, _ = two
    await here.close()
    async with Timber(fresh_database_url) as alone, connected(fresh_database_url) as connection:
        for names in ([f"user_sessions:{ADA}"], [f"user_sessions:{ADA}x", "Session:1"]):
            await connection.execute(
                "INSERT INTO timber_owed (id, names, made_at)"
                " VALUES (gen_random_uuid(), $1, now() + interval '1 day')",
                names,
            )
        report = await alone.privacy.verify_deletion(ADA)
        assert [(left.place, left.count) for left in report.left] == [("timber_owed", 1)]


async def test_a_redis_that_does_not_answer_is_no_yes(
    two: tuple[Timber, Timber], redis: Redis
) -> None:
    here, _ = two
    client = here.cache._client
    assert client is not None
    client.connection_pool.connection_kwargs["port"] = 1
    client.connection_pool.connection_kwargs.pop("path", None)
    await client.connection_pool.disconnect()
    report = await here.privacy.verify_deletion(ADA)
    assert not report
    assert [unseen.place for unseen in report.unseen] == ["cache"]
