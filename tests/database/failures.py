"""Calls that fail in a unit of work, each in another way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import uuid4

from sqlalchemy import text

from tests.database.ledger import (
    DIVIDE,
    INSERT_CODE,
    SLEEP,
    Counted,
    Entry,
)
from timber.database.manager import AsyncDatabaseManager
from timber.database.statements import Statement
from timber.database.unit_of_work import UnitOfWork
from timber.errors import (
    ConflictError,
    DatabaseError,
    QueryTimeoutError,
    ServiceError,
    StaleDataError,
    ValidationError,
)

Failing = Callable[[AsyncDatabaseManager, UnitOfWork], Awaitable[object]]


async def conflict(db: AsyncDatabaseManager, uow: UnitOfWork) -> None:
    await db.write(INSERT_CODE, (uuid4(), "taken"))


async def bad_read(db: AsyncDatabaseManager, uow: UnitOfWork) -> None:
    await db.fetch(DIVIDE, (0,))


async def missing_table(db: AsyncDatabaseManager, uow: UnitOfWork) -> None:
    await db.fetch(Statement("SELECT * FROM nowhere", label="x"))


async def bad_execute(db: AsyncDatabaseManager, uow: UnitOfWork) -> None:
    await db.execute(
        Statement("INSERT INTO entry (id, code) VALUES ($1, 'taken')", label="x"), (uuid4(),)
    )


async def bad_copy(db: AsyncDatabaseManager, uow: UnitOfWork) -> None:
    await db.copy("entry", ["id", "code"], [(uuid4(), "taken")])


async def unencodable_copy(db: AsyncDatabaseManager, uow: UnitOfWork) -> None:
    """The driver fails in the middle, and the server is told so."""
    await db.copy("entry", ["id", "note"], [(uuid4(), "good"), ("no uuid", "bad")])


async def bad_cursor(db: AsyncDatabaseManager, uow: UnitOfWork) -> None:
    statement = Statement("SELECT 1 / (3 - n) FROM generate_series(1, 5) n", label="x")
    async with db.cursor(statement, batch=1) as batches:
        async for _ in batches:
            pass


async def timeout(db: AsyncDatabaseManager, uow: UnitOfWork) -> None:
    await db.fetch(Statement("SET LOCAL statement_timeout = 20", label="x"))
    await db.fetch(SLEEP, (5,))


async def orm_conflict(db: AsyncDatabaseManager, uow: UnitOfWork) -> None:
    uow.session.add(Entry(code="taken"))
    await uow.session.flush()


async def orm_raw(db: AsyncDatabaseManager, uow: UnitOfWork) -> None:
    await uow.session.execute(
        text("INSERT INTO entry (id, code) VALUES (gen_random_uuid(), 'taken')")
    )


async def orm_stale(db: AsyncDatabaseManager, uow: UnitOfWork) -> None:
    """The server finds nothing wrong here: the ORM counts the rows that it updated."""
    counted = Counted(note="x")
    uow.session.add(counted)
    await uow.session.flush()
    await uow.session.execute(text("UPDATE counted SET version = version + 1"))
    counted.note = "y"
    await uow.session.flush()


async def orm_unfit(db: AsyncDatabaseManager, uow: UnitOfWork) -> None:
    """Something is written, then a row fails before it is sent."""
    uow.session.add(Entry(note="written by the ORM"))
    await uow.session.flush()
    uow.session.add(Entry(amount="not a number"))
    await uow.session.flush()


async def orm_unencodable(db: AsyncDatabaseManager, uow: UnitOfWork) -> None:
    uow.session.add(Entry(data={"x": object()}))
    await uow.session.flush()


FAILING: dict[Failing, type[ServiceError]] = {
    conflict: ConflictError,
    bad_read: ValidationError,
    missing_table: DatabaseError,
    bad_execute: ConflictError,
    bad_copy: ConflictError,
    unencodable_copy: ValidationError,
    bad_cursor: ValidationError,
    timeout: QueryTimeoutError,
    orm_conflict: ConflictError,
    orm_raw: ConflictError,
    orm_stale: StaleDataError,
    orm_unfit: ServiceError,
    orm_unencodable: ServiceError,
}
