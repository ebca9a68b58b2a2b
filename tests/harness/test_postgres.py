"""Servers of a test's own come back from everything that is done to them."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path

import asyncpg
import pytest

from tests.harness.postgres import Postgres, replicated
from timber.database.manager import AsyncDatabaseManager
from timber.database.statements import Statement

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="finds the server's processes in /proc"
)
WHERE = Statement("SHOW data_directory", label="where")


@pytest.fixture
def folder() -> Generator[Path]:
    with tempfile.TemporaryDirectory(prefix="timber-own-", ignore_cleanup_errors=True) as path:
        yield Path(path)


async def value(server: Postgres, query: str) -> object:
    connection = await asyncpg.connect(server.driver_url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_a_primary_and_its_replica_change_places(folder: Path):
    one, two = Postgres(folder / "one"), Postgres(folder / "two")
    db = AsyncDatabaseManager(replicated(one, two))
    try:
        one.start()
        two.follow(one)
        assert await value(one, "SELECT pg_is_in_recovery()") is False
        assert await value(two, "SELECT pg_is_in_recovery()") is True
        assert (await db.fetch(WHERE))[0][0] == str(one.data)
        await asyncio.to_thread(one.stop)
        await asyncio.to_thread(two.promote)
        assert (await db.fetch(WHERE))[0][0] == str(two.data)
        await asyncio.to_thread(one.follow, two)
        assert await value(one, "SELECT pg_is_in_recovery()") is True
        one.kill()
        assert one.pid is None
        one.start()
        one.freeze()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(value(one, "SELECT 1"), 0.2)
        one.thaw()
        assert await value(one, "SELECT 1") == 1
    finally:
        await db.dispose()
        for server in (one, two):
            server.thaw()
            server.stop("immediate")
