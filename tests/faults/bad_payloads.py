"""Payloads in Redis that nobody wrote: cut off, of another kind, or with bits that have turned over."""

from __future__ import annotations

import random
from typing import Any

from redis.asyncio import Redis

from tests.faults.bad_world import Bench
from tests.faults.junk import TEXTS


class BadPayload:
    """Something else under one key of a cache; then everything that was cached is read again."""

    def __init__(self, rng: random.Random, bench: Bench, redis: Redis) -> None:
        self.rng = rng
        self.bench = bench
        self.redis = redis
        self.changed = ""

    def __str__(self) -> str:
        return self.changed

    async def run(self) -> None:
        rng, timber = self.rng, self.bench.timber
        await self._read(fresh=False)
        prefix = timber.settings.cache_prefix
        keys = sorted([key async for key in self.redis.scan_iter(match=f"{prefix}*", count=1000)])
        for key in rng.sample(keys, min(len(keys), rng.choice((1, 3, 20)))):
            await self._break(key)
        # As another process would, which has nothing in its memory.
        timber.cache.levels.drop_all()
        found = await self._read(fresh=False)
        true = await self._read(fresh=True)
        assert found == true, "what is not the database's is served"

    async def _read(self, *, fresh: bool) -> list[Any]:
        timber, ids = self.bench.timber, self.bench.world.ids
        cases = timber.service("Case").repository
        return [
            await timber.sessions.get_session(ids["Session"][0], fresh=fresh),
            await timber.sessions.count_user_sessions("user-1", by="status", fresh=fresh),
            await timber.sessions.page_user_sessions("user-1", fresh=fresh),
            await timber.sessions.get_user_sessions("user-1", fresh=fresh),
            await timber.research.get_user_research("user-1", fresh=fresh),
            await timber.notifications.unread_count("user-1", fresh=fresh),
            await timber.tracking.get_user_trackers("user-1", fresh=fresh),
            await cases.get_many(ids["Case"], fresh=fresh),
            await cases.find(user_id="user-1", fresh=fresh),
        ]

    async def _break(self, key: bytes | str) -> None:
        rng, redis = self.rng, self.redis
        kind = rng.choice(("cut", "turned", "junk", "other type", "gone", "mixed up"))
        self.changed = f"{key!r}: {kind}"
        value = await redis.get(key) if await redis.type(key) in {b"string", "string"} else None
        if kind == "gone" or value is None:
            await redis.delete(key)
        elif kind == "cut":
            await redis.set(key, value[: rng.randint(0, len(value))])
        elif kind == "turned" and value:
            at = rng.randrange(len(value))
            turned = bytes([value[at] ^ (1 << rng.randrange(8))])
            await redis.set(key, value[:at] + turned + value[at + 1 :])
        elif kind == "other type":
            await redis.delete(key)
            await redis.rpush(key, b"x")
        elif kind == "mixed up":
            await redis.set(key, value[::-1])
        else:
            text = rng.choice(TEXTS).encode("utf-8", "surrogatepass")
            await redis.set(
                key, rng.choice((text, rng.randbytes(40), b"\x01" + text, b"null", b"[]"))
            )
