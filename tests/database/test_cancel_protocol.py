"""A cancelled statement: its connection is used again where the server confirms, and no other statement is hit."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Callable
from typing import Any, Protocol

import asyncpg
import pytest
from sqlalchemy import event, make_url, text

from tests.database.conftest import MakeDb
from tests.database.ledger import SLEEP, Observer, assert_nothing_is_held, insert, pid_of
from tests.harness.proxy import Proxy
from timber.database import driver
from timber.database.driver import Driver
from timber.database.manager import AsyncDatabaseManager
from timber.database.statements import Statement
from timber.errors import QueryTimeoutError

GRACE_TO_SETTLE = 2.0


async def cancelled_after(seconds: float, work: Any) -> None:
    task = asyncio.ensure_future(work)
    await asyncio.sleep(seconds)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def connections_made(db: AsyncDatabaseManager) -> Callable[[], int]:
    made: list[object] = []
    event.listen(db.engine.sync_engine.pool, "connect", lambda *args: made.append(args))
    return lambda: len(made)


def test_the_private_methods_of_the_driver_are_what_they_were():
    connection: Any = asyncpg.Connection
    assert list(inspect.signature(connection._cancel).parameters) == [
        "self", "waiter", "cancel_waiter",
    ]  # fmt: skip
    assert "self._cancel(waiter, cancel_waiter)" in inspect.getsource(
        connection._cancel_current_command
    )
    assert "(query, record_class, ignore_custom_codec)" in inspect.getsource(
        connection._get_statement
    )
    assert list(inspect.signature(connection._process_log_message).parameters) == [
        "self", "fields", "last_query",
    ]  # fmt: skip
    assert {"_transport", "_stmt_cache"} <= set(connection.__slots__)
    assert {"_is_cancelling", "get_record_class"} <= set(dir(asyncpg.protocol.Protocol))
    cache: Any = asyncpg.connection
    assert list(inspect.signature(cache._StatementCache.has).parameters) == ["self", "query"]


async def test_every_connection_is_of_that_kind(db: AsyncDatabaseManager):
    link = await db._core.connections.acquire()
    assert type(link.driver) is Driver
    db._core.connections.release(link)


async def test_a_statement_that_soon_ends_by_itself_is_not_asked_to(make_db: MakeDb, proxy: Proxy):
    db = make_db(proxy.url)
    pid = await pid_of(db)
    accepted = proxy.accepted
    for _ in range(5):
        await cancelled_after(0.002, db.fetch(SLEEP, (0.01,)))
    assert proxy.accepted == accepted, "no cancel request"
    assert await pid_of(db) == pid


@pytest.mark.parametrize("way", ["read", "unit of work", "session"])
async def test_a_long_statement_ends_on_the_server_and_its_connection_is_kept(
    db: AsyncDatabaseManager, observer: Observer, way: str
):
    async def work() -> None:
        if way == "read":
            await db.fetch(SLEEP, (60.0,))
            return
        async with db.unit_of_work() as uow:
            await insert(db, "x")
            if way == "session":
                await uow.session.execute(text("SELECT pg_sleep(60)"))
            else:
                await db.fetch(SLEEP, (60.0,))

    pid = await pid_of(db)
    made = connections_made(db)
    for _ in range(3):
        async with asyncio.timeout(GRACE_TO_SETTLE):
            await cancelled_after(0.05, work())
        assert_nothing_is_held(db)
        await observer.wait_until_idle(db.settings.application_name)
    assert await pid_of(db) == pid
    assert made() == 0
    assert await observer.notes() == []


@pytest.fixture
async def late_requests(ledger_url: str) -> AsyncGenerator[Proxy]:
    """A way to the server on which everything takes 0.12 s."""
    async with Proxy(ledger_url) as proxy:
        proxy.delay(0.12)
        yield proxy


class HasUrl(Protocol):
    @property
    def url(self) -> str: ...


async def send_requests_by(proxy: HasUrl, db: AsyncDatabaseManager) -> None:
    """Let the cancel requests of the only connection go another way than its statements."""
    connections = db._core.connections
    link = await connections.acquire()
    url = make_url(proxy.url)
    link.driver._addr = (url.host, url.port)
    connections.release(link)


async def cancel_and_go_on(make_db: MakeDb, late_requests: Proxy) -> None:
    db = make_db(pool_size=1, max_overflow=0)
    pid = await pid_of(db)
    await send_requests_by(late_requests, db)
    for sleep in (0.07, 0.1, 0.16):
        await cancelled_after(0.01, db.fetch(SLEEP, (sleep,)))
        await db.fetch(SLEEP, (0.15,))
    assert await pid_of(db) == pid


async def test_a_request_that_is_late_does_not_hit_the_next_statement(
    make_db: MakeDb, late_requests: Proxy
):
    await cancel_and_go_on(make_db, late_requests)


async def test_the_test_above_sees_a_driver_that_does_not_wait_for_the_request(
    make_db: MakeDb, late_requests: Proxy, monkeypatch: pytest.MonkeyPatch
):
    underway: set[asyncio.Task[None]] = set()
    right = driver.request_cancel

    async def forgetful(connection: Any) -> None:
        underway.add(asyncio.create_task(right(connection)))

    monkeypatch.setattr(driver, "request_cancel", forgetful)
    with pytest.raises(QueryTimeoutError):
        await cancel_and_go_on(make_db, late_requests)
    await asyncio.wait(underway)


async def test_a_connection_is_closed_when_its_request_cannot_be_delivered(
    make_db: MakeDb, proxy: Proxy
):
    db = make_db(proxy.url)
    pid = await pid_of(db)
    await proxy.refuse()
    await cancelled_after(0.02, db.fetch(SLEEP, (1.0,)))
    await proxy.accept()
    assert await pid_of(db) != pid
    assert_nothing_is_held(db)


async def test_a_write_that_is_interrupted_waits_for_its_request_too(
    make_db: MakeDb, late_requests: Proxy
):
    db = make_db(pool_size=1, max_overflow=0)
    pid = await pid_of(db)
    await send_requests_by(late_requests, db)
    for sleep in (0.07, 0.1, 0.16):
        write = Statement(f"DO $$ BEGIN PERFORM pg_sleep({sleep}); END $$", label="write")
        await cancelled_after(0.01, db.execute(write))
        await db.fetch(SLEEP, (0.15,))
    assert await pid_of(db) == pid


async def test_a_storm_of_cancels_costs_next_to_no_connections_and_hits_nobody_else(
    make_db: MakeDb, observer: Observer
):
    db = make_db(pool_size=5, max_overflow=0, pool_timeout=30)
    await asyncio.gather(*(db.fetch(SLEEP, (0.01,)) for _ in range(5)))
    made = connections_made(db)

    async def victim(number: int) -> int:
        try:
            async with asyncio.timeout(0.01 + number % 7 * 0.01):
                async with db.unit_of_work():
                    await insert(db, "victim")
                    await db.fetch(SLEEP, (0.06,))
        except TimeoutError:
            return 1
        return 0

    async def bystander() -> int:
        async with db.unit_of_work():
            await insert(db, "bystander")
            await db.fetch(SLEEP, (0.01,))
        return 0

    cancels = sum(await asyncio.gather(*(victim(n) if n % 2 else bystander() for n in range(200))))
    assert (await observer.notes()).count("bystander") == 100
    assert cancels > 50
    assert made() <= cancels * 0.05
    assert_nothing_is_held(db)
