"""A Redis that is frozen, killed, slow to be heard of, or not there at all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.cache.servers import Tormented
from tests.cache.tables import MakeCache, Table, eventually, rows
from timber.cache.coherence.cache import CoherentCache
from timber.cache.coherence.connecting import coherent_cache
from timber.cache.coherence.line import Line
from timber.cache.coherence.store import UnreachableError
from timber.cache.keys import Keyspace
from timber.errors import ConfigurationError


async def test_a_process_that_stalls_does_not_blame_redis(make_cache: MakeCache) -> None:
    cache = await make_cache()
    table = Table()
    await table.read(cache)
    for _ in range(3):
        cache.memory.wipe()
        task = asyncio.create_task(table.read(cache))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        time.sleep(0.1)
        assert await task == 1
    assert cache.stats()["breaker_opened"] == 0
    assert table.loads == 1


async def test_an_operation_that_is_cancelled_does_not_shift_the_answers_of_others(
    make_cache: MakeCache,
) -> None:
    cache = await make_cache()
    kind = rows(cache)

    def load(n: int) -> Any:
        async def one() -> int:
            return n

        return one

    for n in range(20):
        await cache.read(kind, f"Row:{n}", load(n))
    for _ in range(20):
        cache.memory.wipe()
        tasks = [asyncio.create_task(cache.read(kind, f"Row:{n}", load(-1))) for n in range(20)]
        for task in tasks[::3]:
            await asyncio.sleep(0)
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [r for r in results if isinstance(r, bytes)] == [
            str(n).encode() for n, r in enumerate(results) if isinstance(r, bytes)
        ]
    assert cache.stats()["breaker_opened"] == 0


async def test_a_name_that_cannot_be_sent_does_not_shift_the_answers_of_others(
    make_cache: MakeCache,
) -> None:
    cache = await make_cache()
    kind = rows(cache)

    def load(n: int) -> Any:
        async def one() -> int:
            return n

        return one

    for n in range(3):
        await cache.read(kind, f"Row:{n}", load(n))
    cache.memory.wipe()
    assert await cache.read(kind, "Row:\ud800", load(7)) == b"7"
    read = [await cache.read(kind, f"Row:{n}", load(-1)) for n in range(3)]
    assert read == [b"0", b"1", b"2"]
    assert cache.stats()["breaker_opened"] == 0


async def test_a_connection_that_broke_while_sending_is_not_made_anew_by_the_next_command() -> None:
    with Tormented() as server:
        client = Redis.from_url(server.url)
        losses: list[str] = []
        line = Line(client, lambda: losses.append("lost"))
        await line.open()
        before = (await client.info("stats"))["total_connections_received"]
        line._wire._transport.close()
        with pytest.raises(RedisConnectionError):
            await line.ask("PING", deadline=1.0)
        await eventually(lambda: losses == ["lost"])
        assert (await client.info("stats"))["total_connections_received"] == before
        await line.open()
        assert await line.ask("PING", deadline=1.0) in (b"PONG", True)
        await line.close()
        await client.aclose()


@asynccontextmanager
async def tormented() -> AsyncGenerator[tuple[Tormented, CoherentCache]]:
    with Tormented() as server:
        cache = coherent_cache(server.url, None)
        await cache.start()
        try:
            yield server, cache
        finally:
            server.thaw()
            await cache.close()


async def test_a_frozen_redis_costs_one_deadline_then_nothing_and_no_error() -> None:
    async with tormented() as (server, cache):
        table = Table()
        await table.read(cache)
        cache.memory.wipe()
        server.freeze()
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await table.read(cache) == 1
        first = loop.time() - began
        began = loop.time()
        for n in range(100):
            assert await table.read(cache, f"Row:{n}") == 1
        each = (loop.time() - began) / 100
        await table.write(cache, 2)
        assert await table.read(cache) == 2
        assert cache.stats()["breaker"] == "open"
        assert cache.stats()["unconfirmed"] == 1
        server.thaw()
        await eventually(lambda: cache.stats()["unconfirmed"] == 0)
        await eventually(lambda: cache.stats()["is_heard"])
        assert cache.stats()["breaker"] == "closed"
        assert await table.read(cache) == 2
        assert first < 0.5
        assert each < 0.05


async def test_a_killed_redis_that_comes_back_empty_is_used_again() -> None:
    async with tormented() as (server, cache):
        table = Table()
        await table.read(cache)
        server.kill()
        await eventually(lambda: not cache.stats()["is_heard"])
        assert len(cache.memory) == 0
        await table.write(cache, 2)
        assert await table.read(cache) == 2
        server.start()
        await eventually(lambda: cache.stats()["is_heard"])
        await eventually(lambda: cache.stats()["unconfirmed"] == 0)
        assert await table.read(cache) == 2
        cache.memory.wipe()
        loads = table.loads
        assert await table.read(cache) == 2
        assert table.loads == loads


async def test_a_subscription_cut_by_the_server_is_noticed_at_once(
    make_cache: MakeCache, client: Redis
) -> None:
    cache = await make_cache()
    table = Table()
    await table.read(cache)
    await client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    await eventually(lambda: cache.listening.lost_count == 1)
    await eventually(lambda: cache.stats()["is_heard"])


async def test_values_of_another_epoch_do_not_count(make_cache: MakeCache) -> None:
    cache = await make_cache()
    table = Table()
    await table.read(cache)
    cache.memory.wipe()
    store: Any = cache.levels.store
    store._epoch = b"x" * 20
    await table.read(cache)
    assert table.loads == 2
    assert cache.stats()["l2"]["Row"]["stale_prevented"] == 1


async def test_a_message_that_cannot_be_read_drops_everything(
    make_cache: MakeCache, client: Redis, prefix: str
) -> None:
    cache = await make_cache()
    await Table().read(cache)
    await client.publish(Keyspace(prefix).channel, b"\xff")
    await eventually(lambda: len(cache.memory) == 0)


async def test_an_unreachable_redis_at_the_start_is_no_error() -> None:
    cache = coherent_cache("redis://127.0.0.1:9/0", None)
    await cache.start()
    table = Table()
    assert await table.read(cache) == 1
    await table.write(cache, 2)
    assert await table.read(cache) == 2
    with pytest.raises(UnreachableError):
        await cache.levels.store.read(["a"], [])  # type: ignore[union-attr]
    await cache.close()


def test_a_url_of_something_else_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="cache_url"):
        coherent_cache("postgresql://x", None)


async def test_without_redis_a_cache_is_coherent_within_its_process() -> None:
    cache = coherent_cache(None, None)
    await cache.start()
    table = Table()
    assert await table.read(cache) == await table.read(cache) == 1
    assert table.loads == 1
    await table.write(cache, 2)
    assert await table.read(cache) == 2
    assert rows(cache).memory_ttl == 5.0
    assert cache.owed_statement(cache.changes()) is None
    await cache.close()


@pytest.mark.parametrize("operation", ["lease", "fill"])
async def test_a_lease_that_was_given_before_or_during_a_freeze_keeps_nobody_waiting(
    make_cache: MakeCache, operation: str
) -> None:
    with Tormented() as server:
        cache = await make_cache(server.url)
        table = Table()
        store: Any = cache.levels.store
        original = getattr(store, operation)
        await table.read(cache, "Row:0")  # from now on the server knows the scripts

        async def frozen(wanted: Any) -> Any:
            server.freeze()
            return await original(wanted)

        setattr(store, operation, frozen)
        try:
            assert await table.read(cache) == 1
        finally:
            setattr(store, operation, original)
            server.thaw()
        await eventually(lambda: cache.stats()["breaker"] == "closed" and cache.levels.is_heard)
        await asyncio.sleep(0.1)
        began = time.monotonic()
        assert await table.read(cache) == 1
        assert time.monotonic() - began < 1.0  # a lease is 3 seconds long


async def test_a_reader_cut_off_while_it_asks_for_a_lease_keeps_nobody_waiting(
    make_cache: MakeCache,
) -> None:
    cache = await make_cache()
    table = Table()
    store: Any = cache.levels.store
    original = store.lease

    async def lease(wishes: Any) -> Any:
        granted = await original(wishes)
        task.cancel()
        await asyncio.sleep(1)  # where it is cut off
        return granted

    store.lease = lease
    task = asyncio.create_task(table.read(cache))
    with pytest.raises(asyncio.CancelledError):
        await task
    store.lease = original
    began = time.monotonic()
    assert await table.read(cache) == 1
    assert time.monotonic() - began < 1.0  # a lease is 3 seconds long
