"""`uow.session`: SQLAlchemy's session on the unit of work's own connection and transaction."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy
from sqlalchemy import event, select, text, update
from sqlalchemy import insert as insert_into
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.util import greenlet_spawn

from tests.database.ledger import (
    INSERT_CODE,
    KEYS,
    SLEEP,
    CallerError,
    Entry,
    Observer,
    assert_nothing_is_held,
    insert,
)
from timber.database.manager import AsyncDatabaseManager
from timber.database.outcome import outcome_of
from timber.database.unit_of_work import UnitOfWork
from timber.errors import (
    ConflictError,
    QueryTimeoutError,
    ServiceError,
    UnitOfWorkClosedError,
    UnitOfWorkDoomedError,
    UsageError,
)


async def test_it_shares_the_transaction_with_statements_before_and_after(
    db: AsyncDatabaseManager, observer: Observer
):
    async with db.unit_of_work() as uow:
        first = await insert(db, "raw, before")
        entry = await uow.session.get(Entry, first)
        assert entry is not None
        uow.session.add(Entry(note="by the ORM"))
        await uow.session.flush()
        assert len(await db.fetch(KEYS)) == 2
        await insert(db, "raw, after")
        assert len((await uow.session.scalars(select(Entry))).all()) == 3
        assert db.get_pool_status()["checked_out"] == 1
        assert await observer.count() == 0
    assert await observer.notes() == ["by the ORM", "raw, after", "raw, before"]


@pytest.mark.parametrize("orm_first", [False, True])
async def test_a_raw_statement_does_not_survive_the_rollback(
    db: AsyncDatabaseManager, observer: Observer, orm_first: bool
):
    """SQLAlchemy's adapter begins by itself, in its own cursor only: a raw statement before it would be outside."""
    with pytest.raises(CallerError):
        async with db.unit_of_work() as uow:
            if orm_first:
                await uow.session.execute(text("SELECT 1"))
            await insert(db, "raw, before")
            uow.session.add(Entry(note="by the ORM"))
            await uow.session.flush()
            await insert(db, "raw, after")
            raise CallerError
    assert await observer.count() == 0
    await insert(db, "the next user")
    assert await observer.notes() == ["the next user"]


def test_the_private_slot_that_this_rests_on_is_where_it_was():
    """With another minor release of SQLAlchemy: read its adapter again, then change this."""
    from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_connection

    assert sqlalchemy.__version__.startswith("2.1.")
    assert "_transaction" in AsyncAdapt_asyncpg_connection.__slots__
    assert callable(AsyncAdapt_asyncpg_connection._start_transaction)


@pytest.mark.parametrize(
    "name", ["commit", "rollback", "close", "begin", "begin_nested", "reset", "invalidate"]
)
async def test_what_the_unit_of_work_does_itself_is_refused(
    db: AsyncDatabaseManager, observer: Observer, name: str
):
    with pytest.raises(UsageError, match="savepoint"):
        async with db.unit_of_work() as uow:
            uow.session.add(Entry(note="x"))
            await uow.session.flush()
            result = getattr(uow.session, name)()
            if hasattr(result, "__await__"):
                await result
    assert uow.outcome == "rolled_back"
    assert await observer.count() == 0


async def test_entering_the_session_is_refused(db: AsyncDatabaseManager):
    async with db.unit_of_work() as uow:
        with pytest.raises(UsageError):
            async with uow.session:
                pass


async def test_after_the_end_it_is_closed_and_its_objects_stay_readable(
    db: AsyncDatabaseManager, observer: Observer
):
    async with db.unit_of_work() as uow:
        session = uow.session
        entry = Entry(note="x")
        session.add(entry)
    assert entry.note == "x"
    assert entry.id is not None
    for use in (session.execute(text("SELECT 1")), session.flush(), session.get(Entry, entry.id)):
        with pytest.raises(UnitOfWorkClosedError):
            await use
    with pytest.raises(UnitOfWorkClosedError):
        session.add(Entry(note="late"))
    assert await observer.notes() == ["x"]
    assert_nothing_is_held(db)


async def test_the_commit_goes_through_it_so_that_its_events_fire(db: AsyncDatabaseManager):
    seen: list[str] = []
    async with db.unit_of_work() as uow:
        event.listen(uow.session.sync_session, "before_commit", lambda _: seen.append("session"))
        event.listen(db.engine.sync_engine, "commit", lambda _: seen.append("engine"))
        uow.session.add(Entry(note="x"))
        await insert(db)
    assert seen == ["session", "engine"]


async def test_an_event_that_refuses_the_commit_rolls_back(
    db: AsyncDatabaseManager, observer: Observer
):
    def refuse(_: object) -> None:
        raise CallerError

    with pytest.raises(CallerError) as caught:
        async with db.unit_of_work() as uow:
            event.listen(uow.session.sync_session, "before_commit", refuse)
            uow.session.add(Entry(note="x"))
    assert uow.outcome == outcome_of(caught.value) == "rolled_back"
    assert await observer.count() == 0
    assert_nothing_is_held(db)


async def test_session_scope_yields_it_and_calls_inside_join(
    db: AsyncDatabaseManager, observer: Observer
):
    with pytest.raises(CallerError):
        async with db.session_scope(isolation="repeatable read") as session:
            assert isinstance(session, AsyncSession)
            session.add(Entry(note="by the ORM"))
            await insert(db, "by a service")
            assert len((await session.scalars(select(Entry))).all()) == 2
            raise CallerError
    assert await observer.count() == 0
    async with db.session_scope() as session:
        session.add(Entry(note="by the ORM"))
        await insert(db, "by a service")
    assert await observer.notes() == ["by a service", "by the ORM"]


async def test_errors_that_leave_it_are_timbers_with_the_original_as_cause(
    db: AsyncDatabaseManager, observer: Observer
):
    await db.write(INSERT_CODE, (uuid4(), "taken"))
    with pytest.raises(ConflictError) as caught:
        async with db.session_scope() as session:
            session.add(Entry(code="taken"))
    assert getattr(caught.value.__cause__, "sqlstate", None) == "23505"
    assert caught.value.constraint == "entry_code_key"
    assert outcome_of(caught.value) == "rolled_back"
    async with db.unit_of_work() as uow:
        for call in (
            uow.session.get_one(Entry, uuid4()),
            uow.session.refresh(Entry()),
            uow.session.run_sync(lambda session: session.scalars(select(Entry.nothing)).all()),  # type: ignore[attr-defined]
        ):
            with pytest.raises((ServiceError, AttributeError)) as raised:
                await call
            assert not isinstance(raised.value, SQLAlchemyError)
        one = await uow.session.execute(select(Entry))
        assert len(one.all()) == 1
    assert uow.outcome == "committed"


async def test_what_its_results_raise_leaves_the_scope_as_timbers(
    db: AsyncDatabaseManager, observer: Observer
):
    with pytest.raises(UsageError, match="exactly one row") as caught:
        async with db.session_scope() as session:
            await insert(db, "x")
            (await session.execute(select(Entry).where(Entry.note == "nothing"))).scalar_one()
    assert isinstance(caught.value.__cause__, SQLAlchemyError)
    assert outcome_of(caught.value) == "rolled_back"
    assert await observer.count() == 0


async def test_streams_of_it_work_and_their_errors_are_timbers(
    db: AsyncDatabaseManager, observer: Observer
):
    for number in range(3):
        await insert(db, str(number))
    async with db.unit_of_work() as uow:
        entries = await uow.session.stream_scalars(select(Entry))
        assert len([entry async for entry in entries]) == 3
    with pytest.raises(ServiceError):
        async with db.unit_of_work() as uow:
            rows = await uow.session.stream(
                text("SELECT 1 / (300 - n) FROM generate_series(1, 500) n")
            )
            async for _ in rows:
                pass
    assert_nothing_is_held(db)


@pytest.mark.parametrize("inside", [False, True])
async def test_a_flush_that_fails_on_a_side_way_dooms_too(
    db: AsyncDatabaseManager, observer: Observer, inside: bool
):
    """SQLAlchemy then rolls back by itself, and what follows would be outside of any transaction."""

    async def fail(uow: UnitOfWork) -> None:
        uow.session.add(Entry(amount="not a number"))
        with pytest.raises((SQLAlchemyError, ServiceError)):
            # As a lazy load by `awaitable_attrs` does.
            await greenlet_spawn(uow.session.sync_session.flush)
        with pytest.raises(UnitOfWorkDoomedError):
            await insert(db, "after")

    uow = db.unit_of_work()
    if inside:
        async with uow:
            await insert(db, "before")
            with pytest.raises(UnitOfWorkDoomedError):
                async with uow.savepoint():
                    await fail(uow)
        assert await observer.notes() == ["before"]
    else:
        with pytest.raises(UnitOfWorkDoomedError):
            async with uow:
                await insert(db, "before")
                await fail(uow)
        assert await observer.count() == 0


@pytest.mark.parametrize("orm", [False, True])
async def test_a_statement_cut_off_inside_dooms_although_the_timeout_was_caught(
    db: AsyncDatabaseManager, observer: Observer, orm: bool
):
    with pytest.raises((UnitOfWorkDoomedError, ServiceError)):
        async with db.unit_of_work() as uow:
            await insert(db, "before")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    if orm:
                        await uow.session.execute(text("SELECT pg_sleep(5)"))
                    else:
                        await db.fetch(SLEEP, (5.0,))
            with pytest.raises(UnitOfWorkDoomedError):
                await insert(db, "after")
            with pytest.raises(UnitOfWorkDoomedError):
                await uow.session.execute(text("SELECT 1"))
    assert uow.outcome == "rolled_back"
    assert await observer.count() == 0
    assert_nothing_is_held(db)
    await observer.wait_until_idle(db.settings.application_name)


async def test_moments_see_every_session_and_every_statement_of_it(db: AsyncDatabaseManager):
    made: list[Any] = []
    executed: list[str] = []
    db.moments.session_made.append(made.append)
    db.moments.before_execute.append(lambda _, clause: executed.append(clause.__visit_name__))
    async with db.unit_of_work() as uow:
        session = uow.session
        await session.execute(insert_into(Entry), [{"note": "bulk"}, {"note": "insert"}])
        await session.execute(update(Entry).values(note="changed"))
        await (await session.connection()).execute(text("SELECT 1"))
        await session.run_sync(lambda sync: sync.bulk_insert_mappings(Entry, [{"note": "mapped"}]))
    assert made == [session]
    assert executed == ["insert", "update", "textclause", "insert"]
    async with db.get_session() as own:
        await own.execute(text("SELECT 1"))
    assert made == [session, own]
    assert executed[-1] == "textclause"


async def test_get_session_is_its_own_master(db: AsyncDatabaseManager, observer: Observer):
    async with db.get_session() as session:
        session.add(Entry(note="kept", code="taken"))
        await session.commit()
        session.add(Entry(note="dropped"))
        await session.flush()
        await session.rollback()
        session.add(Entry(note="second", code="taken"))
        with pytest.raises(ConflictError):
            await session.commit()
    assert await observer.notes() == ["kept"]
    async with db.unit_of_work(), db.get_session() as session:
        await insert(db, "in the unit of work")
        assert len((await session.scalars(select(Entry))).all()) == 1
    assert db.get_pool_status()["checked_out"] == 0


async def test_a_statement_timeout_reaches_it(db: AsyncDatabaseManager):
    with pytest.raises(QueryTimeoutError):
        async with db.unit_of_work(statement_timeout=0.02) as uow:
            await uow.session.execute(text("SELECT pg_sleep(5)"))


async def test_jsonb_goes_in_and_comes_out_on_both_paths(
    db: AsyncDatabaseManager, observer: Observer
):
    """The driver's codec wants text: the bind processors have to run on the direct path too."""
    from sqlalchemy import bindparam

    from timber.database.statements import compile_statement

    value = {"a": [1, 2.5, None, "ü", {"b": True}], "n": 2**60}
    statement = compile_statement(
        insert_into(Entry)
        .values(id=bindparam("id"), data=bindparam("data"), amount=0)
        .returning(Entry.data),
        db.dialect,
        label="insert entry",
    )
    raw, orm = uuid4(), uuid4()
    await db.write(statement, statement.bind({"id": raw, "data": value}))
    async with db.unit_of_work() as uow:
        uow.session.add(Entry(id=orm, data=value))
        await uow.session.flush()
        uow.session.expunge_all()
        assert [e.data for e in await uow.session.scalars(select(Entry))] == [value, value]
    assert await observer.value("SELECT count(DISTINCT data) FROM entry") == 1


@pytest.mark.parametrize(
    "sql",
    [
        "ROLLBACK",
        "rollback and chain",
        "/* a */ -- b\n  Commit",
        "BEGIN",
        "end",
        "ABORT",
        "START  TRANSACTION READ ONLY",
        "PREPARE TRANSACTION 'x'",
    ],
)
async def test_a_statement_that_would_end_the_transaction_is_not_sent(
    db: AsyncDatabaseManager, observer: Observer, sql: str
):
    async with db.unit_of_work() as uow:
        await insert(db, "kept")
        with pytest.raises(UsageError, match="leave its `async with` block"):
            await uow.session.execute(text(sql))
        with pytest.raises(UsageError, match="leave its `async with` block"):
            await (await uow.session.connection()).exec_driver_sql(sql)
    assert uow.outcome == "committed"
    assert await observer.notes() == ["kept"]


async def test_savepoints_of_ones_own_and_words_that_look_alike_are_sent(
    db: AsyncDatabaseManager, observer: Observer
):
    async with db.unit_of_work() as uow:
        for sql in (
            "SAVEPOINT mine",
            "INSERT INTO entry (id, note) VALUES (gen_random_uuid(), 'commit')",
            "ROLLBACK TO SAVEPOINT mine",
            "ROLLBACK WORK TO mine",
            "/*" + "*/ /*" * 5_000 + "*/ SELECT 1",
            "RELEASE mine",
        ):
            await uow.session.execute(text(sql))
    assert await observer.count() == 0


async def test_a_session_that_is_its_own_master_ends_its_transactions_as_it_likes(
    db: AsyncDatabaseManager,
):
    async with db.engine.connect() as connection:
        await connection.exec_driver_sql("COMMIT")
