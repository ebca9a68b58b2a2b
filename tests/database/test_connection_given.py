"""A unit of work on a connection that belongs to somebody else."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.database.ledger import (
    KEYS,
    CallerError,
    Entry,
    Observer,
    insert,
)
from timber.database.manager import AsyncDatabaseManager
from timber.database.outcome import outcome_of
from timber.errors import UnitOfWorkDoomedError, UsageError, ValidationError

INSERT = text("INSERT INTO entry (id, note) VALUES (gen_random_uuid(), :note)")

# ----------------------------------------------------------------------------------------------------- connection given


async def test_a_unit_of_work_on_a_connection_in_a_transaction_is_a_part_of_it(
    its_db: AsyncDatabaseManager, engine: AsyncEngine, observer: Observer
):
    async with engine.connect() as connection:
        async with connection.begin() as transaction:
            await connection.execute(INSERT, {"note": "owner, before"})
            async with its_db.unit_of_work(connection=connection) as uow:
                await insert(its_db, "unit")
                uow.session.add(Entry(note="orm"))
            with pytest.raises(CallerError):
                async with its_db.unit_of_work(connection=connection) as failing:
                    await insert(its_db, "undone")
                    raise CallerError
            assert failing.outcome == "rolled_back"
            await connection.execute(INSERT, {"note": "owner, after"})
            assert await observer.count() == 0
            await transaction.commit()
        assert await observer.notes() == ["orm", "owner, after", "owner, before", "unit"]
        async with connection.begin() as transaction:
            async with its_db.unit_of_work(connection=connection):
                await insert(its_db, "lost with the owner's")
            await transaction.rollback()
    assert await observer.count() == 4


async def test_the_first_statement_of_all_may_be_the_units(
    its_db: AsyncDatabaseManager, engine: AsyncEngine, observer: Observer
):
    """SQLAlchemy has put its BEGIN off: a raw statement before it would survive the rollback."""
    async with engine.connect() as connection:
        transaction = await connection.begin()
        async with its_db.unit_of_work(connection=connection):
            await insert(its_db, "unit")
        await transaction.rollback()
    assert await observer.count() == 0


async def test_a_unit_of_work_on_a_connection_in_no_transaction_begins_and_ends_one(
    its_db: AsyncDatabaseManager, engine: AsyncEngine, observer: Observer
):
    async with engine.connect() as connection:
        async with its_db.unit_of_work(connection=connection) as uow:
            await insert(its_db, "kept")
        assert uow.outcome == "committed"
        assert await observer.notes() == ["kept"]
        with pytest.raises(CallerError) as caught:
            async with its_db.unit_of_work(connection=connection) as uow:
                await insert(its_db, "undone")
                raise CallerError
        assert uow.outcome == outcome_of(caught.value) == "rolled_back"
        async with connection.begin():
            await connection.execute(INSERT, {"note": "the owner goes on"})
    assert await observer.notes() == ["kept", "the owner goes on"]


async def test_a_unit_of_work_on_a_connection_in_a_failed_transaction_says_so(
    db: AsyncDatabaseManager,
):
    await db.fetch(KEYS)
    async with db.engine.connect() as connection, connection.begin() as transaction:
        with pytest.raises(ValidationError):
            await connection.execute(text("SELECT 1 / 0"))
        with pytest.raises(UnitOfWorkDoomedError):
            async with db.unit_of_work(connection=connection) as uow:
                await db.fetch(KEYS)
        assert uow.outcome == "rolled_back"
        await transaction.rollback()


async def test_an_error_caught_inside_a_joined_one_is_not_lost(
    its_db: AsyncDatabaseManager, engine: AsyncEngine, observer: Observer
):
    from tests.database.ledger import DIVIDE

    async with engine.connect() as connection, connection.begin():
        await connection.execute(INSERT, {"note": "owner"})
        with pytest.raises(UnitOfWorkDoomedError):
            async with its_db.unit_of_work(connection=connection):
                await insert(its_db, "x")
                with pytest.raises(ValidationError):
                    await its_db.fetch(DIVIDE, (0,))
        await connection.execute(INSERT, {"note": "owner goes on"})
    assert await observer.notes() == ["owner", "owner goes on"]


@pytest.mark.parametrize("begun", [False, True])
async def test_cancelled_on_a_given_connection(
    its_db: AsyncDatabaseManager, engine: AsyncEngine, observer: Observer, begun: bool
):
    from tests.database.ledger import SLEEP

    async with engine.connect() as connection:
        if begun:
            await connection.begin()
            await connection.execute(INSERT, {"note": "owner"})
        with pytest.raises(TimeoutError) as caught:
            async with (
                asyncio.timeout(None) as cut,
                its_db.unit_of_work(connection=connection) as uow,
            ):
                await insert(its_db, "x")
                cut.reschedule(asyncio.get_running_loop().time() + 0.03)
                await its_db.fetch(SLEEP, (10.0,))
        assert uow.outcome == outcome_of(caught.value) == "rolled_back"
        if begun:
            await connection.execute(INSERT, {"note": "owner goes on"})
            await connection.commit()
    assert await observer.notes() == (["owner", "owner goes on"] if begun else [])
    assert its_db._core.connections.checked_out == 0


@pytest.mark.parametrize("option", [{"isolation": "serializable"}, {"statement_timeout": 1}])
async def test_options_on_somebody_elses_transaction_are_refused(
    its_db: AsyncDatabaseManager, engine: AsyncEngine, option: dict[str, object]
):
    async with engine.connect() as connection, connection.begin():
        await connection.execute(text("SELECT 1"))
        with pytest.raises(UsageError):
            async with its_db.unit_of_work(connection=connection, **option):  # type: ignore[arg-type]
                await insert(its_db)
