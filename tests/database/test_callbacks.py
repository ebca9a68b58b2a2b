"""What runs after the end of a unit of work, and at its moments."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Any

import pytest

from tests.database.conftest import MakeDb
from tests.database.ledger import (
    DIVIDE,
    CallerError,
    Observer,
    assert_nothing_is_held,
    insert,
)
from timber.database.levels import MOST_NOTED, Change
from timber.database.manager import AsyncDatabaseManager
from timber.database.outcome import outcome_of
from timber.database.unit_of_work import UnitOfWork
from timber.errors import UnitOfWorkDoomedError, UsageError, ValidationError


async def test_they_run_in_order_after_the_real_commit(
    db: AsyncDatabaseManager, observer: Observer
):
    seen: list[Any] = []

    async def count(name: str) -> None:
        seen.append((name, await observer.count(), uow.outcome))

    async with db.unit_of_work() as uow:
        uow.on_commit(partial(count, "first"))
        await insert(db)
        uow.on_commit(lambda: seen.append("a plain function"))
        async with uow.savepoint():
            await insert(db)
            uow.on_commit(partial(count, "of a savepoint"))
        uow.on_commit(partial(count, "last"))
        uow.on_rollback(partial(count, "never"))
        assert not seen
    assert seen == [
        ("first", 2, "committed"),
        "a plain function",
        ("of a savepoint", 2, "committed"),
        ("last", 2, "committed"),
    ]


async def test_what_is_no_function_is_refused_at_its_line(db: AsyncDatabaseManager):
    async def send() -> None:
        raise AssertionError

    async with db.unit_of_work() as uow:
        for given in (None, send()):
            for wait in (uow.on_commit, uow.on_rollback):
                with pytest.raises(UsageError, match="a function that is called later"):
                    wait(given)  # type: ignore[arg-type]
    assert uow.outcome == "committed"


async def test_a_savepoint_that_is_rolled_back_drops_its_own(
    db: AsyncDatabaseManager, observer: Observer
):
    seen: list[str] = []
    async with db.unit_of_work() as uow:
        uow.on_commit(lambda: seen.append("commit"))
        with pytest.raises(CallerError):
            async with uow.savepoint():
                uow.on_commit(lambda: seen.append("undone"))
                async with uow.savepoint():
                    uow.on_commit(lambda: seen.append("released, then undone"))
                    uow.on_rollback(lambda: seen.append("rollback of the inner"))
                uow.on_rollback(lambda: seen.append("rollback of the savepoint"))
                raise CallerError
        assert seen == ["rollback of the inner", "rollback of the savepoint"]
        async with db.unit_of_work() as nested:
            nested.on_commit(lambda: seen.append("nested"))
    assert seen[2:] == ["commit", "nested"]


async def test_after_a_rollback_only_those_for_it_run(db: AsyncDatabaseManager):
    seen: list[Any] = []
    with pytest.raises(CallerError):
        async with db.unit_of_work() as uow:
            uow.on_commit(lambda: seen.append("commit"))
            uow.on_rollback(lambda: seen.append(uow.outcome))
            async with uow.savepoint():
                uow.on_rollback(lambda: seen.append("released"))
            await insert(db)
            raise CallerError
    assert seen == ["rolled_back", "released"]


async def test_after_a_caught_error_and_a_refused_commit_only_those_for_rollback_run(
    db: AsyncDatabaseManager,
):
    seen: list[str] = []
    with pytest.raises(UnitOfWorkDoomedError):
        async with db.unit_of_work() as uow:
            uow.on_commit(lambda: seen.append("commit"))
            uow.on_rollback(lambda: seen.append("rollback"))
            with pytest.raises(ValidationError):
                await db.fetch(DIVIDE, (0,))
    assert seen == ["rollback"]


async def test_an_error_in_one_is_logged_and_neither_undoes_nor_hides_the_commit(
    db: AsyncDatabaseManager, observer: Observer, caplog: pytest.LogCaptureFixture
):
    seen: list[str] = []

    def fail() -> None:
        raise CallerError("in the callback")

    async def fail_later() -> None:
        await asyncio.sleep(0)
        raise CallerError("in the async callback")

    async with db.unit_of_work() as uow:
        await insert(db)
        uow.on_commit(fail)
        uow.on_commit(fail_later)
        uow.on_commit(lambda: seen.append("goes on"))
    assert uow.outcome == "committed"
    assert seen == ["goes on"]
    assert await observer.count() == 1
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [str(record.exc_info[1]) for record in errors if record.exc_info] == [
        "in the callback",
        "in the async callback",
    ]


async def test_they_may_use_the_database_and_are_outside(
    db: AsyncDatabaseManager, observer: Observer
):
    async def write() -> None:
        assert db.current() is None
        await insert(db, "from a callback")
        async with db.unit_of_work():
            await insert(db, "from a unit of work in it")

    async with db.unit_of_work() as uow:
        await insert(db, "inside")
        uow.on_commit(write)
    assert len(await observer.notes()) == 3


async def test_with_one_connection_they_do_not_wait_for_themselves(
    make_db: MakeDb, observer: Observer
):
    db = make_db(pool_size=1, max_overflow=0, pool_timeout=1)
    async with db.unit_of_work() as uow:
        await insert(db, "inside")
        uow.on_commit(partial(insert, db, "after"))
    with pytest.raises(CallerError):
        async with db.unit_of_work() as uow:
            await insert(db, "undone")
            uow.on_rollback(partial(insert, db, "after the rollback"))
            raise CallerError
    assert await observer.notes() == ["after", "after the rollback", "inside"]


async def test_a_cancellation_while_they_run_cuts_none_off(
    db: AsyncDatabaseManager, observer: Observer
):
    seen: list[str] = []
    started = asyncio.Event()

    async def slow(name: str) -> None:
        started.set()
        await asyncio.sleep(0.02)
        seen.append(name)

    uow = db.unit_of_work()

    async def work() -> None:
        async with uow:
            await insert(db)
            uow.on_commit(partial(slow, "one"))
            uow.on_commit(partial(slow, "two"))

    task = asyncio.create_task(work())
    await started.wait()
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0.005)
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert seen == ["one", "two"]
    assert uow.outcome == outcome_of(caught.value) == "committed"
    assert await observer.count() == 1


async def test_callbacks_that_never_end_do_not_hold_a_cancelled_task_for_ever(
    make_db: MakeDb, caplog: pytest.LogCaptureFixture
):
    db = make_db(commit_timeout=0.05)
    begun, release = asyncio.Event(), asyncio.Event()

    async def never_ends() -> None:
        begun.set()
        await release.wait()

    async def work() -> None:
        async with db.unit_of_work() as uow:
            await insert(db)
            uow.on_commit(never_ends)

    task = asyncio.create_task(work())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        async with asyncio.timeout(1):
            await task
    assert outcome_of(caught.value) == "committed"
    assert "in the background" in caplog.text
    release.set()
    assert_nothing_is_held(db)


async def test_moments_are_those_of_the_outermost_one_only(db: AsyncDatabaseManager):
    """A session's own events fire at each savepoint."""
    seen: list[tuple[str, UnitOfWork]] = []

    def note(moment: str) -> Any:
        async def hook(unit: UnitOfWork) -> None:
            seen.append((moment, unit))

        return hook

    db.moments.before_commit.append(note("before commit"))
    db.moments.after_commit.append(note("after commit"))
    db.moments.after_rollback.append(note("after rollback"))
    async with db.unit_of_work() as uow:
        uow.on_commit(lambda: seen.append(("callback", uow)))
        async with uow.savepoint():
            await insert(db)
        with pytest.raises(CallerError):
            async with db.unit_of_work():
                await insert(db)
                raise CallerError
        assert not seen
    assert seen == [("before commit", uow), ("after commit", uow), ("callback", uow)]
    seen.clear()
    with pytest.raises(CallerError):
        async with db.unit_of_work() as uow:
            await insert(db)
            raise CallerError
    assert seen == [("after rollback", uow)]


async def test_before_commit_can_write_and_can_refuse(db: AsyncDatabaseManager, observer: Observer):
    async def write(unit: UnitOfWork) -> None:
        await insert(db, "by the hook")
        if refusing:
            raise CallerError

    db.moments.before_commit.append(write)
    refusing = False
    async with db.unit_of_work():
        await insert(db, "inside")
    assert await observer.notes() == ["by the hook", "inside"]
    refusing = True
    with pytest.raises(CallerError) as caught:
        async with db.unit_of_work() as uow:
            await insert(db, "refused")
    assert uow.outcome == outcome_of(caught.value) == "rolled_back"
    assert await observer.notes() == ["by the hook", "inside"]
    assert_nothing_is_held(db)


async def test_what_was_invalidated_is_known_at_the_moments_without_what_was_undone(
    db: AsyncDatabaseManager,
):
    seen: list[tuple[Change, ...]] = []
    db.moments.after_commit.append(lambda unit: seen.append(unit.changes))
    async with db.unit_of_work() as uow:
        uow.invalidate("Entry", ids=[1])
        async with uow.savepoint():
            uow.invalidate("Entry", tags=["kept"])
        with pytest.raises(CallerError):
            async with uow.savepoint():
                uow.invalidate("Entry", tags=["undone"])
                raise CallerError
    said = Change("Entry", ids=(1,), is_said=True), Change("Entry", tags=("kept",), is_said=True)
    assert seen == [said]


async def test_very_many_changes_of_a_model_are_noted_as_all_of_it(
    db: AsyncDatabaseManager,
) -> None:
    seen: list[tuple[Change, ...]] = []
    db.moments.after_commit.append(lambda unit: seen.append(unit.changes))
    async with db.unit_of_work() as uow:
        uow.invalidate("Entry", tags=["said"])
        async with uow.savepoint():
            for key in range(MOST_NOTED // 2):
                uow.note_change(Change("Entry", (key,)))
        for key in range(MOST_NOTED):
            uow.note_change(Change("Entry", (key,), ("tag",)))
        uow.note_change(Change("Other", (1,)))
        uow.note_change(Change("Third", tuple(range(MOST_NOTED + 1))))
    said = Change("Entry", tags=("said",), is_said=True)
    assert seen == [(said, Change("Entry"), Change("Other", (1,)), Change("Third"))]
