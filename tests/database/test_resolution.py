"""Asking the server, and an exception, what became of a transaction."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from tests.database.conftest import MakeDb
from tests.database.ledger import (
    FIND,
    CallerError,
    Observer,
    assert_nothing_is_held,
    by_key,
    insert,
)
from tests.harness.proxy import Proxy
from timber.database.manager import AsyncDatabaseManager
from timber.database.outcome import (
    Backend,
    Verdict,
    note_outcome,
    outcome_of,
    resolve_transaction,
    wait_until_gone,
)
from timber.errors import (
    CommitOutcomeUnknownError,
    ConflictError,
    UnitOfWorkDoomedError,
)

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
