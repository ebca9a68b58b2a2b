"""The door of a database that is being closed: nobody new comes in, and those inside finish."""

from __future__ import annotations

import asyncio

import pytest

from tests.database.ledger import KEYS, Observer, insert
from timber.database.door import Door
from timber.database.manager import AsyncDatabaseManager
from timber.errors import UnavailableError, UsageError


async def test_an_empty_one_shuts_at_once():
    door = Door("here")
    assert await door.shut(0) == 0
    with pytest.raises(UnavailableError, match="here"), door:
        pass
    with pytest.raises(UnavailableError):
        door.begin()


async def test_it_waits_for_those_inside_and_lets_what_belongs_to_them_in():
    door = Door("here")
    go_on = asyncio.Event()

    async def work() -> str:
        begun = door.begin()
        try:
            await go_on.wait()
            with door:
                return "done"
        finally:
            door.end(begun)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    shutting = asyncio.create_task(door.shut(5))
    await asyncio.sleep(0.01)
    assert not shutting.done()
    with pytest.raises(UnavailableError), door:
        pass
    go_on.set()
    assert await task == "done"
    assert await shutting == 0


async def test_it_says_how_many_go_on_when_the_time_is_over():
    door = Door("here")
    begun = [door.begin() for _ in range(2)]

    async def shut() -> int:
        return await door.shut(0.01)

    import contextvars

    task = contextvars.Context().run(asyncio.get_running_loop().create_task, shut())
    assert await task == 2
    for work in reversed(begun):
        door.end(work)


async def test_to_shut_it_from_inside_would_wait_for_itself():
    door = Door("here")
    begun = door.begin()
    with pytest.raises(UsageError, match="waits for itself"):
        await door.shut(1)
    door.end(begun)
    assert await door.shut(1) == 0


async def test_a_unit_of_work_that_has_begun_finishes_while_it_is_shut(
    db: AsyncDatabaseManager, observer: Observer
):
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        async with db.unit_of_work() as uow:
            await insert(db, "before")
            inside.set()
            await go_on.wait()
            await insert(db, "after")
            async with uow.savepoint():
                await db.fetch(KEYS)
            async with db.unit_of_work(independent=True):
                await insert(db, "independent")

    task = asyncio.create_task(work())
    await inside.wait()
    shutting = asyncio.create_task(db.door.shut(5))
    await asyncio.sleep(0)
    for call in (db.fetch(KEYS), insert(db), db.run(lambda _: insert(db)), db.ping()):
        with pytest.raises(UnavailableError):
            await call
    with pytest.raises(UnavailableError):
        async with db.unit_of_work():
            await insert(db)
    with pytest.raises(UnavailableError):
        async with db.cursor(KEYS):
            pass
    go_on.set()
    await task
    assert await shutting == 0
    assert await observer.notes() == ["after", "before", "independent"]
