"""The second level on a real server: the scripts, the deadlines, the subscription."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.cache.model.world import Server
from tests.cache.servers import Tormented
from timber.cache.codec import JsonCodec
from timber.cache.coherence.breaker import Breaker
from timber.cache.coherence.cache import CoherentCache
from timber.cache.coherence.connecting import coherent_cache
from timber.cache.coherence.envelope import HEAD_BYTES
from timber.cache.coherence.redis_store import RedisStore
from timber.cache.coherence.store import Fill, Lease, UnreachableError, Wish
from timber.cache.keys import Keyspace
from timber.errors import ConfigurationError

MakeCache = Callable[..., Awaitable[CoherentCache]]


@pytest.fixture
async def make_cache(cache_url: str, prefix: str, client: Redis) -> AsyncGenerator[MakeCache]:
    """Makes started caches, as if each were a process."""
    async with AsyncExitStack() as stack:

        async def make(url: str = cache_url) -> CoherentCache:
            cache = coherent_cache(url, None, prefix=prefix)
            stack.push_async_callback(cache.close)
            await cache.start()
            return cache

        yield make


def rows(cache: CoherentCache) -> Any:
    return cache.kind("Row", JsonCodec("00"))


class Table:
    """A value, and how often it was read."""

    def __init__(self, value: object = 1) -> None:
        self.value = value
        self.loads = 0
        self.may_go = asyncio.Event()
        self.may_go.set()

    async def load(self) -> object:
        self.loads += 1
        value = self.value
        await self.may_go.wait()
        return value

    async def read(self, cache: CoherentCache, name: str = "Row:1", **options: Any) -> object:
        kind = rows(cache)
        return kind.codec.thaw(await cache.read(kind, name, self.load, **options))

    async def write(self, cache: CoherentCache, value: object) -> None:
        self.value = value
        changes = cache.changes()
        changes.add("Row", [1])
        await cache.committed(changes)


async def eventually(is_true: Callable[[], object], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not is_true():
            await asyncio.sleep(0.005)


# Scripts


async def stored(client: Redis, prefix: str, **options: Any) -> RedisStore:
    store = RedisStore(
        client, Keyspace(prefix), Breaker(), read_deadline=5, clear_deadline=5, **options
    )
    assert await store.probe()
    return store


async def test_the_scripts_do_what_the_model_of_redis_does(client: Redis, prefix: str) -> None:
    """Ten thousand random operations on both, compared after each."""
    store = await stored(client, prefix)
    model = Server()
    chance = random.Random(1)
    names, tags = ["a", "b"], ["x", "y"]
    leases: list[tuple[Lease, Lease]] = []

    def token() -> bytes:
        return chance.randbytes(12)

    for _ in range(1500):
        name = chance.choice(names)
        hung_on = tuple(chance.sample(tags, chance.randint(1, 2)))
        match chance.choice(["lease", "lease", "fill", "fill", "clear", "release", "read"]):
            case "lease":
                seen = (await store.read([name], []))[0] or b""
                head = seen[:HEAD_BYTES] if chance.random() < 0.8 else b"V" + token()
                wish = Wish(name, head, token(), hung_on, tuple(token() for _ in hung_on))
                ours, theirs = (await store.lease([wish]))[0], model.lease(wish)
                assert (ours is None) == (theirs is None)
                if ours is not None and theirs is not None:
                    assert ours.stamps == theirs.stamps
                    leases.append((ours, theirs))
            case "fill" if leases:
                ours, theirs = chance.choice(leases[-3:])
                payload = token()
                filled = await store.fill([Fill(ours, payload, 60)])
                assert filled == [model.fill(Fill(theirs, payload, 60))]
            case "clear":
                cleared = chance.sample([*names, *tags], 1)
                await store.clear(cleared)
                model.delete(cleared)
            case "release" if leases:
                ours, theirs = chance.choice(leases[-3:])
                await store.release(ours)
                model.release(theirs)
            case _:
                pass
        for each in names:
            ours_blob, theirs_blob = (await store.read([each], []))[0], model.read([each], [])[0]
            assert _without_epoch(ours_blob) == _without_epoch(theirs_blob)
        assert await store.read([], tags) == model.read([], tags)


def _without_epoch(blob: bytes | None) -> bytes | None:
    return None if blob is None else blob[:HEAD_BYTES] + blob[HEAD_BYTES + 20 :]


async def test_a_lease_expires(client: Redis, prefix: str) -> None:
    store = await stored(client, prefix, lease_seconds=0.03)
    wish = Wish("a", b"", b"t" * 12, ("x",), (b"g" * 12,))
    assert (await store.lease([wish]))[0] is not None
    assert (await store.lease([wish]))[0] is None
    await asyncio.sleep(0.05)
    assert (await store.lease([wish]))[0] is not None


async def test_many_names_are_cleared_in_one_round_trip(client: Redis, prefix: str) -> None:
    store = await stored(client, prefix)
    names = [f"Row:{n}" for n in range(5000)]
    await client.set(Keyspace(prefix).entry("Row:4999"), b"x")
    await store.clear(names)
    assert await store.read(["Row:4999"], []) == [None]


# Reading


async def test_a_second_process_reads_from_redis(make_cache: MakeCache) -> None:
    one, two = await make_cache(), await make_cache()
    table = Table({"a": [1]})
    assert await table.read(one) == await table.read(two) == {"a": [1]}
    assert await table.read(two) == {"a": [1]}
    assert table.loads == 1
    stats = two.stats()
    assert (stats["l1"]["Row"]["hits"], stats["l2"]["Row"]["hits"]) == (1, 1)


async def test_that_there_is_nothing_is_kept_too(make_cache: MakeCache) -> None:
    cache = await make_cache()
    table = Table(None)
    assert await table.read(cache) is None
    cache.memory.wipe()
    assert await table.read(cache) is None
    assert table.loads == 1


async def test_a_write_is_seen_by_itself_at_once_and_by_others_after_a_message(
    make_cache: MakeCache,
) -> None:
    one, two = await make_cache(), await make_cache()
    table = Table(1)
    assert await table.read(one) == await table.read(two) == 1
    await table.write(one, 2)
    assert await table.read(one) == 2
    await eventually(lambda: "Row:1" not in two.memory._slots)
    assert await table.read(two) == 2


async def test_a_list_is_dropped_with_its_tag_and_everything_with_its_model(
    make_cache: MakeCache,
) -> None:
    one, two = await make_cache(), await make_cache()
    table = Table([1])
    for names, tags in [((), ["user_rows:ann"]), ((), ())]:
        await table.read(one, "Row?list", tags=["user_rows:ann"])
        await table.read(two, "Row?list", tags=["user_rows:ann"])
        loads = table.loads
        await two.invalidate("Row", ids=names, tags=tags)
        await table.read(two, "Row?list", tags=["user_rows:ann"])
        assert table.loads == loads + 1
    await two.invalidate("Row", tags=["user_rows:bob"])
    await table.read(two, "Row?list", tags=["user_rows:ann"])
    assert table.loads == loads + 1


async def test_the_reads_of_one_tick_are_one_mget(make_cache: MakeCache, client: Redis) -> None:
    cache = await make_cache()
    table = Table()
    for n in range(50):
        await table.read(cache, f"Row:{n}")
    cache.memory.wipe()
    before = (await client.info("commandstats"))["cmdstat_mget"]["calls"]
    await asyncio.gather(*[table.read(cache, f"Row:{n}") for n in range(50)])
    assert (await client.info("commandstats"))["cmdstat_mget"]["calls"] == before + 1
    assert table.loads == 50


async def test_a_leader_of_a_gathered_read_who_is_cancelled_takes_nobody_with_it(
    make_cache: MakeCache,
) -> None:
    cache = await make_cache()
    table = Table()
    tasks = [asyncio.create_task(table.read(cache, f"Row:{n}")) for n in range(5)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == [1] * 4


async def test_many_are_read_in_one_round_trip(make_cache: MakeCache, client: Redis) -> None:
    cache = await make_cache()
    names = [f"Row:{n}" for n in range(100)]
    asked: list[int] = []

    async def load(missing: Any) -> dict[str, Any]:
        asked.append(len(missing))
        return {name: name for name in missing if name != "Row:7"}

    kind = rows(cache)
    first = await cache.read_many(kind, names, load)
    cache.memory.wipe()
    before = (await client.info("stats"))["total_commands_processed"]
    again = await cache.read_many(kind, names, load)
    commands = (await client.info("stats"))["total_commands_processed"] - before
    assert first == again
    assert kind.codec.thaw(again["Row:7"]) is None
    assert asked == [100]
    assert commands <= 4  # the MGET, this INFO, and at most a ping beside it


async def test_two_overlapping_reads_of_many_do_not_wait_for_one_another(
    make_cache: MakeCache,
) -> None:
    cache = await make_cache()
    kind = rows(cache)

    async def load(missing: Any) -> dict[str, Any]:
        await asyncio.sleep(0.01)
        return dict.fromkeys(missing, 1)

    async with asyncio.timeout(2):
        await asyncio.gather(
            cache.read_many(kind, ["Row:1", "Row:2"], load),
            cache.read_many(kind, ["Row:3", "Row:2", "Row:1"], load),
            cache.read_many(kind, ["Row:2", "Row:3"], load),
        )


@pytest.mark.parametrize("damage", [b"", b"V", b"V" + b"x" * 200, b"\x80\x04N.", b"{}"])
async def test_a_damaged_entry_is_a_miss_and_is_mended(
    make_cache: MakeCache, client: Redis, prefix: str, damage: bytes
) -> None:
    cache = await make_cache()
    table = Table()
    await table.read(cache)
    key = Keyspace(prefix).entry("Row:1")
    await client.set(key, damage)
    cache.memory.wipe()
    assert await table.read(cache) == 1
    cache.memory.wipe()
    assert await table.read(cache) == 1
    assert table.loads == 2


async def test_a_truncated_payload_is_a_miss_and_is_counted(
    make_cache: MakeCache, client: Redis, prefix: str
) -> None:
    cache = await make_cache()
    table = Table()
    await table.read(cache)
    key = Keyspace(prefix).entry("Row:1")
    whole = await client.get(key)
    await client.set(key, whole[:-1])
    cache.memory.wipe()
    assert await table.read(cache) == 1
    assert cache.stats()["l2"]["Row"]["corrupted"] == 1


# Single flight


async def test_a_thousand_waiters_of_four_processes_cause_one_load(make_cache: MakeCache) -> None:
    caches = [await make_cache() for _ in range(4)]
    table = Table()
    table.may_go.clear()
    tasks = [asyncio.create_task(table.read(caches[n % 4])) for n in range(1000)]
    await asyncio.sleep(0.1)
    table.may_go.set()
    assert set(await asyncio.gather(*tasks)) == {1}
    assert table.loads == 1


async def test_a_cancelled_leader_hands_over(make_cache: MakeCache) -> None:
    cache = await make_cache()
    table = Table()
    table.may_go.clear()
    tasks = [asyncio.create_task(table.read(cache)) for _ in range(10)]
    await eventually(lambda: table.loads == 1)
    tasks[0].cancel()
    await eventually(lambda: table.loads == 2)
    table.may_go.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == [1] * 9
    assert table.loads == 2


async def test_an_error_of_the_leader_is_its_own(make_cache: MakeCache) -> None:
    cache = await make_cache()
    kind = rows(cache)
    calls = 0

    async def load() -> int:
        nonlocal calls
        calls += 1
        first = calls == 1
        await asyncio.sleep(0.05)
        if first:
            raise RuntimeError("the database is gone")
        return 1

    results = await asyncio.gather(
        *[cache.read(kind, "Row:1", load) for _ in range(3)], return_exceptions=True
    )
    assert isinstance(results[0], RuntimeError)
    assert results[1:] == [b"1", b"1"]


# Faults


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


# Without Redis


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
