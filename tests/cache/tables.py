"""A value in a database that a test plays, read and written through caches."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from timber.cache.codec import JsonCodec
from timber.cache.coherence.cache import CoherentCache

MakeCache = Callable[..., Awaitable[CoherentCache]]


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
