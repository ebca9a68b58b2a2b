"""The scripts on a real server, held to what the model of Redis does."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.cache.model.simulated import Server
from timber.cache.coherence.breaker import Breaker
from timber.cache.coherence.envelope import HEAD_BYTES
from timber.cache.coherence.redis_store import RedisStore
from timber.cache.coherence.store import Fill, Lease, Wish
from timber.cache.keys import Keyspace

MakeStore = Callable[..., Awaitable[RedisStore]]


@pytest.fixture
async def stored(client: Redis, prefix: str) -> AsyncGenerator[MakeStore]:
    """Makes stores that are connected."""
    made: list[RedisStore] = []

    async def make(**options: Any) -> RedisStore:
        store = RedisStore(
            client, Keyspace(prefix), Breaker(), read_deadline=5, clear_deadline=5, **options
        )
        made.append(store)
        assert await store.probe()
        return store

    yield make
    for store in made:
        await store.close()


async def test_the_scripts_do_what_the_model_of_redis_does(stored: MakeStore) -> None:
    """Ten thousand random operations on both, compared after each."""
    store = await stored()
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
                await store.release([ours])
                model.release(theirs)
            case _:
                pass
        for each in names:
            ours_blob, theirs_blob = (await store.read([each], []))[0], model.read([each], [])[0]
            assert _without_epoch(ours_blob) == _without_epoch(theirs_blob)
        assert await store.read([], tags) == model.read([], tags)


def _without_epoch(blob: bytes | None) -> bytes | None:
    return None if blob is None else blob[:HEAD_BYTES] + blob[HEAD_BYTES + 20 :]


async def test_a_lease_expires(stored: MakeStore) -> None:
    store = await stored(lease_seconds=0.03)
    wish = Wish("a", b"", b"t" * 12, ("x",), (b"g" * 12,))
    assert (await store.lease([wish]))[0] is not None
    assert (await store.lease([wish]))[0] is None
    await asyncio.sleep(0.05)
    assert (await store.lease([wish]))[0] is not None


async def test_many_names_are_cleared_in_one_round_trip(
    client: Redis, prefix: str, stored: MakeStore
) -> None:
    store = await stored()
    names = [f"Row:{n}" for n in range(5000)]
    await client.set(Keyspace(prefix).entry("Row:4999"), b"x")
    await store.clear(names)
    assert await store.read(["Row:4999"], []) == [None]
