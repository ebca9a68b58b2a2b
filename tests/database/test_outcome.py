"""What became of a transaction whose connection was lost at its COMMIT, or whose COMMIT is not answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import text

from tests.database.conftest import MakeDb
from tests.database.ledger import (
    FIND,
    PID,
    SLEEP,
    CallerError,
    Observer,
    assert_nothing_is_held,
    by_key,
    insert,
)
from tests.harness.proxy import Direction, Proxy
from timber.context import deadline
from timber.database.manager import AsyncDatabaseManager
from timber.database.outcome import (
    Backend,
    Verdict,
    note_outcome,
    outcome_of,
    resolve_transaction,
    wait_until_gone,
)
from timber.database.statements import Statement
from timber.database.unit_of_work import UnitOfWork
from timber.errors import (
    CommitOutcomeUnknownError,
    ConflictError,
    QueryTimeoutError,
    UnavailableError,
    UnitOfWorkDoomedError,
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
            await db.execute(Statement(f"DO 'BEGIN {insertion.replace(chr(39), chr(39) * 2)}; END'", label="x"))
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


async def test_a_cancelled_lone_write_finishes_first(db: AsyncDatabaseManager, observer: Observer):
    async with asyncio.timeout(5):
        blocker = observer.connection.transaction()
        await blocker.start()
        await observer.connection.execute("LOCK TABLE entry")
        task = asyncio.create_task(insert(db, "x"))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.sleep(0.05)
        assert not task.done()
        await blocker.rollback()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
    assert outcome_of(caught.value) == "committed"
    assert await observer.notes() == ["x"]


@pytest.mark.parametrize("way", ["commit", "lone write"])
async def test_a_deadline_that_ends_sooner_is_the_shields_too(
    make_db: MakeDb, proxy: Proxy, observer: Observer, way: str
):
    db = make_db(proxy.url, commit_timeout=5)
    await insert(db, "warm")
    started = asyncio.get_running_loop().time()
    with pytest.raises(QueryTimeoutError) as caught:
        async with deadline(0.15):
            if way == "commit":
                before_commit(db, proxy.freeze)
                async with db.unit_of_work():
                    await insert(db, "x")
            else:
                proxy.freeze()
                await insert(db, "x")
    assert asyncio.get_running_loop().time() - started < 1
    assert outcome_of(caught.value) == "unknown"
    assert_nothing_is_held(db)
    proxy.heal()


@pytest.mark.parametrize("direction", ["to_client", "to_server"])
async def test_a_frozen_server_does_not_hold_a_read_beyond_its_deadline(
    make_db: MakeDb, proxy: Proxy, direction: Direction
):
    db = make_db(proxy.url)
    await db.ping()
    proxy.freeze_after(0, direction)
    started = asyncio.get_running_loop().time()
    with pytest.raises(QueryTimeoutError):
        async with deadline(0.1):
            await db.fetch(SLEEP, (0.0,))
    assert asyncio.get_running_loop().time() - started < 0.5
    assert_nothing_is_held(db)
    proxy.heal()


async def test_a_frozen_server_does_not_hold_a_unit_of_work_beyond_its_deadline(
    make_db: MakeDb, proxy: Proxy
):
    db = make_db(proxy.url)
    await db.ping()
    started = asyncio.get_running_loop().time()
    with pytest.raises(QueryTimeoutError) as caught:
        async with deadline(0.1), db.unit_of_work() as uow:
            await insert(db, "x")
            proxy.freeze()
            await insert(db, "y")
    assert asyncio.get_running_loop().time() - started < 0.5
    assert uow.outcome == outcome_of(caught.value) == "rolled_back"
    assert_nothing_is_held(db)
    proxy.heal()


# ------------------------------------------------------------------------------------------------- asking the server


@pytest.fixture
async def asked(db: AsyncDatabaseManager) -> Any:
    """A connection to ask on, and how to fetch there."""
    link = await db._core.connections.acquire()

    async def fetch(statement: Any, args: Any) -> Any:
        return await db._core.fetch_on(link, statement, statement.sql, args)

    yield link, fetch
    db._core.connections.release(link)


async def _xid(observer: Observer, end: str) -> int:
    connection = observer.connection
    await connection.execute("BEGIN")
    xid = int(await connection.fetchval("SELECT pg_current_xact_id()::text"))
    await connection.execute(end)
    return xid


def _elsewhere(backend: Backend) -> Backend:
    """The same server, as it was before a crash."""
    assert backend.wal_reset is not None
    return backend._replace(wal_reset=backend.wal_reset - timedelta(hours=1))


async def test_an_id_that_committed_or_aborted(asked: Any, observer: Observer):
    link, fetch = asked
    gone = link.backend._replace(pid=1)
    for end, outcome in (("COMMIT", "committed"), ("ROLLBACK", "rolled_back")):
        xid = await _xid(observer, end)
        assert await resolve_transaction(link.driver, xid, gone, None, fetch) == outcome


async def test_an_id_of_the_future_never_reached_the_disk(asked: Any, observer: Observer):
    link, fetch = asked
    xid = await _xid(observer, "COMMIT") + 1_000_000
    assert await resolve_transaction(link.driver, xid, link.backend, None, fetch) == "rolled_back"


async def test_after_a_crash_committed_is_believed_only_with_a_witness(
    asked: Any, observer: Observer, db: AsyncDatabaseManager
):
    """The id may have been handed out again."""
    link, fetch = asked
    xid = await _xid(observer, "COMMIT")
    before = _elsewhere(link.backend)
    present, absent = await insert(db), await insert(db)
    await observer.connection.execute("DELETE FROM entry WHERE id = $1", absent)
    resolve = partial(resolve_transaction, link.driver, xid, before)
    assert await resolve(None, fetch) == "unknown"
    assert await resolve(by_key(present), fetch) == "committed"
    assert await resolve(by_key(absent), fetch) == "unknown", "somebody may have deleted it since"


async def test_after_a_crash_aborted_is_true_as_ever(asked: Any, observer: Observer):
    link, fetch = asked
    xid = await _xid(observer, "ROLLBACK")
    before = _elsewhere(link.backend)
    assert await resolve_transaction(link.driver, xid, before, None, fetch) == "rolled_back"


async def test_after_a_crash_an_id_in_progress_is_somebody_elses(asked: Any, observer: Observer):
    link, fetch = asked
    async with observer.connection.transaction():
        xid = int(await observer.value("SELECT pg_current_xact_id()::text"))
        before = _elsewhere(link.backend)._replace(pid=1)
        assert await resolve_transaction(link.driver, xid, before, None, fetch) == "rolled_back"


async def test_an_id_that_the_server_has_forgotten_is_unknown(db: AsyncDatabaseManager):
    """It keeps the state of the last two thousand million transactions: more than a test can make."""

    class Forgetful:
        async def fetchrow(self, *args: object) -> dict[str, object]:
            return {"status": None, "wal_reset": None, "running": False}

    backend = Backend(1, datetime(2020, 1, 1, tzinfo=UTC), None)
    driver: Any = Forgetful()
    fetch: Any = None
    assert await resolve_transaction(driver, 3, backend, None, fetch) == "unknown"


async def test_a_process_that_is_not_ours_is_not_ended(asked: Any, observer: Observer):
    """Process ids are used again; the time a process began tells."""
    link, _ = asked
    pid = await observer.value("SELECT pg_backend_pid()")
    other = Backend(pid, datetime(2020, 1, 1, tzinfo=UTC), link.backend.wal_reset)
    await wait_until_gone(link.driver, other)
    assert await observer.value("SELECT 1") == 1


async def test_a_backend_is_known_by_what_the_server_says(asked: Any, observer: Observer):
    link, _ = asked
    row = await observer.connection.fetchrow(
        "SELECT backend_start, (SELECT stats_reset FROM pg_stat_wal) FROM pg_stat_activity WHERE pid = $1",
        link.backend.pid,
    )
    assert row is not None
    assert tuple(row) == (link.backend.started, link.backend.wal_reset)


# ---------------------------------------------------------------------------------------------- finding it on an error


def test_it_is_found_on_causes_and_is_none_elsewhere():
    assert outcome_of(None) is None
    assert outcome_of(CallerError()) is None
    for error in (CallerError(), ConflictError(), asyncio.CancelledError()):
        note_outcome(error, "committed")
        assert outcome_of(error) == "committed"
        outer = RuntimeError()
        outer.__cause__ = ValueError()
        outer.__cause__.__cause__ = error
        assert outcome_of(outer) == "committed"
    assert outcome_of(UnitOfWorkDoomedError()) == "rolled_back"
    assert outcome_of(CommitOutcomeUnknownError()) == "unknown"


def test_a_ring_of_causes_ends():
    first, second = ValueError(), ValueError()
    first.__cause__, second.__cause__ = second, first
    assert outcome_of(first) is None


def test_what_was_merely_being_handled_is_not_a_cause():
    error = CallerError()
    note_outcome(error, "rolled_back")
    later = ValueError()
    later.__context__ = error
    assert outcome_of(later) is None
    timeout = TimeoutError()
    timeout.__context__ = error
    assert outcome_of(timeout) is None


async def test_two_transactions_the_error_tells_of_the_outer(
    db: AsyncDatabaseManager, observer: Observer
):
    """One that passes through several is about the outermost in the end."""
    with pytest.raises(CallerError) as caught:
        async with db.unit_of_work():
            await insert(db, "outer")
            try:
                async with db.unit_of_work(independent=True) as inner:
                    await insert(db, "inner")
            finally:
                assert inner.outcome == "committed"
                raise CallerError
    assert outcome_of(caught.value) == "rolled_back"
    assert len(await observer.notes()) == 1


async def _verdict(answer: Verdict, fetch: Any) -> Verdict:
    return answer


async def test_a_check_that_cannot_tell_leaves_it_unknown(
    make_db: MakeDb, proxy: Proxy, observer: Observer
):
    from tests.database.ledger import UPDATE

    db = make_db(proxy.url)
    key = await insert(db)
    await db.write(UPDATE, (key, 1))
    proxy.cut_after(3, "to_client")
    with pytest.raises(CommitOutcomeUnknownError):
        await db.write(UPDATE, (key, 1), check=partial(_verdict, ("unknown", ())))
    assert (await db.fetch(FIND, (key,)))[0]["amount"] == 2


async def test_a_check_that_fails_leaves_it_unknown(
    make_db: MakeDb, proxy: Proxy, observer: Observer
):
    from tests.database.ledger import DIVIDE, UPDATE

    async def fail(fetch: Any) -> Verdict:
        await fetch(DIVIDE, (0,))
        raise AssertionError

    db = make_db(proxy.url)
    key = await insert(db)
    await db.write(UPDATE, (key, 1))
    proxy.cut_after(3, "to_client")
    with pytest.raises(CommitOutcomeUnknownError):
        await db.write(UPDATE, (key, 1), check=fail)
    assert_nothing_is_held(db)
