"""Any number of rows in bounded memory, and the connection always comes back."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.database.ledger import assert_nothing_is_held
from tests.repository.conftest import MakeDb, repository
from tests.repository.models import InvoiceDTO, InvoiceLine, ThingDTO, invoice
from timber.database.manager import AsyncDatabaseManager
from timber.database.statements import Statement
from timber.errors import ConflictError, UnavailableError
from timber.repository import Repository

Things = Repository[ThingDTO]


@pytest.fixture
async def filled(things: Things) -> Things:
    await things.insert_many({"id": number, "number": number % 7} for number in range(1000))
    return things


async def test_all_rows_come_whatever_the_batch(filled: Things) -> None:
    for batch in (1, 7, 1000, 100_000):
        async with filled.stream(batch=batch, order_by="id") as rows:
            assert [row.id async for row in rows] == list(range(1000))
        if batch == 1:
            continue
        async with filled.stream(filled.where.number > 3, batch=batch, number=5) as rows:
            assert len([row async for row in rows]) == 143


async def test_a_stream_of_nothing_ends_at_once(things: Things) -> None:
    async with things.stream() as rows:
        assert [row async for row in rows] == []


async def test_rows_are_fetched_a_batch_at_a_time(filled: Things, db: AsyncDatabaseManager) -> None:
    """Nothing is read ahead of the consumer but its batch."""
    async with filled.stream(batch=10, order_by="id") as rows:
        async for row in rows:
            if row.id == 25:
                break
        assert db.get_pool_status()["checked_out"] == 1
    assert_nothing_is_held(db)


async def test_breaking_out_gives_the_connection_back(
    filled: Things, db: AsyncDatabaseManager
) -> None:
    for _ in range(30):
        async with filled.stream(batch=3) as rows:
            async for _row in rows:
                break
        async with filled.stream():
            pass
        assert_nothing_is_held(db)
    assert await filled.count() == 1000


async def test_an_exception_inside_passes_and_gives_the_connection_back(
    filled: Things, db: AsyncDatabaseManager
) -> None:
    with pytest.raises(ZeroDivisionError):
        async with filled.stream(batch=3) as rows:
            async for row in rows:
                _ = 1 // (row.id - row.id)
    assert_nothing_is_held(db)
    assert await filled.count() == 1000


async def test_a_stream_sees_the_rows_as_they_were_when_it_began(filled: Things) -> None:
    seen = 0
    async with filled.stream(batch=100) as rows:
        async for row in rows:
            if seen == 0:
                await filled.delete_where(filled.where.id >= 500)
                await filled.insert({"id": 5000})
            assert row.id < 1000
            seen += 1
    assert seen == 1000


async def test_within_a_unit_of_work_other_statements_go_on_in_between(
    filled: Things, db: AsyncDatabaseManager
) -> None:
    async with db.unit_of_work() as uow:
        await filled.insert({"id": 2000, "number": 50})
        async with filled.stream(batch=50, order_by="-id") as rows:
            count = 0
            async for row in rows:
                if row.id % 100 == 0:
                    await filled.update(row.id, {"number": row.id})
                    assert (await filled.get(row.id)).number == row.id
                if row.id == 1000:
                    async with uow.savepoint():
                        await filled.insert({"id": 3000})
                count += 1
        assert count == 1001  # its own row too
        assert db.get_pool_status()["checked_out"] == 1
    assert uow.outcome == "committed"
    assert await filled.count(filled.where.number >= 100) == 10


async def test_two_streams_of_one_unit_of_work_go_side_by_side(
    filled: Things, db: AsyncDatabaseManager
) -> None:
    async with (
        db.unit_of_work(),
        filled.stream(batch=10, order_by="id") as up,
        filled.stream(batch=15, order_by="-id") as down,
    ):
        for number in range(100):
            assert (await anext(up)).id == number
            assert (await anext(down)).id == 999 - number


async def test_a_unit_of_work_goes_on_after_a_stream_was_left_early(
    filled: Things, db: AsyncDatabaseManager
) -> None:
    async with db.unit_of_work() as uow:
        async with filled.stream(batch=5) as rows:
            async for _row in rows:
                break
        await filled.insert({"id": 2000})
        with pytest.raises(ZeroDivisionError):
            async with filled.stream(batch=5):
                raise ZeroDivisionError
        await filled.insert({"id": 2001})
    assert uow.outcome == "committed"
    assert await filled.count(filled.where.id >= 2000) == 2


async def test_a_stream_is_no_unit_of_work(filled: Things, db: AsyncDatabaseManager) -> None:
    """What is written beside it stands by itself, also when the stream ends badly."""
    with pytest.raises(ConflictError):
        async with filled.stream(batch=5) as rows:
            async for row in rows:
                assert db.current() is None
                await filled.insert({"id": row.id + 5000})
                await filled.insert({"id": row.id + 5000})
    assert await filled.count(filled.where.id >= 5000) == 1


@pytest.mark.parametrize("when", ["begin", "first", "batch"])
async def test_a_cancelled_stream_gives_its_connection_back(
    filled: Things, db: AsyncDatabaseManager, when: str
) -> None:
    steps = {"begin": range(8), "first": range(4), "batch": range(4)}[when]

    async def read() -> None:
        async with filled.stream(batch=2 if when == "batch" else 1000) as rows:
            async for _row in rows:
                pass

    for step in steps:
        task = asyncio.create_task(read())
        for _ in range(step + {"begin": 0, "first": 8, "batch": 20}[when]):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert_nothing_is_held(db)
    assert await filled.count() == 1000


async def test_a_stream_that_is_cancelled_while_the_server_works(
    filled: Things, db: AsyncDatabaseManager
) -> None:
    slow = sa.func.pg_sleep(5).cast(sa.Text) == ""

    async def read() -> None:
        async with filled.stream(slow) as rows:
            async for _row in rows:
                pass

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await read()
    assert_nothing_is_held(db)
    assert await filled.count() == 1000


async def test_an_error_of_the_server_in_the_middle_is_timbers(
    filled: Things, db: AsyncDatabaseManager
) -> None:
    table = filled.source.table
    fails = 1 / (table.c.id - 500) >= sa.func.coalesce(table.c.ratio, -1)
    seen = 0
    with pytest.raises(Exception) as caught:  # noqa: PT011  # its kind is looked at below
        async with filled.stream(fails, batch=10, order_by="id") as rows:
            async for _row in rows:
                seen += 1
    assert type(caught.value).__module__ == "timber.errors"
    assert_nothing_is_held(db)


async def test_a_lost_connection_in_the_middle_is_unavailable(
    filled: Things, db: AsyncDatabaseManager, make_db: MakeDb
) -> None:
    other = make_db()
    with pytest.raises(UnavailableError):
        async with filled.stream(batch=5) as rows:
            await anext(rows)
            await other.fetch(
                Statement(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND query LIKE '%things%'"
                    " AND pid <> pg_backend_pid()",
                    label="kill",
                )
            )
            async for _row in rows:
                pass
    assert_nothing_is_held(db)
    assert await filled.count() == 1000


async def test_rows_after_the_block_are_none(filled: Things) -> None:
    async with filled.stream(batch=5) as rows:
        await anext(rows)
    assert [row async for row in rows] == []


async def test_a_narrower_dto_is_streamed(
    make_db: MakeDb, invoices: Repository[InvoiceDTO]
) -> None:
    await invoices.insert_many(invoice(str(n)) for n in range(3))
    async with invoices.stream(into=InvoiceLine, order_by="number", owner="ann") as rows:
        assert [type(row) async for row in rows] == [InvoiceLine] * 3


ROWS = 200_000
PROGRAM = Path(__file__).with_name("stream_memory.py")


@pytest.mark.slow
async def test_memory_does_not_grow_with_the_number_of_rows(
    make_db: MakeDb, tables_url: str
) -> None:
    """A process of its own streams them, and tells its highest memory."""
    db = make_db(statement_timeout=120)
    jobs = repository(db, "Job")
    await jobs.insert_many({"kind": f"kind {n % 100}", "priority": n} for n in range(ROWS))
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, str(PROGRAM), tables_url],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    told = json.loads(done.stdout)
    assert told["rows"] == ROWS
    assert told["sum"] == ROWS * (ROWS - 1) // 2
    assert told["grown"] < 20 * 2**20, told
