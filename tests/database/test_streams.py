"""Rows by a cursor on the server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.database.conftest import MakeDb
from tests.database.ledger import (
    DIVIDE,
    KEYS,
    CallerError,
    Observer,
    assert_nothing_is_held,
    insert,
    messages,
)
from tests.harness.proxy import Proxy
from timber.database.manager import AsyncDatabaseManager
from timber.database.statements import Statement
from timber.errors import (
    ServiceError,
    UnavailableError,
    UnitOfWorkDoomedError,
    UnitOfWorkSharedError,
    ValidationError,
)

SERIES = Statement("SELECT n FROM generate_series(1, $1::int) n", label="series")


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize(
    ("rows", "batch", "sizes"),
    [(0, 10, []), (1, 10, [1]), (10, 10, [10]), (25, 10, [10, 10, 5]), (3, 1, [1, 1, 1])],
)
async def test_every_row_comes_once_and_in_order(
    db: AsyncDatabaseManager, rows: int, batch: int, sizes: list[int], inside: bool
):
    async def read() -> list[list[int]]:
        async with db.cursor(SERIES, (rows,), batch=batch) as batches:
            return [[row["n"] for row in rows_] async for rows_ in batches]

    if inside:
        async with db.unit_of_work():
            found = await read()
    else:
        found = await read()
    assert [len(part) for part in found] == sizes
    assert [n for part in found for n in part] == list(range(1, rows + 1))
    assert_nothing_is_held(db)


async def test_rows_are_fetched_batch_by_batch(db: AsyncDatabaseManager):
    sent = await messages(db)
    async with db.cursor(SERIES, (1_000_000,), batch=10) as batches:
        async for _ in batches:
            break
    before = sent.packets
    assert before < 12, "it did not fetch the rest"
    assert_nothing_is_held(db)


@pytest.mark.parametrize("error", [CallerError(), OSError("the caller's"), TimeoutError()])
@pytest.mark.parametrize("inside", [False, True])
async def test_what_the_reader_raises_passes_unchanged_and_dooms_nothing(
    db: AsyncDatabaseManager, observer: Observer, error: Exception, inside: bool
):
    async def read() -> None:
        with pytest.raises(type(error)) as caught:
            async with db.cursor(SERIES, (5,), batch=2) as batches:
                async for _ in batches:
                    raise error
        assert caught.value is error

    if inside:
        async with db.unit_of_work() as uow:
            await read()
            await insert(db, "after")
        assert uow.outcome == "committed"
        assert await observer.notes() == ["after"]
    else:
        await read()
    assert_nothing_is_held(db)


@pytest.mark.parametrize("inside", [False, True])
async def test_an_error_at_its_beginning_or_later_is_timbers(
    db: AsyncDatabaseManager, inside: bool
):
    late = Statement("SELECT 1 / (3 - n) FROM generate_series(1, 5) n", label="late")
    for statement, args in ((DIVIDE, (0,)), (late, ()), (DIVIDE, ("no number",))):

        async def read(statement: Statement = statement, args: Any = args) -> None:
            async with db.cursor(statement, args, batch=1) as batches:
                async for _ in batches:
                    pass

        with pytest.raises(ValidationError):
            if inside:
                async with db.unit_of_work():
                    await read()
            else:
                await read()
    assert_nothing_is_held(db)


async def test_in_a_doomed_unit_of_work_it_is_refused(db: AsyncDatabaseManager):
    with pytest.raises(UnitOfWorkDoomedError):
        async with db.unit_of_work():
            with pytest.raises(ValidationError):
                await db.fetch(DIVIDE, (0,))
            with pytest.raises(UnitOfWorkDoomedError):
                async with db.cursor(KEYS):
                    pass


async def test_the_batches_of_a_unit_of_work_belong_to_its_task(db: AsyncDatabaseManager):
    async with db.unit_of_work(), db.cursor(SERIES, (5,), batch=2) as batches:
        with pytest.raises(UnitOfWorkSharedError):
            await asyncio.gather(_next(batches))
        assert db.current() is not None


async def _next(batches: Any) -> Any:
    return await anext(batches)


async def test_it_sees_one_moment_whatever_is_written_meanwhile(
    db: AsyncDatabaseManager, observer: Observer
):
    for _ in range(3):
        await insert(db)
    seen = 0
    async with db.cursor(KEYS, batch=1) as batches:
        async for _ in batches:
            seen += 1
            await insert(db)
    assert seen == 3
    assert await observer.count() == 6


async def test_two_at_once_in_one_unit_of_work(db: AsyncDatabaseManager):
    async with (
        db.unit_of_work(),
        db.cursor(SERIES, (3,), batch=1) as one,
        db.cursor(SERIES, (3,), batch=1) as two,
    ):
        pairs = [((await anext(one))[0][0], (await anext(two))[0][0]) for _ in range(3)]
    assert pairs == [(1, 1), (2, 2), (3, 3)]


async def test_a_slow_reader_is_not_cut_off_by_the_idle_timeout(make_db: MakeDb):
    db = make_db(idle_in_transaction_session_timeout=0.05)
    seen = 0
    async with db.cursor(SERIES, (3,), batch=1) as batches:
        async for _ in batches:
            seen += 1
            await asyncio.sleep(0.08)
    assert seen == 3


async def test_a_unit_of_work_that_sleeps_is_cut_off_by_it_and_says_so(
    make_db: MakeDb, observer: Observer
):
    db = make_db(idle_in_transaction_session_timeout=0.05)
    with pytest.raises(ServiceError) as caught:
        async with db.unit_of_work() as uow:
            await insert(db, "x")
            await asyncio.sleep(0.15)
            await insert(db, "y")
    assert isinstance(caught.value, UnavailableError)
    assert uow.outcome == "rolled_back"
    assert await observer.count() == 0
    assert_nothing_is_held(db)


async def test_a_connection_lost_on_the_way_is_an_error_and_holds_nothing(
    make_db: MakeDb, proxy: Proxy
):
    db = make_db(proxy.url)
    for inside in (False, True):
        await db.ping()
        with pytest.raises(UnavailableError):
            if inside:
                async with db.unit_of_work(), db.cursor(SERIES, (100,), batch=1) as batches:
                    await anext(batches)
                    proxy.cut_all()
                    await anext(batches)
            else:
                async with db.cursor(SERIES, (100,), batch=1) as batches:
                    await anext(batches)
                    proxy.cut_all()
                    await anext(batches)
        assert_nothing_is_held(db)
