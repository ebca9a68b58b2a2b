"""Both caches as users know them: aiocache's contract, and what it leaves open."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiocache.serializers import NullSerializer, StringSerializer
from redis.asyncio import Redis

from timber.cache.memory import MISSING, MemoryCache
from timber.cache.redis import RedisCache


@pytest.fixture(params=["memory", "redis"])
def cache(request: pytest.FixtureRequest) -> Any:
    if request.param == "memory":
        return MemoryCache(namespace="here:")
    client = request.getfixturevalue("client")
    return RedisCache(client, namespace=request.getfixturevalue("prefix"))


async def test_a_value_comes_back(cache: Any) -> None:
    assert await cache.set("key", {"a": [1, None, "ü"]})
    assert await cache.get("key") == {"a": [1, None, "ü"]}
    assert await cache.exists("key")


async def test_a_miss_gives_the_default(cache: Any) -> None:
    assert await cache.get("key") is None
    assert await cache.get("key", default=1) == 1
    assert not await cache.exists("key")


async def test_a_hit_cannot_be_changed_for_others(cache: Any) -> None:
    value = {"a": [1]}
    await cache.set("key", value)
    value["a"].append(2)
    (await cache.get("key"))["a"].append(3)
    assert await cache.get("key") == {"a": [1]}


async def test_add_stores_only_what_is_not_there(cache: Any) -> None:
    assert await cache.add("key", 1)
    with pytest.raises(ValueError, match="already exists"):
        await cache.add("key", 2)
    assert await cache.get("key") == 1


async def test_many_are_set_and_got_in_order(cache: Any) -> None:
    assert await cache.multi_set([("a", 1), ("b", 2)])
    assert await cache.multi_get(["b", "missing", "a"]) == [2, None, 1]
    assert await cache.multi_get([]) == []


async def test_many_are_set_with_a_time_to_live(cache: Any) -> None:
    assert await cache.multi_set([("a", 1), ("b", 2)], ttl=0.02)
    await asyncio.sleep(0.05)
    assert await cache.multi_get(["a", "b"]) == [None, None]


async def test_delete_tells_how_many(cache: Any) -> None:
    await cache.set("key", 1)
    assert await cache.delete("key") == 1
    assert await cache.delete("key") == 0


async def test_increment_begins_at_zero_and_refuses_text(cache: Any) -> None:
    assert await cache.increment("number") == 1
    assert await cache.increment("number", delta=-3) == -2
    assert await cache.get("number") == -2
    await cache.set("text", "one")
    with pytest.raises(TypeError):
        await cache.increment("text")


@pytest.mark.parametrize("ttl", [0.03, 0.03000001])
async def test_an_entry_expires(cache: Any, ttl: float) -> None:
    await cache.set("key", 1, ttl=ttl)
    assert await cache.get("key") == 1
    await asyncio.sleep(0.06)
    assert await cache.get("key") is None


async def test_a_whole_number_of_seconds_is_a_time_to_live_too(cache: Any) -> None:
    await cache.set("key", 1, ttl=1)
    await cache.add("other", 1, ttl=1)
    assert await cache.multi_get(["key", "other"]) == [1, 1]


async def test_expire_changes_and_removes_the_end(cache: Any) -> None:
    await cache.set("key", 1, ttl=0.03)
    assert await cache.expire("key", 0)
    await asyncio.sleep(0.05)
    assert await cache.get("key") == 1
    assert await cache.expire("key", 0.01)
    await asyncio.sleep(0.03)
    assert await cache.get("key") is None
    assert not await cache.expire("key", 1)


async def test_clear_leaves_other_namespaces_alone(cache: Any, prefix: str) -> None:
    await cache.set("key", 1)
    await cache.set("key", 2, namespace=f"{prefix}-other")
    assert await cache.clear()
    assert await cache.get("key") is None
    assert await cache.get("key", namespace=f"{prefix}-other") == 2


async def test_clear_takes_a_namespace(cache: Any, prefix: str) -> None:
    await cache.set("key", 1)
    await cache.set("key", 2, namespace=f"{prefix}-*")
    assert await cache.clear(namespace=f"{prefix}-*")
    assert await cache.get("key") == 1
    assert await cache.get("key", namespace=f"{prefix}-*") is None


async def test_a_value_is_replaced_only_under_its_token(cache: Any) -> None:
    await cache.set("key", 1)
    assert not await cache.set("key", 2, _cas_token=b"other")
    assert await cache.set("key", 3, _cas_token=b"1", ttl=10)
    assert await cache.get("key") == 3


async def test_a_lock_is_released_by_its_owner_only(cache: Any) -> None:
    await cache.set("key", "mine", dumps_fn=str)
    key = cache.build_key("key")
    assert not await cache._redlock_release(key, "another's")
    assert await cache._redlock_release(key, "mine")


async def test_other_serializers_work(cache: Any) -> None:
    cache.serializer = StringSerializer()
    await cache.set("key", 1)
    assert str(await cache.get("key", loads_fn=lambda value: value)) == "1"


async def test_a_timeout_can_still_be_asked_for(cache: Any) -> None:
    assert await cache.get("key", timeout=5) is None
    async with cache.get_connection() as connection:
        await connection.set("key", 1)
        assert await connection.get("key") == 1


async def test_closing_leaves_a_client_that_was_handed_in_open(cache: Any, client: Redis) -> None:
    await cache.close()
    assert await client.ping()


# L1 alone


def test_the_longest_unused_entry_goes_first() -> None:
    cache = MemoryCache(max_entries=2)
    cache.keep("a", 1, 1, None)
    cache.keep("b", 2, 1, None)
    cache.peek("a")
    cache.keep("c", 3, 1, None)
    assert [cache.peek(key) for key in "abc"] == [1, MISSING, 3]
    assert cache.evictions == 1


def test_memory_is_bounded_by_bytes_too() -> None:
    cache = MemoryCache(max_bytes=100_000)
    for number in range(1000):
        cache.keep(str(number), b"", 5000, None, ["tag"])
    assert 50_000 < cache.bytes <= 100_000
    assert not cache.keep("huge", b"", 50_000, None)
    kept = len(cache)
    assert cache.drop_tagged(["tag"]) == kept
    assert cache.bytes == 0
    assert not cache._tagged


def test_entries_expire_at_different_times() -> None:
    now = 0.0
    cache = MemoryCache(clock=lambda: now, jitter=0.1)
    for number in range(200):
        cache.keep(str(number), number, 1, 100)
    now = 95.0
    left = sum(cache.peek(str(number)) is not MISSING for number in range(200))
    assert 40 < left < 160
    now = 100.0
    assert all(cache.peek(str(number)) is MISSING for number in range(200))
    assert cache.bytes == 0


def test_dropping_by_tag_finds_every_entry() -> None:
    cache = MemoryCache()
    cache.keep("a", 1, 1, None, ["x", "y"])
    cache.keep("b", 2, 1, None, ["x"])
    cache.keep("x", 3, 1, None)
    cache.keep("c", 4, 1, None, ["y"])
    assert cache.drop_tagged(["x"]) == 3
    assert cache.peek("c") == 4
    assert cache._tagged == {"y": {"c"}}


async def test_null_serializer_keeps_objects() -> None:
    cache = MemoryCache(NullSerializer())
    thing = object()
    await cache.set("key", thing)
    assert await cache.get("key") is thing
