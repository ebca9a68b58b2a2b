"""Handing a unit of work to another task, and tasks that meet none."""

from __future__ import annotations

import asyncio

import pytest

from tests.database.conftest import MakeDb
from tests.database.ledger import (
    Observer,
    assert_nothing_is_held,
    insert,
    pid_of,
)
from timber.database.manager import AsyncDatabaseManager
from timber.database.unit_of_work import UnitOfWork
from timber.errors import UnitOfWorkClosedError, UnitOfWorkSharedError


async def test_once_it_has_ended_tasks_that_inherited_it_are_outside(
    db: AsyncDatabaseManager, observer: Observer
):
    ended = asyncio.Event()

    async def later() -> None:
        await ended.wait()
        assert db.current() is None
        await insert(db, "from the task")
        async with db.unit_of_work():
            await insert(db, "from its own unit of work")

    async with db.unit_of_work():
        task = asyncio.create_task(later())
        await insert(db, "inside")
    ended.set()
    await task
    assert await observer.notes() == ["from its own unit of work", "from the task", "inside"]


async def test_adopt_hands_it_to_the_current_task(db: AsyncDatabaseManager, observer: Observer):
    uow = db.unit_of_work()

    async def work() -> None:
        uow.adopt()
        await insert(db, "adopted")
        async with uow.savepoint():
            await insert(db, "adopted, in a savepoint")

    async with uow:
        await insert(db, "before")
        await asyncio.create_task(work())
        with pytest.raises(UnitOfWorkSharedError):
            await insert(db, "no longer ours")
        uow.adopt()
        await insert(db, "after")
    assert len(await observer.notes()) == 4


async def test_a_task_that_did_not_inherit_it_can_adopt_it(
    db: AsyncDatabaseManager, observer: Observer
):
    """As with a fixture that runs in another context than its test."""
    handed = asyncio.Queue[UnitOfWork]()
    done = asyncio.Event()

    async def fixture() -> None:
        async with db.unit_of_work() as uow:
            await handed.put(uow)
            await done.wait()
            uow.adopt()

    task = asyncio.create_task(fixture())
    uow = await handed.get()
    await insert(db, "outside")
    assert await observer.notes() == ["outside"]
    uow.adopt()
    await insert(db, "inside")
    assert await observer.notes() == ["outside"]
    done.set()
    await task
    assert await observer.notes() == ["inside", "outside"]


async def test_adopting_a_nested_one_takes_the_whole_transaction(
    db: AsyncDatabaseManager, observer: Observer
):
    async with db.unit_of_work() as outer:
        async with db.unit_of_work() as inner:

            async def work() -> None:
                inner.adopt()
                await insert(db, "inner")

            await asyncio.create_task(work())
            inner.adopt()
        await insert(db, "outer")
        assert db.current() is outer
    assert await observer.notes() == ["inner", "outer"]


async def test_an_ended_one_cannot_be_adopted(db: AsyncDatabaseManager):
    uow = db.unit_of_work()
    with pytest.raises(UnitOfWorkClosedError):
        uow.adopt()
    async with uow:
        pass
    with pytest.raises(UnitOfWorkClosedError):
        uow.adopt()


async def test_one_left_by_a_task_that_is_gone_can_be_ended_by_whoever_cleans_up(
    db: AsyncDatabaseManager, observer: Observer
):
    uow = db.unit_of_work()

    async def enter() -> None:
        await uow.__aenter__()
        await insert(db, "abandoned")

    await asyncio.create_task(enter())
    await uow.__aexit__(None, None, None)
    assert uow.outcome == "committed"
    assert await observer.notes() == ["abandoned"]
    assert_nothing_is_held(db)


async def test_two_tasks_that_enter_their_own_do_not_meet(
    db: AsyncDatabaseManager, observer: Observer
):
    pids: set[int] = set()
    both = asyncio.Barrier(2)

    async def work(number: int) -> None:
        async with db.unit_of_work():
            await insert(db, str(number))
            pids.add(await pid_of(db))
            await both.wait()
            if number:
                raise LookupError

    await asyncio.gather(work(0), work(1), return_exceptions=True)
    assert len(pids) == 2
    assert await observer.notes() == ["0"]


async def test_units_of_work_of_two_managers_do_not_meet(make_db: MakeDb, observer: Observer):
    one, two = make_db(), make_db()
    with pytest.raises(LookupError):
        async with one.unit_of_work() as first:
            async with two.unit_of_work() as second:
                assert (one.current(), two.current()) == (first, second)
                await insert(one, "one")
                await insert(two, "two")
            assert second.outcome == "committed"
            assert await observer.notes() == ["two"]
            raise LookupError
    assert first.outcome == "rolled_back"
    assert await observer.notes() == ["two"]
