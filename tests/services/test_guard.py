"""An error out of a service method that has written something dooms the unit of work around it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from timber import (
    SessionDTO,
    SessionService,
    Timber,
    UnitOfWorkDoomedError,
    UnitOfWorkSharedError,
)


class Careless(SessionService[SessionDTO]):
    """Methods as users write them, without a transaction of their own."""

    async def two_and_fail(self) -> None:
        """Write and fail."""
        await self.create_session("user-1", "research")
        raise ZeroDivisionError

    async def look_and_fail(self) -> None:
        await self.get_user_sessions("user-1")
        raise ZeroDivisionError

    async def undo_and_fail(self) -> None:
        async with self.db.join_or_begin() as uow, uow.savepoint():
            raise ZeroDivisionError

    @asynccontextmanager
    async def around(self) -> AsyncIterator[None]:
        yield

    async def each(self) -> AsyncIterator[int]:
        yield 1


@pytest.fixture
def careless(timber: Timber) -> Careless:
    return timber.service(Careless)


async def test_half_of_a_call_is_never_committed(timber, careless):
    uow = timber.unit_of_work()
    with pytest.raises(UnitOfWorkDoomedError):
        async with uow:
            with pytest.raises(ZeroDivisionError):
                await careless.two_and_fail()
            with pytest.raises(UnitOfWorkDoomedError):
                await careless.get_user_sessions("user-1")
    assert uow.outcome == "rolled_back"
    assert await careless.count_user_sessions("user-1") == 0


async def test_what_fails_inside_a_savepoint_leaves_the_rest(timber, careless):
    async with timber.unit_of_work() as uow:
        await careless.create_session("user-1", "research")
        with pytest.raises(ZeroDivisionError):
            async with uow.savepoint():
                await careless.two_and_fail()
        await careless.create_session("user-1", "trading")
    assert await careless.count_user_sessions("user-1", by="session_type") == {
        "research": 1,
        "trading": 1,
    }


@pytest.mark.parametrize("method", ["look_and_fail", "undo_and_fail"])
async def test_a_call_that_wrote_nothing_dooms_nothing(timber, careless, method):
    async with timber.unit_of_work():
        with pytest.raises(ZeroDivisionError):
            await getattr(careless, method)()
        await careless.create_session("user-1", "research")
    assert await careless.count_user_sessions("user-1") == 1


async def test_a_cancelled_call_that_wrote_dooms_too(timber, careless):
    uow = timber.unit_of_work()
    with pytest.raises(UnitOfWorkDoomedError):
        async with uow:
            await careless.create_session("user-1", "research")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await self_and_sleep(careless)
    assert await careless.count_user_sessions("user-1") == 0


async def self_and_sleep(careless: Careless) -> None:
    class Sleepy(Careless):
        async def write_and_sleep(self) -> None:
            await self.create_session("user-1", "research")
            await asyncio.sleep(10)

    await Sleepy(careless.db, registry=careless.registry).write_and_sleep()


async def test_outside_of_a_unit_of_work_each_statement_stands_alone(careless):
    with pytest.raises(ZeroDivisionError):
        await careless.two_and_fail()
    assert await careless.count_user_sessions("user-1") == 1


async def test_a_call_from_another_task_is_refused_at_its_line(timber, careless):
    async with timber.unit_of_work():
        with pytest.raises(UnitOfWorkSharedError):
            await asyncio.create_task(careless.get_user_sessions("user-1"))


def test_methods_stay_what_they_are():
    assert inspect.iscoroutinefunction(Careless.two_and_fail)
    assert Careless.two_and_fail.__doc__ == "Write and fail."
    assert str(inspect.signature(SessionService.complete_session)).startswith("(self, session_id:")
    assert not inspect.iscoroutinefunction(Careless.around)
    assert inspect.isasyncgenfunction(Careless.each)
