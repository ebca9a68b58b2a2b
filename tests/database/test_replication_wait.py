"""A commit that has to reach a standby which never answers: nobody is told that it is safe."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import asyncpg
import pytest

from tests.database.conftest import QUICK
from tests.database.ledger import insert
from tests.database.own_server import OwnServer
from timber.context import deadline
from timber.database.manager import AsyncDatabaseManager
from timber.database.outcome import outcome_of
from timber.errors import CommitOutcomeUnknownError, QueryTimeoutError
from timber.settings import TimberSettings


@pytest.fixture
async def lonely(own_server: OwnServer) -> AsyncGenerator[AsyncDatabaseManager]:
    """A manager on a server that waits for a standby which is not there."""
    connection = await asyncpg.connect(own_server.driver_url)
    db = AsyncDatabaseManager(own_server.url, settings=TimberSettings(**QUICK))
    try:
        await connection.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        await connection.execute("SELECT pg_reload_conf()")
        await db.ping()
        while await connection.fetchval("SHOW synchronous_standby_names") != "nobody":
            await asyncio.sleep(0.01)
        yield db
    finally:
        await connection.execute("ALTER SYSTEM RESET synchronous_standby_names")
        await connection.execute("SELECT pg_reload_conf()")
        await db.dispose()
        await connection.close()


async def test_a_lone_write_that_was_interrupted_in_that_wait_is_unknown(
    lonely: AsyncDatabaseManager,
):
    with pytest.raises(QueryTimeoutError) as caught:
        async with deadline(0.3):
            await insert(lonely, "x")
    assert outcome_of(caught.value) == "unknown"


async def test_a_lone_write_that_somebody_else_cancelled_in_that_wait_is_unknown_too(
    lonely: AsyncDatabaseManager, own_server: OwnServer
):
    task = asyncio.create_task(insert(lonely, "x"))
    connection = await asyncpg.connect(own_server.driver_url)
    while not await connection.fetchval(
        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    ):
        await asyncio.sleep(0.01)
    with pytest.raises(CommitOutcomeUnknownError, match="standby"):
        await task
    await connection.close()
