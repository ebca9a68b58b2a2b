"""A cache server for the worker, and clients on it whose keys are gone after the test."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from tests.cache.servers import cache_server
from tests.cache.tables import MakeCache
from timber.cache.coherence.cache import CoherentCache
from timber.cache.coherence.connecting import coherent_cache, redis_client

if TYPE_CHECKING:
    from redis.asyncio import Redis


@pytest.fixture(scope="session")
def cache_url() -> Generator[str]:
    with cache_server() as url:
        yield url


@pytest.fixture
def prefix() -> str:
    """What the keys of this test begin with."""
    return f"timber-test-{uuid4().hex[:12]}"


@pytest.fixture
async def client(cache_url: str, prefix: str) -> AsyncGenerator[Redis]:
    client = redis_client(cache_url)
    try:
        yield client
        async for key in client.scan_iter(match=f"{prefix}*", count=500):
            await client.unlink(key)
    finally:
        await client.aclose()


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
