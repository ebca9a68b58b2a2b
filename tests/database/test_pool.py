"""The gate in front of the pool, and the connections behind it."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import pytest
from sqlalchemy import text

from tests.database.conftest import MakeDb
from tests.database.ledger import (
    DIVIDE,
    KEYS,
    SLEEP,
    CallerError,
    Observer,
    assert_nothing_is_held,
    free_places,
    insert,
    pid_of,
)
from tests.harness.proxy import Proxy
from timber.context import deadline
from timber.database.manager import AsyncDatabaseManager
from timber.errors import (
    PoolTimeoutError,
    QueryTimeoutError,
    ServiceError,
    UsageError,
    ValidationError,
)

# ------------------------------------------------------------------------------------------------------------ the pool


async def test_pool_status_tells_where_the_connections_are(make_db: MakeDb):
    db = make_db(pool_size=2, max_overflow=3, pool_timeout=7)
    status = db.get_pool_status()
    assert status == {
        "pool_size": 2,
        "checked_in": 0,
        "checked_out": 0,
        "overflow": 0,
        "timeout": 7,
    }
    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(db.fetch(SLEEP, (0.1,)))
        await asyncio.sleep(0.06)
        status = db.get_pool_status()
        assert (status["checked_out"], status["checked_in"], status["overflow"]) == (4, 0, 2)
    status = db.get_pool_status()
    assert (status["checked_out"], status["checked_in"], status["overflow"]) == (0, 2, 0)
    assert_nothing_is_held(db)


async def test_one_who_waits_too_long_for_a_connection_is_told(make_db: MakeDb):
    db = make_db(pool_size=1, max_overflow=0, pool_timeout=0.05)
    async with db.unit_of_work():
        await db.fetch(KEYS)
        waiting = asyncio.create_task(_outside(db))
        with pytest.raises(PoolTimeoutError, match="pool_size") as caught:
            await waiting
        assert caught.value.status == 503
    assert_nothing_is_held(db)


async def _outside(db: AsyncDatabaseManager) -> None:
    from timber.database.unit_of_work import _innermost

    _innermost.set(None)
    await db.fetch(KEYS)


async def test_a_deadline_shortens_the_wait_for_a_connection(make_db: MakeDb):
    db = make_db(pool_size=1, max_overflow=0, pool_timeout=30)
    link = await db._core.connections.acquire()
    started = time.monotonic()
    with pytest.raises((PoolTimeoutError, QueryTimeoutError)):
        async with deadline(0.05):
            await db.fetch(KEYS)
    assert time.monotonic() - started < 1
    db._core.connections.release(link)
    assert_nothing_is_held(db)


async def test_a_session_of_its_own_waits_no_longer_either(make_db: MakeDb):
    db = make_db(pool_size=1, max_overflow=0, pool_timeout=0.05)
    link = await db._core.connections.acquire()
    with pytest.raises(PoolTimeoutError):
        async with db.get_session() as session:
            await session.execute(text("SELECT 1"))
    db._core.connections.release(link)
    assert_nothing_is_held(db)


async def test_a_reserve_is_kept_for_independent_ones(make_db: MakeDb):
    db = make_db(pool_size=10, max_overflow=10)
    await db.ping()
    assert free_places(db) == (18, 2)
    async with db.unit_of_work():
        await db.fetch(KEYS)
        assert free_places(db) == (17, 2)
        async with db.unit_of_work(independent=True):
            await db.fetch(KEYS)
            assert free_places(db) == (17, 1)


async def test_a_dead_connection_is_not_handed_out(db: AsyncDatabaseManager, observer: Observer):
    """The pool does not see it; the driver does."""
    for use in (_read, _write, _unit, _session):
        await observer.kill(await pid_of(db))
        await asyncio.sleep(0.01)
        await use(db)
    assert await observer.count() == 2
    assert_nothing_is_held(db)


async def _read(db: AsyncDatabaseManager) -> None:
    await db.fetch(KEYS)


async def _write(db: AsyncDatabaseManager) -> None:
    await insert(db)


async def _unit(db: AsyncDatabaseManager) -> None:
    async with db.unit_of_work():
        await insert(db)


async def _session(db: AsyncDatabaseManager) -> None:
    async with db.get_session() as session:
        await session.execute(text("SELECT 1"))


async def test_a_read_on_a_connection_that_dies_at_that_moment_is_repeated(
    db: AsyncDatabaseManager, observer: Observer
):
    for _ in range(5):
        await observer.value("SELECT pg_terminate_backend($1)", await pid_of(db))
        assert await db.fetch(KEYS) == []


async def test_a_connection_idle_for_long_is_pinged(make_db: MakeDb, proxy: Proxy):
    """A half-open one looks alive until it is spoken to."""
    db = make_db(proxy.url, ping_after=0.05, connect_timeout=0.25)
    first = await pid_of(db)
    assert await pid_of(db) == first
    proxy.freeze_after(0, "to_client")
    asyncio.get_running_loop().call_later(0.35, proxy.heal)
    await asyncio.sleep(0.06)
    assert await pid_of(db) != first
    assert_nothing_is_held(db)


async def test_connections_are_recycled(make_db: MakeDb, observer: Observer):
    db = make_db(pool_recycle=0.05)
    pids = set()
    for _ in range(3):
        pids.add(await pid_of(db))
        await asyncio.sleep(0.06)
    assert len(pids) == 3
    assert db.get_pool_status()["checked_in"] == 1
    assert_nothing_is_held(db)


async def test_the_pool_is_called_without_a_greenlet(
    db: AsyncDatabaseManager, monkeypatch: pytest.MonkeyPatch
):
    from timber.database import connections

    spawned = 0
    spawn = connections.greenlet_spawn

    async def count(*args: Any, **options: Any) -> Any:
        nonlocal spawned
        spawned += 1
        return await spawn(*args, **options)

    monkeypatch.setattr(connections, "greenlet_spawn", count)
    await db.fetch(KEYS)
    assert spawned == 1
    for _ in range(5):
        await db.fetch(KEYS)
        async with db.unit_of_work():
            await insert(db)
    assert spawned == 1


async def test_a_failed_statement_does_not_cost_its_connection(db: AsyncDatabaseManager):
    pid = await pid_of(db)
    with pytest.raises(ValidationError):
        await db.fetch(DIVIDE, (0,))
    with pytest.raises(CallerError):
        async with db.unit_of_work():
            await insert(db)
            raise CallerError
    assert await pid_of(db) == pid


async def test_a_cancelled_statement_does_not_cost_its_connection(db: AsyncDatabaseManager):
    """Many short deadlines would stop all progress if each cost a reconnect."""
    pid = await pid_of(db)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await db.fetch(SLEEP, (10.0,))
    assert await pid_of(db) == pid


async def test_dispose_closes_every_connection_and_the_manager_can_go_on(
    db: AsyncDatabaseManager, observer: Observer
):
    name = db.settings.application_name
    await asyncio.gather(*(db.fetch(SLEEP, (0.02,)) for _ in range(8)))
    await db.dispose()
    await observer.wait_until_gone(name)
    await insert(db, "again")
    assert await observer.states(name) == ["idle"]
    await db.dispose()
    await observer.wait_until_gone(name)


async def test_a_connection_in_use_while_the_engine_is_disposed_of_is_closed_on_its_return(
    db: AsyncDatabaseManager, observer: Observer
):
    async with db.unit_of_work():
        await insert(db, "x")
        await db.engine.dispose()
    await insert(db, "y")
    assert await observer.notes() == ["x", "y"]
    assert len(await observer.states(db.settings.application_name)) == 1
    assert_nothing_is_held(db)


async def test_connect_and_checkout_are_logged_at_debug(
    db: AsyncDatabaseManager, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.DEBUG, logger="timber"):
        pid = await pid_of(db)
    texts = [record.getMessage() for record in caplog.records if record.levelno == logging.DEBUG]
    assert any("Connected to" in line and str(pid) in line for line in texts)
    assert any("checked out" in line and str(pid) in line for line in texts)


async def test_a_hundred_tasks_share_ten_connections(make_db: MakeDb, observer: Observer):
    db = make_db(pool_size=4, max_overflow=6)
    await asyncio.gather(*(insert(db, str(n)) for n in range(100)))
    assert await observer.count() == 100
    assert len(await observer.states(db.settings.application_name)) <= 10
    assert_nothing_is_held(db)


async def test_a_connection_that_cannot_be_introduced_gives_its_place_back(
    make_db: MakeDb, proxy: Proxy
):
    db = make_db(proxy.url, connect_timeout=0.2, outage_attempts=1)
    proxy.cut_after(600, "to_client", each_connection=True)
    for _ in range(3):
        with pytest.raises(ServiceError):
            await db.ping()
    proxy.heal()
    await db.ping()
    assert_nothing_is_held(db)


async def test_a_call_from_another_event_loop_says_so_and_disturbs_nobody(
    db: AsyncDatabaseManager,
):
    async def elsewhere() -> None:
        await db.ping()

    await db.ping()
    with pytest.raises(UsageError, match="another event loop"):
        await asyncio.to_thread(lambda: asyncio.run(elsewhere()))
    await db.ping()
