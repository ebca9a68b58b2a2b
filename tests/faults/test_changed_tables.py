"""Tables that are changed under load: prepared statements go out of date, and whoever goes through run() does not notice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from uuid import uuid4

import pytest
from sqlalchemy import text

from tests.database.conftest import MakeDb
from tests.database.ledger import INSERT, SLEEP, Observer, assert_nothing_is_held
from tests.faults import rows
from tests.faults.report import Report, forms, seeded_bug
from timber.database import retry
from timber.database.statements import Statement
from timber.database.unit_of_work import UnitOfWork
from timber.errors import ServiceError

ROW = rows.CHANGED
EVERYTHING = Statement("SELECT * FROM changing", label="everything")
ADD = Statement("INSERT INTO changing (id) VALUES ($1) RETURNING *", label="add", returning=True)


@pytest.fixture
async def changing(observer: Observer) -> AsyncGenerator[None]:
    await observer.connection.execute("CREATE TABLE changing (id uuid, note text)")
    yield
    await observer.connection.execute("DROP TABLE changing")


async def change(size: int, make_db: MakeDb, observer: Observer, report: Report) -> None:
    report.version("PostgreSQL", await observer.value("SHOW server_version"))
    db = make_db(pool_size=6, max_overflow=0)
    errors: Counter[str] = Counter()
    over = False
    done = 0

    async def body(unit: UnitOfWork) -> None:
        await db.fetch(EVERYTHING)
        await db.write(ADD, (uuid4(),))
        await unit.session.execute(text(EVERYTHING.sql))
        await db.fetch(SLEEP, (0.002,))

    async def client() -> None:
        nonlocal done
        while not over:
            try:
                await db.run(body)
                await db.fetch(EVERYTHING)
                await db.write(INSERT, (uuid4(), "beside"))
            except ServiceError as error:
                errors[f"{type(error).__name__}: {error}"] += 1
            else:
                done += 1

    clients = [asyncio.create_task(client()) for _ in range(5)]
    for number in range(size):
        await asyncio.sleep(0.03)
        for action in (
            f"ADD COLUMN c{number} int",
            "ALTER COLUMN note TYPE varchar",
            "ALTER COLUMN note TYPE text",
        ):
            await observer.connection.execute(f"ALTER TABLE changing {action}")
        await observer.connection.execute("TRUNCATE changing")
        if number >= 8:
            await observer.connection.execute(f"ALTER TABLE changing DROP COLUMN c{number - 8}")
    over = True
    await asyncio.gather(*clients)
    report.count("changes", 3 * size)
    report.count("transactions", done)
    report.count("run again", sum(db.monitor.retries.values()))
    report.count("errors", sum(errors.values()))
    assert not errors, f"errors: {errors}"
    assert await observer.count() == done
    assert_nothing_is_held(db)


@forms(8, 400, timeout=600)
async def test_whoever_repeats_does_not_see_that_a_table_changes(
    size: int, make_db: MakeDb, observer: Observer, report: Report, changing: None
):
    await change(size, make_db, observer, report)


@seeded_bug("a prepared statement that is out of date is taken for final")
async def test_statements_out_of_date_that_are_not_repeated_are_caught(
    make_db: MakeDb,
    observer: Observer,
    report: Report,
    changing: None,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.delitem(retry.TRANSIENT, "0A000")  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match="errors"):
        await change(8, make_db, observer, report)
