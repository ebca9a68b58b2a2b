"""A deadline, and a server that does not answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import Context

import pytest
from sqlalchemy import text

from tests.database.conftest import MakeDb
from tests.database.ledger import (
    INSERT,
    SLEEP,
    Entry,
    Observer,
    assert_nothing_is_held,
    insert,
    messages,
    pid_of,
)
from tests.harness.proxy import Direction, Proxy
from timber.context import deadline, remaining
from timber.database.manager import AsyncDatabaseManager
from timber.database.outcome import outcome_of
from timber.database.statements import Statement
from timber.database.unit_of_work import UnitOfWork
from timber.errors import QueryTimeoutError

OVERRUN = 0.25
SHOW = Statement("SHOW statement_timeout", label="show")


def before_commit(db: AsyncDatabaseManager, action: Callable[[], object]) -> None:
    async def hook(unit: UnitOfWork) -> None:
        db.moments.before_commit.clear()
        action()

    db.moments.before_commit.append(hook)


@asynccontextmanager
async def timed(seconds: float) -> AsyncGenerator[list[QueryTimeoutError]]:
    """A deadline that passes, and not more than 0.25 s late."""
    caught: list[QueryTimeoutError] = []
    started = time.monotonic()
    with pytest.raises(QueryTimeoutError) as raised:
        async with deadline(seconds):
            yield caught
    overrun = time.monotonic() - started - seconds
    assert overrun < OVERRUN, overrun
    caught.append(raised.value)


async def everything_settles(db: AsyncDatabaseManager) -> None:
    async with asyncio.timeout(3):
        while db._core.connections.checked_out:
            await asyncio.sleep(0.01)
    assert_nothing_is_held(db)


# ------------------------------------------------------------------------------------------------------ a frozen server


async def read(db: AsyncDatabaseManager, freeze: Callable[[], None]) -> None:
    freeze()
    await db.fetch(SLEEP, (0.0,))


async def lone_write(db: AsyncDatabaseManager, freeze: Callable[[], None]) -> None:
    freeze()
    await insert(db, "x")


async def second_statement(db: AsyncDatabaseManager, freeze: Callable[[], None]) -> None:
    async with db.unit_of_work():
        await insert(db, "x")
        freeze()
        await insert(db, "y")


async def nested(db: AsyncDatabaseManager, freeze: Callable[[], None]) -> None:
    async with db.unit_of_work() as uow:
        await insert(db, "x")
        async with uow.savepoint(), uow.savepoint(), uow.savepoint():
            await insert(db, "y")
            freeze()
            await insert(db, "z")


async def session(db: AsyncDatabaseManager, freeze: Callable[[], None]) -> None:
    async with db.unit_of_work() as uow:
        await insert(db, "x")
        freeze()
        await uow.session.execute(text("SELECT 1"))


async def flush(db: AsyncDatabaseManager, freeze: Callable[[], None]) -> None:
    async with db.unit_of_work() as uow, uow.savepoint():
        uow.session.add(Entry(note="x"))
        await uow.session.execute(text("SELECT 1"))
        freeze()
        uow.session.add(Entry(note="y"))
        await uow.session.flush()


async def session_of_its_own(db: AsyncDatabaseManager, freeze: Callable[[], None]) -> None:
    async with db.get_session() as own:
        await own.execute(text("SELECT 1"))
        freeze()
        await own.execute(text("SELECT 1"))


async def stream(db: AsyncDatabaseManager, freeze: Callable[[], None]) -> None:
    numbers = Statement("SELECT generate_series(1, 100)", label="numbers")
    async with db.cursor(numbers, batch=10) as batches:
        async for _ in batches:
            freeze()


async def commit(db: AsyncDatabaseManager, freeze: Callable[[], None]) -> None:
    before_commit(db, freeze)
    async with db.unit_of_work():
        await insert(db, "x")


async def copy(db: AsyncDatabaseManager, freeze: Callable[[], None]) -> None:
    freeze()
    await db.copy("entry", ["note"], [("x",)] * 10)


async def connecting(db: AsyncDatabaseManager, freeze: Callable[[], None]) -> None:
    await db.dispose()
    freeze()
    await db.ping()


async def repeated(db: AsyncDatabaseManager, freeze: Callable[[], None]) -> None:
    async def body(unit: UnitOfWork) -> None:
        await insert(db, "x")
        freeze()
        await insert(db, "y")

    await db.run(body)


async def tidied_up(db: AsyncDatabaseManager, freeze: Callable[[], None]) -> None:
    """Whoever cleans up after the deadline is late as well."""
    try:
        await read(db, freeze)
    finally:
        await db.fetch(SLEEP, (0.0,))


Work = Callable[[AsyncDatabaseManager, Callable[[], None]], Awaitable[None]]
WORKS: dict[Work, str | None] = {
    read: None, lone_write: "unknown", second_statement: "rolled_back", nested: "rolled_back",
    session: "rolled_back", flush: "rolled_back", session_of_its_own: None, stream: None,
    commit: "unknown", copy: "unknown", connecting: None, repeated: "rolled_back", tidied_up: None,
}  # fmt: skip


@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.__name__)
async def test_a_frozen_server_holds_nobody_beyond_the_deadline_and_keeps_no_connection(
    make_db: MakeDb, proxy: Proxy, work: Work
):
    db = make_db(proxy.url, pool_size=2, max_overflow=0, rollback_timeout=0.4)
    await insert(db, "warm")
    async with timed(0.3) as caught:
        await work(db, proxy.freeze)
    assert outcome_of(caught[0]) == WORKS[work]
    proxy.heal()
    await everything_settles(db)
    await db.ping()


@pytest.mark.parametrize("direction", ["to_client", "to_server"])
async def test_a_server_that_thaws_gets_its_connection_back(
    make_db: MakeDb, proxy: Proxy, direction: Direction
):
    db = make_db(proxy.url)
    pid = await pid_of(db)
    proxy.freeze_after(0, direction)
    async with timed(0.1):
        await db.fetch(SLEEP, (0.0,))
    assert db._core.connections.checked_out == 1, "it keeps its place until it is settled"
    proxy.heal()
    await everything_settles(db)
    assert await pid_of(db) == pid


# ------------------------------------------------------------------------------------------------- a server that answers


async def test_a_statement_that_is_too_slow_is_cancelled_and_its_connection_kept(
    db: AsyncDatabaseManager, observer: Observer
):
    pid = await pid_of(db)
    async with timed(0.1):
        await db.fetch(SLEEP, (60.0,))
    async with timed(0.1) as caught, db.unit_of_work():
        await insert(db, "x")
        await db.fetch(SLEEP, (60.0,))
    assert outcome_of(caught[0]) == "rolled_back"
    await everything_settles(db)
    assert await pid_of(db) == pid
    assert await observer.notes() == []


async def test_a_blocked_lone_write_is_known_to_be_rolled_back(
    db: AsyncDatabaseManager, observer: Observer
):
    pid = await pid_of(db)
    async with observer.connection.transaction():
        await observer.connection.execute("LOCK TABLE entry")
        async with timed(0.1) as caught:
            await insert(db, "x")
    assert outcome_of(caught[0]) == "rolled_back"
    assert await pid_of(db) == pid
    assert await observer.notes() == []


async def test_a_part_under_a_deadline_is_undone_and_the_rest_goes_on(
    db: AsyncDatabaseManager, observer: Observer
):
    async with db.unit_of_work() as uow:
        await insert(db, "before")
        async with timed(0.1), uow.savepoint():
            await insert(db, "inside")
            await db.fetch(SLEEP, (60.0,))
        await insert(db, "after")
    assert await observer.notes() == ["after", "before"]


async def test_the_server_is_told_of_a_deadline_in_the_message_that_begins(
    db: AsyncDatabaseManager,
):
    sent = await messages(db)
    async with deadline(2), db.unit_of_work():
        shown = (await db.fetch(SHOW))[0][0]
    assert shown == "2s" or 1900 <= int(shown.removesuffix("ms")) <= 2000
    assert len([text for text in await sent.texts() if text.startswith("BEGIN")]) == 1
    async with deadline(2), db.unit_of_work(statement_timeout=0.5):
        assert (await db.fetch(SHOW))[0][0] == "500ms"
    async with deadline(90), db.unit_of_work():
        assert (await db.fetch(SHOW))[0][0] == "30s"


async def test_nothing_new_begins_after_a_deadline(db: AsyncDatabaseManager, observer: Observer):
    ran: list[str] = []
    async with timed(0.05):
        async with db.unit_of_work():
            await insert(db, "x")
            time.sleep(0.06)
            for begin in (db.fetch(SLEEP, (0.0,)), db.write(INSERT, (None, "y")), _unit(db, ran)):
                with pytest.raises(QueryTimeoutError, match="deadline is over"):
                    await begin
    assert not ran
    assert await observer.notes() == []


async def _unit(db: AsyncDatabaseManager, ran: list[str]) -> None:
    async with db.unit_of_work(independent=True):
        await db.ping()
        ran.append("ran")


async def test_what_waits_for_a_commit_runs_though_the_deadline_is_over(
    db: AsyncDatabaseManager, observer: Observer
):
    done = asyncio.Event()

    async def callback() -> None:
        await db.fetch(SLEEP, (0.8,))
        await insert(db, "told")
        done.set()

    async with timed(0.4) as caught, db.unit_of_work() as uow:
        await insert(db, "x")
        uow.on_commit(callback)
    assert outcome_of(caught[0]) == "committed"
    async with asyncio.timeout(3):
        await done.wait()
    assert await observer.notes() == ["told", "x"]


async def test_the_inner_of_two_deadlines_cannot_be_later(db: AsyncDatabaseManager):
    async with timed(0.1):
        async with deadline(60):
            await db.fetch(SLEEP, (60.0,))


async def test_a_deadline_that_is_lifted_ends_nothing_and_an_outer_one_still_does():
    async with deadline(0.02) as limit:
        limit.lift()
        await asyncio.sleep(0.05)
        assert remaining(7.0) == 7.0
    with pytest.raises(QueryTimeoutError, match="deadline"):
        async with deadline(0.02), deadline(5) as inner:
            inner.lift()
            assert remaining(7.0) <= 0.02
            await asyncio.sleep(5)
    with pytest.raises(TimeoutError):
        async with deadline(0.01) as limit:
            limit.lift()
            await asyncio.sleep(0.02)
            raise TimeoutError  # somebody else's


async def test_the_wait_for_a_connection_is_bounded(make_db: MakeDb):
    db = make_db(pool_size=1, max_overflow=0)
    async with db.unit_of_work():
        await db.fetch(SLEEP, (0.0,))

        async def late() -> None:
            async with timed(0.1):
                await db.fetch(SLEEP, (0.0,))

        await asyncio.create_task(late(), context=Context())
