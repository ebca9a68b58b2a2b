"""A manager on an engine, or a unit of work on a connection, that belongs to somebody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from uuid import uuid4

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import NullPool

from tests.database.ledger import (
    INSERT_CODE,
    KEYS,
    CallerError,
    Entry,
    Observer,
    insert,
    pid_of,
)
from timber.database.manager import AsyncDatabaseManager
from timber.database.outcome import outcome_of
from timber.errors import ConflictError, UnitOfWorkDoomedError, UsageError, ValidationError

INSERT = text("INSERT INTO entry (id, note) VALUES (gen_random_uuid(), :note)")


@pytest.fixture(params=["a queue", "with pre-ping", "no pool"])
async def engine(request: pytest.FixtureRequest, ledger_url: str) -> AsyncGenerator[AsyncEngine]:
    options: dict[str, object] = {
        "a queue": {"pool_size": 2, "max_overflow": 1},
        "with pre-ping": {"pool_size": 2, "max_overflow": 1, "pool_pre_ping": True},
        "no pool": {"poolclass": NullPool},
    }[request.param]
    engine = create_async_engine(ledger_url, **options)
    yield engine
    await engine.dispose()


@pytest.fixture
async def its_db(engine: AsyncEngine) -> AsyncGenerator[AsyncDatabaseManager]:
    db = AsyncDatabaseManager(engine=engine)
    yield db
    await db.dispose()


async def test_everything_works_on_it(
    its_db: AsyncDatabaseManager, observer: Observer, engine: AsyncEngine
):
    db = its_db
    key = await insert(db, "lone")
    async with db.unit_of_work() as uow:
        await insert(db, "unit")
        uow.session.add(Entry(note="orm"))
        async with uow.savepoint():
            await insert(db, "savepoint")
        async with db.unit_of_work(independent=True):
            await insert(db, "independent")
    await db.run(lambda _: insert(db, "run"))
    async with db.get_session() as session:
        assert len((await session.scalars(select(Entry))).all()) == 6
    async with db.cursor(KEYS) as batches:
        assert sum([len(batch) async for batch in batches]) == 6
    assert key in await observer.keys()
    assert await db.health_check()
    status = db.get_pool_status()
    assert status["checked_out"] == 0
    await asyncio.gather(*(pid_of(db) for _ in range(9)))
    assert db.get_pool_status()["checked_out"] == 0


async def test_a_dead_connection_of_it_is_not_handed_out(
    its_db: AsyncDatabaseManager, observer: Observer
):
    for _ in range(3):
        await observer.kill(await pid_of(its_db))
        await asyncio.sleep(0.01)
        async with its_db.unit_of_work():  # which, unlike a lone statement, is not repeated
            await insert(its_db)
    assert await observer.count() == 3


async def test_its_owner_disposes_of_it(
    its_db: AsyncDatabaseManager, engine: AsyncEngine, observer: Observer
):
    await insert(its_db)
    await its_db.dispose()
    async with engine.begin() as connection:
        await connection.execute(INSERT, {"note": "the owner's"})
    await its_db.ping()
    assert await observer.count() == 2


async def test_the_owner_gets_sqlalchemys_errors_and_the_manager_timbers(
    its_db: AsyncDatabaseManager, engine: AsyncEngine, observer: Observer
):
    await its_db.write(INSERT_CODE, (uuid4(), "taken"))
    async with AsyncSession(engine) as session:
        session.add(Entry(code="taken"))
        with pytest.raises(IntegrityError):
            await session.commit()
    with pytest.raises(ConflictError):
        async with its_db.session_scope() as session:
            session.add(Entry(code="taken"))
    async with its_db.get_session() as session:
        session.add(Entry(code="taken"))
        with pytest.raises(ConflictError):
            await session.commit()


async def test_the_owner_of_an_unreachable_engine_gets_sqlalchemys_error_too(
    engine: AsyncEngine, its_db: AsyncDatabaseManager
):
    seen: list[str] = []
    event.listen(engine.sync_engine, "handle_error", lambda context: seen.append("owner"))
    async with engine.connect() as connection:
        with pytest.raises(Exception, match="division"):
            await connection.execute(text("SELECT 1/0"))
    assert seen == ["owner"]


async def test_moments_do_not_see_what_the_owner_does(
    its_db: AsyncDatabaseManager, engine: AsyncEngine
):
    seen: list[object] = []
    its_db.moments.before_execute.append(seen.append)
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
    assert not seen
    async with its_db.session_scope() as session:
        await session.execute(text("SELECT 1"))
    assert len(seen) == 1


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
            async with asyncio.timeout(0.03), its_db.unit_of_work(connection=connection) as uow:
                await insert(its_db, "x")
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
