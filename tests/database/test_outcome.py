"""What became of a transaction whose connection was lost at its COMMIT, or whose COMMIT is not answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from functools import partial
from typing import Any

import pytest
from sqlalchemy import text

from tests.database.conftest import MakeDb
from tests.database.ledger import (
    PID,
    Observer,
    assert_nothing_is_held,
    insert,
    pid_of,
)
from tests.harness.proxy import Proxy
from timber.database.manager import AsyncDatabaseManager
from timber.database.outcome import (
    outcome_of,
)
from timber.database.statements import Statement
from timber.database.unit_of_work import UnitOfWork
from timber.errors import (
    CommitOutcomeUnknownError,
    UnavailableError,
)

Hook = Callable[[UnitOfWork], Awaitable[None]]

ONE_SECOND_AT_COMMIT = """
CREATE OR REPLACE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_sleep(new.note::float8); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER dawdle AFTER INSERT ON entry DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (new.note ~ '^[0-9.]+$') EXECUTE FUNCTION dawdle();
"""


@pytest.fixture
async def slow_commits(observer: Observer) -> Any:
    """A row whose note is a number takes so many seconds to commit."""
    await observer.connection.execute(ONE_SECOND_AT_COMMIT)
    yield
    await observer.connection.execute("DROP TRIGGER dawdle ON entry; DROP FUNCTION dawdle")


def before_commit(db: AsyncDatabaseManager, action: Callable[[], object]) -> None:
    async def hook(unit: UnitOfWork) -> None:
        db.moments.before_commit.clear()
        action()

    db.moments.before_commit.append(hook)


@pytest.mark.parametrize("with_session", [False, True])
@pytest.mark.parametrize("count", [0, 1, 5, 17])
async def test_a_commit_whose_answer_is_lost_has_committed(
    make_db: MakeDb, proxy: Proxy, observer: Observer, count: int, with_session: bool
):
    db = make_db(proxy.url)
    seen: list[str] = []
    before_commit(db, lambda: None if with_session else proxy.cut_after(count, "to_client"))
    async with db.unit_of_work() as uow:
        await insert(db, "x")
        uow.on_commit(lambda: seen.append("commit"))
        uow.on_rollback(lambda: seen.append("rollback"))
        if with_session:
            await uow.session.execute(text("SELECT 1"))
            proxy.cut_after(count, "to_client")
    assert uow.outcome == "committed"
    assert await observer.notes() == ["x"]
    assert seen == ["commit"]
    assert_nothing_is_held(db)


async def test_what_became_of_a_commit_is_not_asked_behind_all_who_wait(
    make_db: MakeDb, proxy: Proxy, observer: Observer
):
    """After an outage hundreds may wait for a connection, and there is only so much time to find out."""
    db = make_db(proxy.url, pool_size=2, max_overflow=0, pool_timeout=30, resolve_timeout=5)
    go_on = asyncio.Event()

    async def hold() -> None:
        async with db.unit_of_work():
            await pid_of(db)
            await go_on.wait()

    holders: list[asyncio.Task[None]] = []

    def crowd() -> None:
        proxy.cut_after(0, "to_client")
        holders.extend(asyncio.create_task(hold(), context=Context()) for _ in range(3))

    before_commit(db, crowd)
    async with db.unit_of_work() as uow:
        await insert(db, "x")
    assert uow.outcome == "committed"
    go_on.set()
    await asyncio.gather(*holders)


@pytest.mark.parametrize("way", ["in a block", "in a WITH that returns nothing", "by the session"])
async def test_a_write_that_names_no_row_is_looked_for_too(
    make_db: MakeDb, proxy: Proxy, observer: Observer, way: str
):
    """Taken for a mere read it would be called rolled back when its COMMIT is lost, and done again."""
    db = make_db(proxy.url)
    insertion = "INSERT INTO entry (id, note) VALUES (gen_random_uuid(), 'x')"
    bodies = 0

    async def body(unit: UnitOfWork) -> None:
        nonlocal bodies
        bodies += 1
        if way == "in a block":
            await db.execute(
                Statement(f"DO 'BEGIN {insertion.replace(chr(39), chr(39) * 2)}; END'", label="x")
            )
        elif way == "by the session":
            await unit.session.execute(text(insertion))
        else:
            sql = f"WITH new AS ({insertion}) UPDATE entry SET amount = 1 WHERE false RETURNING id"
            assert await db.write(Statement(sql, label="x", returning=True)) == []
        driver = unit.transaction.link.driver  # type: ignore[union-attr]
        if bodies == 1:
            _cut_at_commit(proxy, driver)

    await db.run(body)
    assert bodies == 1
    assert await observer.notes() == ["x"]


def _cut_at_commit(proxy: Proxy, driver: Any) -> None:
    transport = driver._transport
    write = transport.write

    def watch(data: bytes) -> None:
        if b"COMMIT" in bytes(data):
            proxy.cut_after(0, "to_client")
        write(data)

    transport.write = watch


@pytest.mark.parametrize("count", [0, 1, 4, 10])
async def test_a_commit_that_did_not_arrive_is_rolled_back(
    make_db: MakeDb, proxy: Proxy, observer: Observer, count: int
):
    db = make_db(proxy.url)
    seen: list[str] = []
    before_commit(db, partial(proxy.cut_after, count, "to_server"))
    with pytest.raises(UnavailableError) as caught:
        async with db.unit_of_work() as uow:
            await insert(db, "x")
            uow.on_commit(lambda: seen.append("commit"))
            uow.on_rollback(lambda: seen.append("rollback"))
    assert uow.outcome == outcome_of(caught.value) == "rolled_back"
    assert await observer.count() == 0
    assert seen == ["rollback"]
    assert_nothing_is_held(db)


async def test_a_commit_that_goes_on_is_asked_for_until_it_is_done(
    make_db: MakeDb, proxy: Proxy, observer: Observer, slow_commits: None
):
    """The server works on the COMMIT a moment longer than the connection lives."""
    db = make_db(proxy.url)
    before_commit(db, lambda: asyncio.get_running_loop().call_later(0.02, proxy.cut_all))
    async with db.unit_of_work() as uow:
        await insert(db, "0.15")
    assert uow.outcome == "committed"
    assert await observer.count() == 1


async def test_a_commit_that_does_not_come_to_an_end_is_ended(
    make_db: MakeDb, proxy: Proxy, observer: Observer, slow_commits: None
):
    db = make_db(proxy.url)
    before_commit(db, lambda: asyncio.get_running_loop().call_later(0.02, proxy.cut_all))
    with pytest.raises(UnavailableError):
        async with asyncio.timeout(5), db.unit_of_work() as uow:
            await insert(db, "30")
    assert uow.outcome == "rolled_back"
    assert await observer.count() == 0


async def test_a_commit_that_is_not_answered_in_time_is_unknown_and_never_repeated(
    make_db: MakeDb, proxy: Proxy, observer: Observer
):
    db = make_db(proxy.url, commit_timeout=0.1)
    seen: list[str] = []
    bodies = 0

    async def note(moment: str, unit: UnitOfWork) -> None:
        seen.append(moment)

    db.moments.after_commit.append(partial(note, "after commit"))
    db.moments.after_rollback.append(partial(note, "after rollback"))
    await db.ping()
    before_commit(db, proxy.freeze)

    async def body(unit: UnitOfWork) -> None:
        nonlocal bodies
        bodies += 1
        unit.on_commit(lambda: seen.append("on_commit"))
        unit.on_rollback(lambda: seen.append("on_rollback"))
        await insert(db, "x")

    with pytest.raises(CommitOutcomeUnknownError) as caught:
        async with asyncio.timeout(1):
            await db.run(body)
    assert outcome_of(caught.value) == "unknown"
    assert bodies == 1
    assert seen == ["after commit"], "caches are cleared as if it had committed"
    assert_nothing_is_held(db)
    proxy.heal()


async def test_a_lost_commit_that_nobody_can_be_asked_about_is_unknown(
    make_db: MakeDb, proxy: Proxy, observer: Observer
):
    db = make_db(proxy.url, resolve_timeout=0.2)

    async def cut(unit: UnitOfWork) -> None:
        await proxy.refuse()
        proxy.cut_after(0, "to_client")

    db.moments.before_commit.append(cut)
    with pytest.raises(CommitOutcomeUnknownError):
        async with asyncio.timeout(2), db.unit_of_work() as uow:
            await insert(db, "x")
    assert uow.outcome == "unknown"
    assert_nothing_is_held(db)


async def test_a_server_that_comes_back_in_time_is_asked(
    make_db: MakeDb, proxy: Proxy, observer: Observer
):
    db = make_db(proxy.url)

    async def cut(unit: UnitOfWork) -> None:
        await proxy.refuse()
        proxy.cut_after(0, "to_client")
        asyncio.get_running_loop().call_later(
            0.3, lambda: tasks.append(asyncio.ensure_future(proxy.accept()))
        )

    tasks: list[Any] = []
    db.moments.before_commit.append(cut)
    async with db.unit_of_work() as uow:
        await insert(db, "x")
    assert uow.outcome == "committed"
    await asyncio.gather(*tasks)


@pytest.mark.parametrize("lone", [False, True])
async def test_waiting_for_a_connection_to_ask_on_is_no_answer(
    make_db: MakeDb, proxy: Proxy, observer: Observer, lone: bool
):
    """Somebody else has taken the only connection, for longer than one waits for one."""
    db = make_db(proxy.url, pool_size=1, max_overflow=0, pool_timeout=0.1)
    await db.ping()

    now = asyncio.Event()

    async def hold() -> float:
        await now.wait()
        async with db.unit_of_work():
            await db.fetch(PID)
            await asyncio.sleep(0.3)
        return asyncio.get_running_loop().time()

    def cut() -> None:
        now.set()
        proxy.cut_after(0, "to_client")

    holder = asyncio.create_task(hold())
    await asyncio.sleep(0)
    if lone:
        cut()  # the lone write takes the connection first: it does not wait
        await insert(db, "x")
    else:
        before_commit(db, cut)
        async with db.unit_of_work() as uow:
            await insert(db, "x")
        assert uow.outcome == "committed"
    assert await holder <= asyncio.get_running_loop().time()
    assert holder.done()
    assert await observer.notes() == ["x"]
    assert_nothing_is_held(db)


async def test_a_lone_write_that_hangs_when_cancelled_is_unknown(
    make_db: MakeDb, proxy: Proxy, observer: Observer
):
    db = make_db(proxy.url, commit_timeout=0.1)
    await insert(db, "warm")
    proxy.freeze()
    task = asyncio.create_task(insert(db, "x"))
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        async with asyncio.timeout(1):
            await task
    assert outcome_of(caught.value) == "unknown"
    assert_nothing_is_held(db)
    proxy.heal()


async def test_a_cancelled_lone_write_finishes_if_it_does_so_in_a_moment(
    db: AsyncDatabaseManager, observer: Observer
):
    task, unblock = await _blocked_insert(db, observer)
    task.cancel()
    await asyncio.sleep(0.01)
    assert not task.done()
    await unblock()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert outcome_of(caught.value) == "committed"
    assert await observer.notes() == ["x"]


async def test_a_cancelled_lone_write_that_goes_on_is_cancelled_on_the_server(
    db: AsyncDatabaseManager, observer: Observer
):
    pid = await pid_of(db)
    task, unblock = await _blocked_insert(db, observer)
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        async with asyncio.timeout(1):
            await task
    assert outcome_of(caught.value) == "rolled_back"
    assert await pid_of(db) == pid, "its connection is still good"
    await unblock()
    assert await observer.notes() == []


async def _blocked_insert(
    db: AsyncDatabaseManager, observer: Observer
) -> tuple[asyncio.Task[Any], Callable[[], Awaitable[None]]]:
    blocker = observer.connection.transaction()
    await blocker.start()
    await observer.connection.execute("LOCK TABLE entry")
    task = asyncio.create_task(insert(db, "x"))
    while not await observer.value("SELECT exists (SELECT FROM pg_locks WHERE NOT granted)"):
        await asyncio.sleep(0.005)
    return task, blocker.rollback


@pytest.mark.parametrize("way", ["refused", "cancelled"])
async def test_a_lone_write_that_never_had_a_connection_has_not_happened(
    make_db: MakeDb, proxy: Proxy, way: str
):
    db = make_db(proxy.url)
    await (proxy.refuse() if way == "refused" else asyncio.sleep(0))
    proxy.freeze()
    with pytest.raises((UnavailableError, TimeoutError)) as caught:
        async with asyncio.timeout(0.1):
            await insert(db)
    assert outcome_of(caught.value) == "rolled_back"
    proxy.heal()
