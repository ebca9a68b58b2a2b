"""Two processes over one database, each with a cache of its own."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import pytest

from tests.cache.wired.house import REGISTRY, House
from tests.harness import databases
from tests.harness.databases import Databases, run_apart
from timber import Timber
from timber.database.manager import AsyncDatabaseManager

MakeHouse = Callable[..., Awaitable[House]]


async def _make_tables(databases: Databases, name: str) -> str:
    url = await databases.bare(name)
    manager = AsyncDatabaseManager(url)
    try:
        await manager.create_all_tables(REGISTRY.metadata)
    finally:
        await manager.dispose()
    return url


@pytest.fixture(scope="session")
def house_url(test_databases: Databases, worker_id: str) -> str:
    return run_apart(_make_tables(test_databases, f"cached_{worker_id}"))


@pytest.fixture
async def make_house(house_url: str, cache_url: str) -> AsyncGenerator[MakeHouse]:
    """Makes processes that share a cache in Redis, unless another one is named."""
    prefix = f"timber-test-{uuid4().hex[:12]}"
    async with AsyncExitStack() as stack:

        async def make(url: str = cache_url, **settings: Any) -> House:
            options: dict[str, Any] = {"cache_prefix": prefix, "pool_size": 4, **settings}
            timber = Timber(house_url, registry=REGISTRY, cache_url=url, **options)
            return House(await stack.enter_async_context(timber))

        yield make
    await databases.clean_tables(house_url)


@pytest.fixture
async def house(make_house: MakeHouse) -> House:
    return await make_house()
