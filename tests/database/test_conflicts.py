"""Conflicts of real transactions: lost, repeated as a whole, and done once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from uuid import UUID

import pytest
from sqlalchemy import text

from tests.database.conftest import MakeDb
from tests.database.ledger import (
    Observer,
    add,
    insert,
    pid_of,
)
from timber.database.manager import AsyncDatabaseManager
from timber.database.statements import Statement
from timber.database.unit_of_work import UnitOfWork
from timber.errors import (
    SerializationError,
)


async def test_a_serialization_failure_of_real_transactions(
    db: AsyncDatabaseManager, observer: Observer, record_property: Callable[[str, object], None]
):
    first, second = await insert(db, "a"), await insert(db, "b")
    bodies = 0

    async def move(read: UUID, write: UUID) -> None:
        """Write skew: each reads what the other writes."""

        async def body(unit: UnitOfWork) -> None:
            nonlocal bodies
            bodies += 1
            total = await unit.session.scalar(text("SELECT sum(amount) FROM entry"))
            await add(db, write, int(total or 0) + 1)

        await db.run(body, isolation="serializable")

    await asyncio.gather(
        *(move(first, second) for _ in range(3)), *(move(second, first) for _ in range(3))
    )
    amounts = sorted(
        row["amount"] for row in await observer.connection.fetch("SELECT amount FROM entry")
    )
    assert sum(amounts) == 2**6 - 1, "as if one after the other"
    assert bodies > 6, "at least one lost and was repeated"
    record_property("counts", f"6 transactions, {bodies} attempts")


async def test_without_run_a_serialization_failure_is_raised(
    db: AsyncDatabaseManager, observer: Observer
):
    key = await insert(db)
    with pytest.raises(SerializationError) as caught:
        async with db.unit_of_work(isolation="repeatable read"):
            await pid_of(db)
            await observer.connection.execute("UPDATE entry SET amount = 5")
            await add(db, key, 1)
    assert caught.value.sqlstate == "40001"
    assert caught.value.status == 503
    assert await observer.value("SELECT amount FROM entry") == 5


async def test_a_deadlock_of_real_transactions(db: AsyncDatabaseManager, observer: Observer):
    first, second = await insert(db), await insert(db)
    both = asyncio.Barrier(2)
    bodies = 0

    async def transfer(one: UUID, other: UUID) -> None:
        async def body(unit: UnitOfWork) -> None:
            nonlocal bodies
            bodies += 1
            await unit.session.execute(text("SET LOCAL deadlock_timeout = '10ms'"))
            await add(db, one, -1)
            if bodies <= 2:
                await both.wait()
            await add(db, other, 1)

        await db.run(body)

    async with asyncio.timeout(10):
        await asyncio.gather(transfer(first, second), transfer(second, first))
    assert bodies >= 3
    assert await observer.value("SELECT array_agg(amount) FROM entry") == [0, 0]


async def test_a_lone_write_that_lost_a_deadlock_is_repeated(make_db: MakeDb, observer: Observer):
    """It was rolled back, so it cannot happen twice."""
    db = make_db(pool_size=1, max_overflow=0)
    await db.execute(Statement("SET deadlock_timeout = '400ms'", label="set"))
    first, second = await insert(db, "1"), await insert(db, "2")
    await observer.connection.execute("SET deadlock_timeout = '10s'; BEGIN")
    await observer.connection.execute("SELECT FROM entry WHERE id = $1 FOR UPDATE", second)
    both = Statement(
        "UPDATE entry SET amount = amount + 1 WHERE id = (SELECT id FROM entry WHERE note = '1' FOR UPDATE)"
        " OR (SELECT true FROM entry WHERE note = '2' FOR UPDATE) RETURNING id",
        label="update both",
    )
    sent: list[str] = []
    db.monitor.listeners.append(lambda label, sql, seconds: sent.append(label))
    lone = asyncio.create_task(db.write(both, ()))
    await observer.wait_until_blocked(db.settings.application_name)
    with_first = asyncio.create_task(
        observer.connection.execute("UPDATE entry SET amount = amount + 10 WHERE id = $1", first)
    )
    async with asyncio.timeout(10):
        await with_first
        await observer.connection.execute("COMMIT")
        await lone
    assert len(sent) >= 2
    assert set(sent) == {"update both"}
