"""A unit of work belongs to the task that entered it."""

from __future__ import annotations

import asyncio
import random
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest

from tests.database.ledger import (
    FIND,
    INSERT,
    INSERT_SILENTLY,
    KEYS,
    Entry,
    Observer,
    assert_nothing_is_held,
    insert,
    pid_of,
)
from timber.database.manager import AsyncDatabaseManager
from timber.database.unit_of_work import UnitOfWork
from timber.errors import UnitOfWorkClosedError, UnitOfWorkSharedError, UsageError


async def test_calls_in_the_task_that_entered_it_join_it(
    db: AsyncDatabaseManager, observer: Observer
):
    async def service() -> None:
        await insert(db, "from a service")

    async with db.unit_of_work() as uow:
        assert db.current() is uow
        await service()
        first = await pid_of(db)
        assert await pid_of(db) == first
        assert await observer.count() == 0
    assert await observer.notes() == ["from a service"]
    assert db.current() is None


async def test_the_error_names_the_cure(db: AsyncDatabaseManager):
    async with db.unit_of_work():
        with pytest.raises(UnitOfWorkSharedError, match=r"asyncio\.timeout.*adopt") as caught:
            await asyncio.gather(insert(db))
    assert caught.value.status == 500


async def _by_gather(call: Callable[[], Awaitable[object]]) -> None:
    await asyncio.gather(call())


async def _by_create_task(call: Callable[[], Awaitable[object]]) -> None:
    async def run() -> None:
        await call()

    await asyncio.create_task(run())


async def _by_task_group(call: Callable[[], Awaitable[object]]) -> None:
    async def run() -> None:
        await call()

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(run())
    except* UnitOfWorkSharedError as caught:
        raise caught.exceptions[0] from None


async def _by_shield(call: Callable[[], Awaitable[object]]) -> None:
    async def run() -> None:
        await call()

    await asyncio.shield(run())


WAYS = [_by_gather, _by_create_task, _by_task_group, _by_shield]
if sys.version_info < (3, 12):

    async def _by_wait_for(call: Callable[[], Awaitable[object]]) -> None:
        async def run() -> None:
            await call()

        await asyncio.wait_for(run(), 10)

    WAYS.append(_by_wait_for)


def _misuses(db: AsyncDatabaseManager, uow: UnitOfWork) -> list[Callable[[], Awaitable[Any]]]:
    """What a foreign task may try; each is one line of its own function."""

    async def write() -> None:
        await db.write(INSERT, (uuid4(), "misuse"))

    async def execute() -> None:
        await db.execute(INSERT_SILENTLY, (uuid4(), "misuse"))

    async def copy() -> None:
        await db.copy("entry", ["id", "note"], [(uuid4(), "misuse")])

    async def fetch() -> None:
        await db.fetch(KEYS)

    async def cursor() -> None:
        async with db.cursor(KEYS):
            pass

    async def savepoint() -> None:
        async with uow.savepoint():
            await insert(db, "misuse")

    async def nested() -> None:
        async with db.unit_of_work():
            await insert(db, "misuse")

    async def independent() -> None:
        async with db.unit_of_work(independent=True):
            await insert(db, "misuse")

    async def join() -> None:
        async with db.join_or_begin():
            await insert(db, "misuse")

    async def session() -> None:
        uow.session.add(Entry(note="misuse"))

    async def scope() -> None:
        async with db.session_scope() as session:
            session.add(Entry(note="misuse"))

    async def run() -> None:
        await db.run(lambda _: insert(db, "misuse"))

    async def on_commit() -> None:
        uow.on_commit(lambda: None)

    async def leave() -> None:
        await uow.__aexit__(None, None, None)

    return [
        write, execute, copy, fetch, cursor, savepoint, nested, independent, join, session, scope,
        run, on_commit, leave,
    ]  # fmt: skip


async def test_a_thousand_misuses_from_other_tasks_raise_at_the_line_and_write_nothing(
    db: AsyncDatabaseManager, observer: Observer, record_property: Callable[[str, object], None]
):
    raised = 0
    async with db.unit_of_work() as uow:
        await insert(db, "the owner's")
        misuses = _misuses(db, uow)
        cases = [(way, misuse) for way in WAYS for misuse in misuses]
        while len(cases) < 1000:
            cases += random.sample(cases, min(len(cases), 1000 - len(cases)))

        async def misuse(way: Any, call: Any) -> None:
            nonlocal raised
            with pytest.raises(UnitOfWorkSharedError) as caught:
                await way(call)
            # The innermost line outside of the library is the offending one.
            lines = [
                frame.name
                for frame in traceback.extract_tb(caught.value.__traceback__)
                if "/timber/" not in frame.filename and "contextlib" not in frame.filename
            ]
            assert call.__name__ in (lines[-1], lines[-2]), lines
            raised += 1

        for start in range(0, 1000, 50):
            await asyncio.gather(*(misuse(*case) for case in cases[start : start + 50]))
        await insert(db, "the owner's, after")
    assert raised == 1000
    assert await observer.notes() == ["the owner's", "the owner's, after"]
    assert_nothing_is_held(db)
    record_property("counts", f"{raised} misuses raised, {len(misuses)} kinds in {len(WAYS)} ways")


async def test_one_orm_session_used_by_gathered_tasks_writes_nothing(
    db: AsyncDatabaseManager, observer: Observer
):
    async with db.unit_of_work() as uow:
        session = uow.session
        await session.execute(Entry.__table__.select())

        async def use(number: int) -> None:
            session.add(Entry(note=f"gathered {number}"))
            await session.flush()

        results = await asyncio.gather(*(use(n) for n in range(3)), return_exceptions=True)
        assert [type(result) for result in results] == [UnitOfWorkSharedError] * 3
        session.expunge_all()
        await insert(db, "the owner's")
    assert await observer.notes() == ["the owner's"]


async def test_a_stream_left_by_break_leaks_no_context(db: AsyncDatabaseManager):
    await insert(db, "a")
    await insert(db, "b")

    async def rows() -> AsyncIterator[Any]:
        async with db.cursor(KEYS, batch=1) as batches:
            async for batch in batches:
                yield batch

    generator = rows()
    async for _ in generator:
        break
    assert db.current() is None
    status = db.get_pool_status()
    assert status["checked_out"] == 1
    assert len(await db.fetch(KEYS)) == 2
    await generator.aclose()  # type: ignore[attr-defined]
    assert db.current() is None
    assert_nothing_is_held(db)


async def test_a_stream_outside_a_unit_of_work_owns_its_connection(db: AsyncDatabaseManager):
    await insert(db, "a")
    async with db.cursor(KEYS) as batches:
        async with db.unit_of_work():
            key = await insert(db, "b")
            assert len(await db.fetch(FIND, (key,))) == 1
        assert [len(batch) async for batch in batches] == [1]
    assert_nothing_is_held(db)


async def test_a_stream_inside_a_unit_of_work_sees_what_it_wrote(db: AsyncDatabaseManager):
    async with db.unit_of_work():
        await insert(db, "a")
        async with db.cursor(KEYS) as batches:
            assert [len(batch) async for batch in batches] == [1]
            assert db.get_pool_status()["checked_out"] == 1


async def test_one_is_used_once(db: AsyncDatabaseManager, observer: Observer):
    uow = db.unit_of_work()
    async with uow:
        with pytest.raises(UsageError, match="entered already"):
            await uow.__aenter__()
        with pytest.raises(UnitOfWorkSharedError):
            await asyncio.create_task(uow.__aenter__())
        await insert(db, "once")
    with pytest.raises(UnitOfWorkClosedError):
        async with uow:
            await insert(db, "twice")
    for use in (
        uow.savepoint,
        lambda: uow.session,
        lambda: uow.on_commit(print),
        lambda: uow.on_rollback(print),
        lambda: uow.invalidate("Entry"),
    ):
        with pytest.raises(UnitOfWorkClosedError):
            use()
    with pytest.raises(UnitOfWorkClosedError):
        await uow.__aexit__(None, None, None)
    assert await observer.notes() == ["once"]


async def test_one_never_entered_does_nothing(db: AsyncDatabaseManager):
    uow = db.unit_of_work(isolation="serializable")
    assert uow.outcome is None
    assert db.current() is None
    with pytest.raises(UsageError):
        uow.savepoint()
    assert db.get_pool_status()["checked_in"] == 0
