"""A connection held over a wait that is not the database's: the code that waits is named."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncGenerator

import pytest
from sqlalchemy import text

from tests.database.conftest import MakeDb
from tests.database.ledger import SLEEP, insert
from timber.database.manager import AsyncDatabaseManager
from timber.database.statements import Statement


@pytest.fixture
def db(make_db: MakeDb, caplog: pytest.LogCaptureFixture) -> AsyncDatabaseManager:
    caplog.set_level(logging.WARNING, "timber.pool")
    return make_db(held_seconds=0.1)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.name == "timber.pool"]


async def call_a_service() -> None:
    await asyncio.sleep(0.3)


async def test_the_line_that_waits_is_named_while_it_waits(
    db: AsyncDatabaseManager, caplog: pytest.LogCaptureFixture
):
    async with db.unit_of_work():
        await insert(db)
        await call_a_service()
        assert len(warnings(caplog)) == 1, "once, and while it is held"
    [message] = warnings(caplog)
    line = call_a_service.__code__.co_firstlineno + 1
    assert f"{__file__}:{line}, in call_a_service" in message
    assert re.search(r"sent nothing for 0\.\d s", message)
    assert db.holding.warned == 1


async def test_each_unit_of_work_is_named_once(
    db: AsyncDatabaseManager, caplog: pytest.LogCaptureFixture
):
    async def idle() -> None:
        async with db.unit_of_work():
            await insert(db)
            await call_a_service()
            await insert(db)
            await call_a_service()

    await asyncio.gather(*(idle() for _ in range(3)))
    assert len(warnings(caplog)) == 3


async def test_waiting_for_the_database_is_no_such_wait(
    db: AsyncDatabaseManager, caplog: pytest.LogCaptureFixture
):
    sleep = Statement("SELECT pg_sleep(0.3)::text AS n", label="sleep")
    async with db.unit_of_work() as uow:
        await db.fetch(SLEEP, (0.3,))
        await uow.session.execute(text("SELECT pg_sleep(0.3)"))
        async with uow.savepoint(), db.cursor(sleep) as batches:
            async for _ in batches:
                pass
        await db.execute(Statement("DO $$ BEGIN PERFORM pg_sleep(0.3); END $$", label="do"))
    assert warnings(caplog) == []


async def test_nor_is_waiting_without_a_connection(
    db: AsyncDatabaseManager, caplog: pytest.LogCaptureFixture
):
    async with db.unit_of_work():
        await call_a_service()  # nothing has been sent yet
        await insert(db)
    await call_a_service()
    assert warnings(caplog) == []


async def test_what_waits_inside_of_a_generator_is_found(
    db: AsyncDatabaseManager, caplog: pytest.LogCaptureFixture
):
    async def items() -> AsyncGenerator[int]:
        await call_a_service()
        yield 1

    async with db.unit_of_work():
        await insert(db)
        async for _ in items():
            pass
    [message] = warnings(caplog)
    assert __file__ in message


async def test_it_can_be_switched_off(make_db: MakeDb, caplog: pytest.LogCaptureFixture):
    db = make_db(held_seconds=None)
    async with db.unit_of_work():
        await insert(db)
        await call_a_service()
    assert warnings(caplog) == []
