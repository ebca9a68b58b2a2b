"""A nested unit of work is a savepoint; an independent one is a transaction of its own from a reserve of the pool."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.database.conftest import MakeDb
from tests.database.ledger import (
    IN_TRANSACTION,
    CallerError,
    Observer,
    assert_nothing_is_held,
    insert,
    pid_of,
)
from timber.database.manager import AsyncDatabaseManager
from timber.database.statements import Statement
from timber.errors import PoolTimeoutError, UnitOfWorkClosedError, UsageError

_SHOW_ISOLATION = Statement("SHOW transaction_isolation", label="show")


async def test_a_nested_one_shares_connection_and_transaction(
    db: AsyncDatabaseManager, observer: Observer
):
    async with db.unit_of_work() as outer:
        await insert(db, "outer")
        xid = (await db.fetch(IN_TRANSACTION))[0]["xid"]
        async with db.unit_of_work() as inner:
            assert db.current() is inner
            await insert(db, "inner")
        assert inner.outcome is None, "it shares the outcome of the one around it"
        assert db.current() is outer
        assert db.get_pool_status()["checked_out"] == 1
        assert (await db.fetch(IN_TRANSACTION))[0]["xid"] == xid
        assert await observer.count() == 0
    assert inner.outcome == outer.outcome == "committed"
    assert await observer.notes() == ["inner", "outer"]


async def test_a_nested_one_that_fails_is_undone_alone(
    db: AsyncDatabaseManager, observer: Observer
):
    async with db.unit_of_work() as outer:
        await insert(db, "outer")
        with pytest.raises(CallerError):
            async with db.unit_of_work() as inner:
                await insert(db, "inner")
                raise CallerError
        assert inner.outcome == "rolled_back"
        await insert(db, "after")
    assert outer.outcome == "committed"
    assert inner.outcome == "rolled_back"
    assert await observer.notes() == ["after", "outer"]


async def test_a_nested_one_that_ended_well_is_lost_with_the_outer(
    db: AsyncDatabaseManager, observer: Observer
):
    with pytest.raises(CallerError):
        async with db.unit_of_work():
            async with db.unit_of_work() as inner:
                await insert(db, "inner")
            raise CallerError
    assert inner.outcome == "rolled_back"
    assert await observer.count() == 0


@pytest.mark.parametrize("failing", range(5))
async def test_savepoints_five_deep_undo_from_the_one_that_failed(
    db: AsyncDatabaseManager, observer: Observer, failing: int
):
    async def descend(depth: int) -> None:
        if depth == 5:
            return
        try:
            async with db.unit_of_work():
                await insert(db, f"{depth}")
                await descend(depth + 1)
                await insert(db, f"{depth} after")
                if depth == failing:
                    raise CallerError
        except CallerError:
            pass

    async with db.unit_of_work():
        await descend(0)
    expected = [note for depth in range(failing) for note in (f"{depth}", f"{depth} after")]
    assert await observer.notes() == expected


async def test_savepoints_and_nested_units_mix(db: AsyncDatabaseManager, observer: Observer):
    async with db.unit_of_work() as uow:
        async with uow.savepoint():
            async with db.unit_of_work() as inner:
                await insert(db, "kept")
                with pytest.raises(CallerError):
                    async with inner.savepoint():
                        await insert(db, "undone")
                        raise CallerError
    assert await observer.notes() == ["kept"]


async def test_a_savepoint_is_used_once_and_ends_in_order(
    db: AsyncDatabaseManager, observer: Observer
):
    async with db.unit_of_work() as uow:
        savepoint = uow.savepoint()
        async with savepoint:
            await insert(db, "once")
        with pytest.raises(UnitOfWorkClosedError):
            async with savepoint:
                pass
    with pytest.raises(UsageError, match="reverse order"):
        async with db.unit_of_work() as uow:
            first, second = uow.savepoint(), uow.savepoint()
            await first.__aenter__()
            await insert(db, "first")
            await second.__aenter__()
            await insert(db, "second")
            await first.__aexit__(None, None, None)
    assert uow.outcome == "rolled_back"
    assert await observer.notes() == ["once"]


async def test_a_savepoint_left_open_is_an_error_and_nothing_is_committed(
    db: AsyncDatabaseManager, observer: Observer
):
    with pytest.raises(UsageError, match="still open"):
        async with db.unit_of_work() as uow:
            await uow.savepoint().__aenter__()
            await insert(db, "x")
    assert uow.outcome == "rolled_back"
    assert await observer.count() == 0
    assert_nothing_is_held(db)


@pytest.mark.parametrize(
    "options",
    [
        {"isolation": "serializable"},
        {"isolation": "read committed"},
        {"read_only": True},
        {"deferrable": True},
        {"statement_timeout": 1},
        {"lock_timeout": 1},
    ],
    ids=lambda options: next(iter(options)),
)
async def test_options_of_a_transaction_on_a_nested_one_are_refused(
    db: AsyncDatabaseManager, observer: Observer, options: dict[str, Any]
):
    async with db.unit_of_work():
        await insert(db, "outer")
        with pytest.raises(UsageError, match="outermost"):
            async with db.unit_of_work(**options):
                await insert(db, "inner")
        await insert(db, "outer goes on")
    assert await observer.notes() == ["outer", "outer goes on"]


async def test_run_inside_a_unit_of_work_is_refused(db: AsyncDatabaseManager, observer: Observer):
    async with db.unit_of_work():
        with pytest.raises(UsageError, match="around the whole"):
            await db.run(lambda _: insert(db, "x"))
    assert await observer.count() == 0


async def test_a_given_connection_on_a_nested_one_is_refused(db: AsyncDatabaseManager):
    async with db.engine.connect() as connection, db.unit_of_work():
        with pytest.raises(UsageError):
            async with db.unit_of_work(connection=connection):
                pass


async def test_an_independent_one_is_a_transaction_of_its_own(
    db: AsyncDatabaseManager, observer: Observer
):
    with pytest.raises(CallerError):
        async with db.unit_of_work() as outer:
            await insert(db, "outer")
            pid = await pid_of(db)
            async with db.unit_of_work(independent=True) as inner:
                await insert(db, "independent")
                assert await pid_of(db) != pid
                assert db.current() is inner
            assert inner.outcome == "committed"
            assert db.current() is outer
            assert await pid_of(db) == pid
            raise CallerError
    assert (outer.outcome, inner.outcome) == ("rolled_back", "committed")
    assert await observer.notes() == ["independent"]


async def test_an_independent_one_that_fails_leaves_the_outer_alone(
    db: AsyncDatabaseManager, observer: Observer
):
    async with db.unit_of_work():
        await insert(db, "outer")
        with pytest.raises(CallerError):
            async with db.unit_of_work(independent=True):
                await insert(db, "independent")
                raise CallerError
        await insert(db, "outer goes on")
    assert await observer.notes() == ["outer", "outer goes on"]


async def test_an_independent_one_may_have_options_and_nested_ones(
    db: AsyncDatabaseManager, observer: Observer
):
    async with (
        db.unit_of_work(),
        db.unit_of_work(independent=True, isolation="repeatable read", lock_timeout=1),
    ):
        async with db.unit_of_work():
            await insert(db, "nested in the independent one")
        rows = await db.fetch(_SHOW_ISOLATION)
        assert rows[0][0] == "repeatable read"
    assert await observer.count() == 1


async def test_an_independent_one_inside_another_is_refused(
    db: AsyncDatabaseManager, observer: Observer
):
    async with db.unit_of_work(), db.unit_of_work(independent=True):
        with pytest.raises(UsageError, match="third connection"):
            async with db.unit_of_work(independent=True):
                await insert(db, "third")
        async with db.unit_of_work():
            with pytest.raises(UsageError, match="third connection"):
                async with db.unit_of_work(independent=True):
                    await insert(db, "third")
    assert await observer.count() == 0
    assert_nothing_is_held(db)


async def test_an_independent_one_with_nothing_around_it_is_an_ordinary_one(
    db: AsyncDatabaseManager, observer: Observer
):
    async with db.unit_of_work(independent=True), db.unit_of_work(independent=True):
        await insert(db, "x")
    assert await observer.count() == 1


async def test_tasks_ten_times_the_pool_nested_three_deep_with_independent_ones_all_end(
    make_db: MakeDb, observer: Observer, record_property: Callable[[str, object], None]
):
    db = make_db(pool_size=3, max_overflow=2, pool_timeout=30)
    most = 0

    async def work(number: int) -> None:
        nonlocal most
        async with db.unit_of_work():
            await insert(db, f"{number} outer")
            pid = await pid_of(db)
            async with db.unit_of_work():
                await insert(db, f"{number} middle")
                async with db.unit_of_work():
                    await insert(db, f"{number} inner")
                    assert await pid_of(db) == pid, "one connection a task"
                    most = max(most, db.get_pool_status()["checked_out"])
                    if number % 3 == 0:
                        async with db.unit_of_work(independent=True):
                            await insert(db, f"{number} independent")
                            most = max(most, db.get_pool_status()["checked_out"])
            assert await pid_of(db) == pid

    async with asyncio.timeout(30):
        await asyncio.gather(*(work(n) for n in range(50)))
    assert await observer.count() == 50 * 3 + 17
    assert most <= 5
    assert_nothing_is_held(db)
    record_property("counts", f"50 tasks three deep on 5 connections, 17 independent, {most} used")


async def test_without_a_reserve_an_independent_one_gives_up_in_time(make_db: MakeDb):
    db = make_db(pool_size=1, max_overflow=0, pool_timeout=0.05)
    async with db.unit_of_work():
        await insert(db, "outer")
        with pytest.raises(PoolTimeoutError):
            async with db.unit_of_work(independent=True):
                await insert(db, "independent")
        await insert(db, "outer goes on")


async def test_a_level_of_isolation_that_there_is_not_is_refused_at_its_line(
    db: AsyncDatabaseManager,
):
    with pytest.raises(UsageError, match="read committed, repeatable read, serializable"):
        db.unit_of_work(isolation="serialisable")  # type: ignore[arg-type]
