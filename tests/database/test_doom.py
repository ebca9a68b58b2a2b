"""An error caught inside a unit of work never ends in a silent rollback."""

from __future__ import annotations

from uuid import uuid4

import pytest
from sqlalchemy import text

from tests.database.conftest import MakeDb
from tests.database.failures import FAILING, Failing
from tests.database.ledger import (
    FIND,
    INSERT,
    INSERT_CODE,
    INSERT_PART,
    INSERT_SILENTLY,
    KEYS,
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
    DatabaseError,
    NotFoundError,
    ServiceError,
    UnavailableError,
    UnitOfWorkDoomedError,
    ValidationError,
)

every_failure = pytest.mark.parametrize("failing", FAILING, ids=lambda f: f.__name__)


@every_failure
async def test_an_error_caught_inside_is_raised_again_at_the_end(
    db: AsyncDatabaseManager, observer: Observer, failing: Failing
):
    await db.write(INSERT_CODE, (uuid4(), "taken"))
    caught: list[BaseException] = []
    with pytest.raises(UnitOfWorkDoomedError) as ended:
        async with db.unit_of_work() as uow:
            await insert(db, "before")
            try:
                await failing(db, uow)
            except ServiceError as error:
                caught.append(error)
    assert isinstance(caught[0], FAILING[failing])
    assert ended.value.__cause__ is caught[0]
    assert uow.outcome == outcome_of(ended.value) == "rolled_back"
    assert await observer.count() == 1
    assert_nothing_is_held(db)
    await observer.wait_until_idle(db.settings.application_name)


@every_failure
async def test_a_doomed_one_refuses_calls_and_writes_nothing(
    db: AsyncDatabaseManager, observer: Observer, failing: Failing
):
    await db.write(INSERT_CODE, (uuid4(), "taken"))
    refused = 0
    with pytest.raises(UnitOfWorkDoomedError):
        async with db.unit_of_work() as uow:
            with pytest.raises(FAILING[failing]) as caught:
                await failing(db, uow)
            for call in (
                lambda: db.write(INSERT, (uuid4(), "after")),
                lambda: db.execute(INSERT_SILENTLY, (uuid4(), "after")),
                lambda: db.copy("entry", ["id"], [(uuid4(),)]),
                lambda: db.fetch(KEYS),
                lambda: uow.session.execute(
                    text("INSERT INTO entry (id) VALUES (gen_random_uuid())")
                ),
                lambda: uow.session.get(Entry, uuid4()),
                lambda: _enter(db.cursor(KEYS)),
                lambda: _in_savepoint(db, uow),
                lambda: _nested(db),
            ):
                with pytest.raises(UnitOfWorkDoomedError) as refusal:
                    await call()
                assert refusal.value.__cause__ is caught.value
                refused += 1
    assert refused == 9
    assert await observer.count() == 1


async def _enter(context: object) -> None:
    async with context:  # type: ignore[attr-defined]
        pass


async def _in_savepoint(db: AsyncDatabaseManager, uow: UnitOfWork) -> None:
    async with uow.savepoint():
        await insert(db, "after")


async def _nested(db: AsyncDatabaseManager) -> None:
    async with db.unit_of_work():
        await insert(db, "after")


@every_failure
async def test_a_savepoint_heals_what_fails_inside(
    db: AsyncDatabaseManager, observer: Observer, failing: Failing
):
    await db.write(INSERT_CODE, (uuid4(), "taken"))
    async with db.unit_of_work() as uow:
        await insert(db, "before")
        with pytest.raises(FAILING[failing]):
            async with uow.savepoint():
                await insert(db, "inside")
                await failing(db, uow)
        await insert(db, "after")
        uow.session.add(Entry(note="by the ORM, after"))
    assert uow.outcome == "committed"
    notes = await observer.value(
        "SELECT array_agg(note ORDER BY note) FROM entry WHERE code IS NULL"
    )
    assert notes == ["after", "before", "by the ORM, after"]


@every_failure
async def test_a_savepoint_heals_with_a_session_made_before(
    db: AsyncDatabaseManager, observer: Observer, failing: Failing
):
    await db.write(INSERT_CODE, (uuid4(), "taken"))
    async with db.unit_of_work() as uow:
        uow.session.add(Entry(note="by the ORM, before"))
        with pytest.raises(FAILING[failing]):
            async with uow.savepoint():
                await insert(db, "inside")
                await failing(db, uow)
        await insert(db, "after")
        uow.session.add(Entry(note="by the ORM, after"))
    notes = await observer.value(
        "SELECT array_agg(note ORDER BY note) FROM entry WHERE code IS NULL"
    )
    assert notes == ["after", "by the ORM, after", "by the ORM, before"]


@every_failure
async def test_an_error_caught_inside_a_savepoint_fails_the_savepoint_only(
    db: AsyncDatabaseManager, observer: Observer, failing: Failing
):
    await db.write(INSERT_CODE, (uuid4(), "taken"))
    async with db.unit_of_work() as uow:
        await insert(db, "before")
        with pytest.raises(UnitOfWorkDoomedError, match="outside"):
            async with uow.savepoint():
                with pytest.raises(FAILING[failing]):
                    await failing(db, uow)
        await insert(db, "after")
    assert uow.outcome == "committed"
    notes = await observer.value(
        "SELECT array_agg(note ORDER BY note) FROM entry WHERE code IS NULL"
    )
    assert notes == ["after", "before"]


@pytest.mark.parametrize("has_session", [False, True])
async def test_a_savepoint_begun_after_a_failure_does_not_take_the_levels_around_it_along(
    db: AsyncDatabaseManager, observer: Observer, *, has_session: bool
):
    await db.fetch(KEYS)
    async with db.unit_of_work() as uow:
        if has_session:
            await uow.session.flush()
        key = await insert(db, "outermost")
        with pytest.raises(UnitOfWorkDoomedError):
            async with uow.savepoint():
                with pytest.raises(ConflictError):
                    await insert(db, "twice", key)
                with pytest.raises(UnitOfWorkDoomedError):
                    async with uow.savepoint():
                        await db.fetch(KEYS)
        await insert(db, "goes on")
    assert await observer.notes() == ["goes on", "outermost"]


async def test_a_read_that_finds_nothing_does_not_doom(
    db: AsyncDatabaseManager, observer: Observer
):
    async def get() -> None:
        if not await db.fetch(FIND, (uuid4(),)):
            raise NotFoundError(model="Entry")

    async with db.unit_of_work() as uow:
        await insert(db, "before")
        with pytest.raises(NotFoundError):
            await get()
        with pytest.raises(NotFoundError):
            async with db.join_or_begin():
                await get()
        await insert(db, "after")
    assert uow.outcome == "committed"
    assert await observer.notes() == ["after", "before"]


async def test_a_call_that_had_written_something_dooms_when_it_fails(
    db: AsyncDatabaseManager, observer: Observer
):
    with pytest.raises(UnitOfWorkDoomedError):
        async with db.unit_of_work():
            with pytest.raises(CallerError):
                async with db.join_or_begin():
                    await insert(db, "half")
                    raise CallerError
    assert await observer.count() == 0


async def test_a_call_that_fails_alone_rolls_back_alone(
    db: AsyncDatabaseManager, observer: Observer
):
    with pytest.raises(CallerError) as caught:
        async with db.join_or_begin():
            await insert(db, "half")
            raise CallerError
    assert outcome_of(caught.value) == "rolled_back"
    assert await observer.count() == 0


async def test_arguments_that_the_driver_refuses_do_not_doom(
    db: AsyncDatabaseManager, observer: Observer
):
    """Nothing was sent, so nothing has failed on the server."""
    async with db.unit_of_work() as uow:
        with pytest.raises(ValidationError):
            await db.write(INSERT, ("no uuid", "x"))
        with pytest.raises(DatabaseError):
            await db.write(INSERT, (uuid4(),))
        await insert(db, "after")
    assert uow.outcome == "committed"
    assert await observer.notes() == ["after"]


async def test_doom_by_hand(db: AsyncDatabaseManager, observer: Observer):
    reason = CallerError("why")
    with pytest.raises(UnitOfWorkDoomedError) as caught:
        async with db.unit_of_work() as uow:
            await insert(db, "x")
            uow.doom(reason)
    assert caught.value.__cause__ is reason
    assert await observer.count() == 0


async def test_the_error_that_leaves_is_the_one_that_was_raised(
    db: AsyncDatabaseManager, observer: Observer
):
    with pytest.raises(CallerError) as caught:
        async with db.unit_of_work() as uow:
            await insert(db, "x")
            raise CallerError
    assert uow.outcome == outcome_of(caught.value) == "rolled_back"
    assert await observer.count() == 0


async def test_a_commit_that_postgresql_answers_with_rollback_is_detected(
    db: AsyncDatabaseManager, observer: Observer
):
    """The driver says nothing; only the command's tag does."""
    for with_session in (False, True):
        with pytest.raises(UnitOfWorkDoomedError) as caught:
            async with db.unit_of_work() as uow:
                await insert(db, "x")
                if with_session:
                    await uow.session.execute(text("SELECT 1"))
                # Past everything that would have noticed.
                driver = uow.transaction.link.driver  # type: ignore[union-attr]
                with pytest.raises(Exception, match="division by zero"):
                    await driver.execute("SELECT 1 / 0")
        assert uow.outcome == outcome_of(caught.value) == "rolled_back"
    assert await observer.count() == 0
    assert_nothing_is_held(db)
    await observer.wait_until_idle(db.settings.application_name)


@pytest.mark.parametrize("with_session", [False, True])
async def test_a_constraint_checked_at_commit_rolls_back_and_says_so(
    db: AsyncDatabaseManager, observer: Observer, with_session: bool
):
    with pytest.raises(ConflictError) as caught:
        async with db.unit_of_work() as uow:
            await insert(db, "x")
            await db.write(INSERT_PART, (uuid4(), uuid4()))
            if with_session:
                await uow.session.execute(text("SELECT 1"))
    assert caught.value.constraint == "part_entry_id_fkey"
    assert uow.outcome == outcome_of(caught.value) == "rolled_back"
    assert await observer.count() == 0
    await insert(db, "the connection is well")
    assert_nothing_is_held(db)
    await observer.wait_until_idle(db.settings.application_name)


async def test_a_lost_connection_dooms_every_level(make_db: MakeDb, observer: Observer):
    db = make_db()
    with pytest.raises(UnitOfWorkDoomedError):
        async with db.unit_of_work() as uow:
            await insert(db, "before")
            pid = uow.transaction.link.backend.pid  # type: ignore[union-attr]
            with pytest.raises(UnavailableError):
                async with uow.savepoint():
                    await insert(db, "inside")
                    await observer.kill(pid)
                    await insert(db, "after the kill")
            with pytest.raises(UnitOfWorkDoomedError):
                await insert(db, "after")
    assert uow.outcome == "rolled_back"
    assert await observer.count() == 0
    assert_nothing_is_held(db)
