"""Hazards of sharing a pooled connection between SQLAlchemy and the driver, each of which was seen to bite."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from uuid import uuid4

import pytest
from sqlalchemy import text

from tests.database.conftest import MakeDb
from tests.database.ledger import (
    FIND,
    INSERT_CODE,
    KEYS,
    SLEEP,
    CallerError,
    Entry,
    Observer,
    add,
    assert_nothing_is_held,
    insert,
    pid_of,
)
from timber.database.manager import AsyncDatabaseManager
from timber.database.outcome import outcome_of
from timber.database.statements import Statement
from timber.database.unit_of_work import UnitOfWork
from timber.errors import ConflictError, SerializationError, ServiceError, UnavailableError

DELETE_ALL = Statement("DELETE FROM entry", label="delete entries")
STAR = Statement("SELECT * FROM changing", label="list changing")


async def test_hundreds_of_random_cancels_poison_and_leak_nothing(
    make_db: MakeDb, observer: Observer, record_property: Callable[[str, object], None]
):
    db = make_db(pool_size=4, max_overflow=2)
    units: list[tuple[UnitOfWork, str]] = []

    async def work(number: int) -> None:
        uow = db.unit_of_work()
        units.append((uow, str(number)))
        async with uow:
            await insert(db, str(number))
            async with uow.savepoint():
                await db.fetch(KEYS)
            if number % 3 == 0:
                uow.session.add(Entry(note=f"{number} orm"))

    raised: list[tuple[UnitOfWork, BaseException]] = []

    async def watched(number: int) -> None:
        try:
            await work(number)
        except BaseException as error:
            raised.append((next(uow for uow, note in units if note == str(number)), error))
            raise

    tasks = [asyncio.create_task(watched(n)) for n in range(320)]
    for task in tasks:
        asyncio.get_running_loop().call_later(random.random() * 0.4, task.cancel)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert_nothing_is_held(db)
    await observer.wait_until_idle(db.settings.application_name)
    notes = set(await observer.notes())
    for uow, note in units:
        assert (note in notes) == (uow.outcome == "committed")
    for uow, error in raised:
        assert isinstance(error, asyncio.CancelledError)
        assert outcome_of(error) == uow.outcome
    await asyncio.gather(*(insert(db, "afterwards") for _ in range(20)))
    assert (await observer.notes()).count("afterwards") == 20
    cancelled = sum(isinstance(result, asyncio.CancelledError) for result in results)
    committed = sum(uow.outcome == "committed" for uow, _ in units)
    record_property("counts", f"320 tasks, {cancelled} cancelled, {committed} committed")


async def test_cancelled_during_begin_the_connection_is_well(
    db: AsyncDatabaseManager, observer: Observer
):
    """It went back to the pool inside a transaction, and its next user wrote into that."""
    for _ in range(20):
        await db.ping()
        task = asyncio.create_task(_read_in_a_unit(db))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        key = await insert(db)
        assert key in await observer.keys()
    assert_nothing_is_held(db)


async def _read_in_a_unit(db: AsyncDatabaseManager) -> None:
    async with db.unit_of_work():
        await db.fetch(KEYS)


@pytest.mark.parametrize(
    "then", ["prepared", "not prepared", "copy", "session", "stream", "nothing"]
)
@pytest.mark.parametrize("ending", ["committed", "rolled_back"])
async def test_a_first_statement_that_the_driver_refuses_leaves_the_transaction_as_it_is(
    db: AsyncDatabaseManager, observer: Observer, then: str, ending: str
):
    """BEGIN is on its way by then, and the driver asks for no answer to it."""
    await insert(db, "before")
    await db.fetch(FIND, (uuid4(),))
    async with db.unit_of_work():
        await insert(db, "before, with the id")
    uow = db.unit_of_work()
    with suppress(CallerError):
        async with uow:
            with pytest.raises(ServiceError):
                await db.fetch(FIND, ("no key",))
            if then == "prepared":
                await insert(db, "then")
            elif then == "not prepared":
                await db.write(INSERT_CODE, (uuid4(), "then"))
            elif then == "copy":
                await db.copy("entry", ["id", "note"], [(uuid4(), "then")])
            elif then == "session":
                uow.session.add(Entry(note="then"))
            elif then == "stream":
                async with db.cursor(KEYS) as batches:
                    assert [len(rows) async for rows in batches] == [2]
                await insert(db, "then")
            if ending == "rolled_back":
                raise CallerError
    assert uow.outcome == ending
    assert await observer.count() == 2 + (ending == "committed" and then != "nothing")
    assert_nothing_is_held(db)
    await insert(db, "afterwards")
    assert "afterwards" in await observer.notes()


async def test_a_savepoint_on_a_connection_that_was_closed_is_an_outage(db: AsyncDatabaseManager):
    await db.fetch(KEYS)
    uow = db.unit_of_work()
    with pytest.raises(UnavailableError):
        async with uow:
            await db.fetch(KEYS)
            link = uow.transaction.link
            assert link is not None
            link.driver.terminate()
            async with uow.savepoint():
                await db.fetch(KEYS)
    assert uow.outcome == "rolled_back"
    assert_nothing_is_held(db)


async def test_after_a_refused_first_statement_the_server_waits_no_longer_than_in_any_transaction(
    db: AsyncDatabaseManager, observer: Observer
):
    """Its limit for idle transactions does not run before it has answered."""
    await db.fetch(FIND, (uuid4(),))
    async with db.unit_of_work():
        with pytest.raises(ServiceError):
            await db.fetch(FIND, ("no key",))
        assert await observer.states(db.settings.application_name) == ["idle in transaction"]


@pytest.mark.parametrize("then", ["the end", "execute", "copy"])
async def test_a_refused_begin_before_a_refused_first_statement_is_heard_of(
    db: AsyncDatabaseManager, then: str, monkeypatch: pytest.MonkeyPatch
):
    """The server ignores what comes after it up to a Sync: the connection waited for an answer that never came."""
    await db.fetch(FIND, (uuid4(),))
    pid = await pid_of(db)
    uow = db.unit_of_work()
    monkeypatch.setattr(
        "timber.database.levels.TransactionOptions.begin", lambda *_: "BEGIN; SET LOCAL jit = 2"
    )
    with pytest.raises(ServiceError):
        async with asyncio.timeout(4), uow:
            with pytest.raises(ServiceError) as refused:
                await db.fetch(FIND, ("no key",))
            assert "22023" in str(refused.value)
            if then == "execute":
                await db.execute(DELETE_ALL)
            elif then == "copy":
                await db.copy("entry", ["id"], [(uuid4(),)])
    assert uow.outcome == "rolled_back"
    monkeypatch.undo()
    assert_nothing_is_held(db)
    assert await pid_of(db) == pid


@pytest.mark.parametrize("where", ["a unit of work", "a savepoint"])
async def test_a_first_statement_that_the_server_refuses_undoes_what_it_began(
    db: AsyncDatabaseManager, observer: Observer, where: str
):
    key = await insert(db, "there")
    async with db.unit_of_work():
        await insert(db, "prepared")
    if where == "a unit of work":
        with pytest.raises(ConflictError):
            async with db.unit_of_work():
                await insert(db, "twice", key)
    else:
        async with db.unit_of_work() as uow:
            with pytest.raises(ConflictError):
                async with uow.savepoint():
                    await insert(db, "twice", key)
            await insert(db, "outside")
    rest = ["outside"] if where == "a savepoint" else []
    assert sorted(await observer.notes()) == sorted(["there", "prepared", *rest])
    assert_nothing_is_held(db)
    await insert(db)


@pytest.fixture
async def changing(observer: Observer) -> AsyncGenerator[Observer]:
    await observer.connection.execute(
        "CREATE TABLE changing (id int); INSERT INTO changing VALUES (1)"
    )
    yield observer
    await observer.connection.execute("DROP TABLE changing")


async def test_a_table_changed_outside_a_transaction_heals_by_itself(
    db: AsyncDatabaseManager, changing: Observer
):
    assert len((await db.fetch(STAR))[0]) == 1
    for number in range(3):
        await changing.connection.execute(
            f"ALTER TABLE changing ADD COLUMN c{number} int DEFAULT 5"
        )
        assert len((await db.fetch(STAR))[0]) == number + 2


async def test_a_table_changed_under_a_transaction_is_a_conflict_that_run_repeats(
    db: AsyncDatabaseManager, changing: Observer
):
    await db.fetch(STAR)
    await changing.connection.execute("ALTER TABLE changing ADD COLUMN other int DEFAULT 5")
    with pytest.raises(SerializationError) as caught:
        async with db.unit_of_work():
            await insert(db, "x")
            await db.fetch(STAR)
    assert caught.value.sqlstate == "0A000"
    await db.fetch(STAR)
    await changing.connection.execute("ALTER TABLE changing ADD COLUMN third int DEFAULT 5")
    bodies = 0

    async def body(unit: UnitOfWork) -> int:
        nonlocal bodies
        bodies += 1
        await insert(db, "y")
        return len((await db.fetch(STAR))[0])

    assert await db.run(body) == 3
    assert bodies == 2
    assert await changing.notes() == ["y"]


async def test_a_table_changed_under_an_orm_session_is_repeated_by_run_too(
    db: AsyncDatabaseManager, changing: Observer
):
    async def body(unit: UnitOfWork) -> int:
        await insert(db, "x")
        return len((await unit.session.execute(text(STAR.sql))).one())

    for columns in (1, 2, 3):
        assert await db.run(body) == columns
        await changing.connection.execute(f"ALTER TABLE changing ADD COLUMN d{columns} int")
    assert await changing.count() == 3


async def test_a_table_changed_by_the_unit_of_work_itself(
    db: AsyncDatabaseManager, changing: Observer
):
    async with db.unit_of_work():
        await db.execute(Statement("ALTER TABLE changing ADD COLUMN own int", label="alter"))
        assert len((await db.fetch(STAR))[0]) == 2


async def test_a_unique_violation_caught_inside_is_not_a_silent_rollback(
    db: AsyncDatabaseManager, observer: Observer
):
    """Neither the driver nor SQLAlchemy says anything at the commit."""
    key = await insert(db, "first")
    with pytest.raises(Exception, match="earlier call"):
        async with db.unit_of_work():
            await insert(db, "lost")
            with pytest.raises(ConflictError):
                await insert(db, "twice", key)
    assert await observer.notes() == ["first"]


async def test_a_nested_scope_takes_no_second_connection(make_db: MakeDb):
    """Five tasks on a pool of five, each wanting a second one, deadlocked five of five times."""
    db = make_db(pool_size=5, max_overflow=0, pool_timeout=2)
    together = asyncio.Barrier(4)

    async def work() -> None:
        async with db.unit_of_work():
            await pid_of(db)
            await together.wait()
            async with db.unit_of_work(), db.session_scope() as session:
                await session.execute(text("SELECT 1"))
            async with db.join_or_begin():
                await insert(db)

    async with asyncio.timeout(2):
        await asyncio.gather(*(work() for _ in range(4)))


async def test_many_short_deadlines_do_not_stop_all_progress(db: AsyncDatabaseManager):
    """A connection that survives its cancelled statement need not be made again."""
    pids = set()
    for _ in range(10):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.005):
                await db.fetch(SLEEP, (5.0,))
        pids.add(await pid_of(db))
    assert len(pids) == 1


async def test_a_row_written_by_the_driver_is_seen_by_the_orm_and_the_other_way_round(
    db: AsyncDatabaseManager,
):
    async with db.unit_of_work() as uow:
        key = await insert(db, "x")
        entry = await uow.session.get_one(Entry, key)
        entry.amount = 5
        await uow.session.flush()
        assert (await db.fetch(FIND, (key,)))[0]["amount"] == 5
        assert await add(db, key, 1) == 6
        await uow.session.refresh(entry)
        assert entry.amount == 6
        assert await uow.session.get(Entry, uuid4()) is None
