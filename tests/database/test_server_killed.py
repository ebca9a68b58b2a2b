"""kill -9 of the server: what it had on disk is there, what it had not is lost, and Timber says which."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import text

from tests.database.conftest import QUICK
from tests.database.ledger import (
    INSERT,
    INSERT_SILENTLY,
    KEYS,
    Observer,
    assert_nothing_is_held,
    insert,
    pid_of,
)
from tests.database.own_server import OwnServer
from tests.harness.proxy import Proxy
from timber.database.manager import AsyncDatabaseManager
from timber.database.outcome import _never_was, outcome_of
from timber.database.unit_of_work import UnitOfWork
from timber.errors import CommitOutcomeUnknownError, UnavailableError
from timber.settings import TimberSettings

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="finds the server's processes in /proc"
)


async def _connect(server: OwnServer) -> Observer:
    return Observer(await asyncpg.connect(server.driver_url))


@pytest.fixture
async def its_proxy(own_server: OwnServer) -> AsyncGenerator[Proxy]:
    async with Proxy(own_server.url) as proxy:
        yield proxy


@pytest.fixture
async def its_db(own_server: OwnServer, its_proxy: Proxy) -> AsyncGenerator[AsyncDatabaseManager]:
    observer = await _connect(own_server)
    await observer.connection.execute("TRUNCATE entry; CHECKPOINT")
    await observer.connection.close()
    db = AsyncDatabaseManager(its_proxy.url, settings=TimberSettings(**QUICK))
    yield db
    await db.dispose()


async def _kill_and_restart(server: OwnServer) -> None:
    server.kill()
    await asyncio.to_thread(server.restart)


async def _use_ids(server: OwnServer, count: int) -> None:
    """Have other transactions commit under the next ids."""
    observer = await _connect(server)
    for _ in range(count):
        await observer.connection.execute("SELECT pg_current_xact_id()")
    await observer.connection.close()


@pytest.mark.parametrize("way", ["a row to look for", "no row", "no row returned"])
async def test_a_lost_transaction_is_not_called_committed_when_its_id_is_used_again(
    own_server: OwnServer, its_db: AsyncDatabaseManager, tmp_path: Path, way: str
):
    db = its_db
    xids: list[int] = []

    async def crash(unit: UnitOfWork) -> None:
        driver = unit.transaction.link.driver  # type: ignore[union-attr]
        xids.append(int(await driver.fetchval("SELECT pg_current_xact_id()::text")))
        await _kill_and_restart(own_server)
        await _use_ids(own_server, 20)

    db.moments.before_commit.append(crash)
    with pytest.raises((CommitOutcomeUnknownError, UnavailableError)) as caught:
        async with db.unit_of_work() as uow:
            if way == "a row to look for":
                await insert(db, "lost")
            elif way == "no row":
                await db.write(INSERT, (uuid4(), "lost"))
            else:
                await db.execute(INSERT_SILENTLY, (uuid4(), "lost"))
    observer = await _connect(own_server)
    status = await observer.value("SELECT pg_xact_status($1::text::xid8)", str(xids[0]))
    assert status == "committed", "the server calls it so: the id was used again"
    assert await observer.count() == 0
    assert uow.outcome == outcome_of(caught.value) != "committed"
    assert_nothing_is_held(db)
    await observer.connection.close()


@pytest.mark.parametrize("reused", [True, False])
async def test_a_transaction_that_a_crash_took_is_known_to_be_rolled_back(
    own_server: OwnServer, its_db: AsyncDatabaseManager, its_proxy: Proxy, reused: bool
):
    """Its id was not known to the server that came back, whoever has it since."""
    # However long a busy machine takes to start it again.
    settings = TimberSettings(**QUICK, commit_timeout=40, resolve_timeout=40)
    db = AsyncDatabaseManager(its_proxy.url, settings=settings)

    async def crash(_unit: UnitOfWork) -> None:
        its_proxy.freeze_after(0, "to_server")  # the COMMIT never arrives
        tasks.append(asyncio.create_task(come_back()))

    async def come_back() -> None:
        await _kill_and_restart(own_server)
        if reused:
            await _use_ids(own_server, 20)
        its_proxy.cut_all()
        its_proxy.heal()

    tasks: list[asyncio.Task[None]] = []
    db.moments.before_commit.append(crash)
    with pytest.raises(UnavailableError):
        async with db.unit_of_work() as uow:
            await insert(db, "lost")
    await asyncio.gather(*tasks)
    assert uow.outcome == "rolled_back"
    await db.dispose()


async def test_what_had_committed_is_not_taken_for_lost_by_a_checkpoint(
    own_server: OwnServer, its_db: AsyncDatabaseManager
):
    db = its_db
    observer = await _connect(own_server)
    sent = asyncio.get_running_loop().time()
    xid = int(await observer.value("SELECT pg_current_xact_id()::text"))
    await observer.connection.execute("CHECKPOINT")
    await _use_ids(own_server, 5)
    for moment in (sent, sent - 3600):
        assert not await _never_was(observer.connection, xid, moment)
    await observer.connection.close()
    assert_nothing_is_held(db)


async def test_statistics_that_somebody_resets_are_not_taken_for_a_crash(
    own_server: OwnServer, its_db: AsyncDatabaseManager
):
    observer = await _connect(own_server)
    await observer.connection.execute("CHECKPOINT")
    await asyncio.sleep(1.1)  # checkpoints are dated to the second
    sent = asyncio.get_running_loop().time()
    xid = int(await observer.value("SELECT pg_current_xact_id()::text"))
    for what in ("wal", "bgwriter", "archiver"):
        await observer.connection.execute("SELECT pg_stat_reset_shared($1)", what)
    assert not await _never_was(observer.connection, xid, sent)
    await _kill_and_restart(own_server)
    observer = await _connect(own_server)
    assert await _never_was(observer.connection, xid + 1, sent), "that one was a crash"
    await observer.connection.close()


async def test_what_run_lost_in_a_crash_is_not_doubled_and_not_called_committed(
    own_server: OwnServer, its_db: AsyncDatabaseManager
):
    db = its_db
    crashes = 0

    async def crash(unit: UnitOfWork) -> None:
        nonlocal crashes
        crashes += 1
        if crashes == 1:
            await _kill_and_restart(own_server)

    db.moments.before_commit.append(crash)
    key = None
    with suppress(CommitOutcomeUnknownError):
        key = await db.run(lambda _: insert(db, "once"))
    observer = await _connect(own_server)
    assert await observer.count() == (key is not None)
    await observer.connection.close()


async def test_what_had_committed_before_the_crash_is_found_by_its_row(
    own_server: OwnServer, its_db: AsyncDatabaseManager, its_proxy: Proxy
):
    db = its_db

    async def cut(unit: UnitOfWork) -> None:
        await its_proxy.refuse()
        its_proxy.cut_after(0, "to_client")
        tasks.append(asyncio.create_task(crash_once_it_is_there()))

    async def crash_once_it_is_there() -> None:
        observer = await _connect(own_server)
        while not await observer.count():
            await asyncio.sleep(0.002)
        observer.connection.terminate()
        await _kill_and_restart(own_server)
        await its_proxy.accept()

    tasks: list[asyncio.Task[None]] = []
    db.moments.before_commit.append(cut)
    async with db.unit_of_work() as uow:
        key = await insert(db, "kept")
    await asyncio.gather(*tasks)
    assert uow.outcome == "committed"
    db.moments.before_commit.clear()
    assert [row["id"] for row in await db.fetch(KEYS)] == [key]


async def test_a_lone_insert_is_repeated_when_the_crash_took_it(
    own_server: OwnServer, its_db: AsyncDatabaseManager, its_proxy: Proxy
):
    db = its_db
    await db.ping()
    blocker = await _connect(own_server)
    await blocker.connection.execute("BEGIN; LOCK TABLE entry")
    task = asyncio.create_task(insert(db, "again"))
    await asyncio.sleep(0.05)
    blocker.connection.terminate()
    await its_proxy.refuse()
    await _kill_and_restart(own_server)
    await its_proxy.accept()
    key = await task
    assert [row["id"] for row in await db.fetch(KEYS)] == [key]


async def test_everybody_goes_on_after_a_crash(own_server: OwnServer, its_db: AsyncDatabaseManager):
    db = its_db
    await asyncio.gather(*(pid_of(db) for _ in range(5)))
    await insert(db, "before")
    await _kill_and_restart(own_server)
    assert len(await db.fetch(KEYS)) == 1
    await asyncio.gather(*(insert(db, "after") for _ in range(5)))
    async with db.unit_of_work():
        assert len(await db.fetch(KEYS)) == 6
    async with db.get_session() as session:
        assert len((await session.execute(text(KEYS.sql))).all()) == 6
    assert_nothing_is_held(db)
