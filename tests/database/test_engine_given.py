"""A manager on an engine, or a unit of work on a connection, that belongs to somebody else."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from tests.database.ledger import (
    INSERT_CODE,
    KEYS,
    Entry,
    Observer,
    insert,
    pid_of,
)
from timber.database.manager import AsyncDatabaseManager
from timber.errors import ConflictError

INSERT = text("INSERT INTO entry (id, note) VALUES (gen_random_uuid(), :note)")


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
    its_db.moments.before_execute.append(lambda _, clause: seen.append(clause))
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
    assert not seen
    async with its_db.session_scope() as session:
        await session.execute(text("SELECT 1"))
    assert len(seen) == 1
