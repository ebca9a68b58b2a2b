"""A function that is a transaction: repeated when called alone, a part of the unit of work that is there."""

from __future__ import annotations

from uuid import UUID

import pytest

from tests.database.ledger import CallerError, Observer, add, assert_nothing_is_held, insert
from tests.database.test_retry import raising
from timber.app import Timber
from timber.database.manager import AsyncDatabaseManager
from timber.database.unit_of_work import UnitOfWork
from timber.errors import UnitOfWorkDoomedError, UsageError


async def test_it_is_repeated_as_a_whole(db: AsyncDatabaseManager, observer: Observer):
    tries: list[UnitOfWork] = []
    called: list[str] = []

    @db.transactional()
    async def work(uow: UnitOfWork, note: str, *, times: int) -> str:
        """Do it."""
        tries.append(uow)
        uow.on_commit(lambda: called.append(f"try {len(tries)}"))
        await insert(db, note)
        if len(tries) < times:
            await db.execute(raising("40001"))
        return note * 2

    assert await work("x", times=3) == "xx"
    assert [uow.outcome for uow in tries] == ["rolled_back", "rolled_back", "committed"]
    assert called == ["try 3"], "callbacks of a failed attempt are dropped"
    assert await observer.notes() == ["x"]
    assert (work.__name__, work.__doc__) == ("work", "Do it.")
    assert_nothing_is_held(db)


async def test_inside_a_unit_of_work_it_is_a_part_of_that(
    db: AsyncDatabaseManager, observer: Observer
):
    tries = 0

    @db.transactional()
    async def transfer(uow: UnitOfWork, source: UUID, target: UUID, amount: int) -> None:
        nonlocal tries
        tries += 1
        await add(db, source, -amount)
        await add(db, target, amount)

    async with db.unit_of_work() as outer:
        keys = [await insert(db), await insert(db)]
        await transfer(*keys, 5)
        assert db.current() is outer
    assert outer.outcome == "committed"

    with pytest.raises(CallerError):
        async with db.unit_of_work():
            await transfer(*keys, 5)
            raise CallerError
    amounts = [await observer.value("SELECT amount FROM entry WHERE id = $1", k) for k in keys]
    assert (amounts, tries) == ([-5, 5], 2)


async def test_a_part_that_fails_after_a_write_dooms_the_whole(
    db: AsyncDatabaseManager, observer: Observer
):
    @db.transactional()
    async def fails(uow: UnitOfWork) -> None:
        await insert(db, "half")
        raise CallerError

    with pytest.raises(UnitOfWorkDoomedError):
        async with db.unit_of_work():
            with pytest.raises(CallerError):
                await fails()
    assert await observer.notes() == []


async def test_the_isolation_is_that_of_the_outer_one_or_refused(db: AsyncDatabaseManager):
    @db.transactional(isolation="serializable", statement_timeout=5)
    async def work(uow: UnitOfWork) -> str | None:
        return uow.transaction.isolation

    assert await work() == "serializable"
    async with db.unit_of_work(isolation="serializable"):
        assert await work() == "serializable"
    async with db.unit_of_work():
        with pytest.raises(UsageError, match="isolation"):
            await work()


async def test_it_may_decorate_before_the_start(database_url: str):
    timber = Timber(database_url)

    @timber.transactional(isolation="repeatable read")
    async def work(uow: UnitOfWork) -> str | None:
        return uow.transaction.isolation

    with pytest.raises(UsageError, match="has not been started"):
        await work()
    async with timber:
        assert await work() == "repeatable read"
