"""In a sandbox everything behaves as if it were committed, and afterwards nothing has happened."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from tests.harness.databases import connected
from timber import (
    ConflictError,
    PoolTimeoutError,
    ResearchCreate,
    Timber,
    UnavailableError,
    UnitOfWorkDoomedError,
    UsageError,
    ValidationError,
    deadline,
)
from timber.database.sandbox import SandboxManager
from timber.database.statements import Statement

SLEEP = Statement("SELECT pg_sleep(5)", label="sleep")

Work = Callable[[Timber], Awaitable[object]]


async def users(timber: Timber, user: str = "u") -> int:
    return await timber.sessions.repository.count(user_id=user)


async def outside(url: str) -> int:
    """What another connection sees."""
    async with connected(url) as connection:
        number: int = await connection.fetchval("SELECT count(*) FROM sessions")
        return number


async def test_nothing_is_left_of_what_was_written(database_url: str) -> None:
    async with Timber(database_url=database_url, manager=SandboxManager) as timber:
        await timber.sessions.create_session("u", "research")
        async with timber.unit_of_work():
            await timber.sessions.create_session("u", "research")
        assert await users(timber) == 2
        assert await outside(database_url) == 0
    assert await outside(database_url) == 0


async def test_a_unit_of_work_commits_in_its_own_eyes_and_then_runs_its_callbacks(
    sandboxed: Timber,
) -> None:
    told: list[str] = []
    async with sandboxed.unit_of_work() as uow:
        await sandboxed.sessions.create_session("u", "research")
        async with sandboxed.unit_of_work() as nested:
            nested.on_commit(lambda: told.append("nested"))
        uow.on_commit(lambda: told.append("outer"))
        assert not told
    assert uow.outcome == "committed"
    assert told == ["nested", "outer"]


async def test_a_unit_of_work_that_fails_is_undone_alone(sandboxed: Timber) -> None:
    told: list[str] = []
    await sandboxed.sessions.create_session("u", "research")
    with pytest.raises(ZeroDivisionError):
        async with sandboxed.unit_of_work() as uow:
            uow.on_commit(lambda: told.append("committed"))
            uow.on_rollback(lambda: told.append("rolled back"))
            await sandboxed.sessions.create_session("u", "research")
            1 / 0  # noqa: B018  # it raises
    assert uow.outcome == "rolled_back"
    assert told == ["rolled back"]
    assert await users(sandboxed) == 1


async def test_a_lone_statement_that_fails_does_no_harm(sandboxed: Timber) -> None:
    session = await sandboxed.sessions.create_session("u", "research")
    with pytest.raises(ConflictError):
        await sandboxed.sessions.repository.insert(
            {"user_id": "u", "session_type": "research"}, id=session.id
        )
    with pytest.raises(ConflictError):
        await sandboxed.sessions.repository.insert_many(
            [{"id": session.id, "user_id": "u", "session_type": "research"}]
        )
    assert await users(sandboxed) == 1


async def test_a_caught_failure_dooms_a_unit_of_work_as_it_does_outside(sandboxed: Timber) -> None:
    session = await sandboxed.sessions.create_session("u", "research")
    again = {"user_id": "u", "session_type": "research"}
    with pytest.raises(UnitOfWorkDoomedError):
        async with sandboxed.unit_of_work():
            await sandboxed.sessions.create_session("u", "research")
            with pytest.raises(ConflictError):
                await sandboxed.sessions.repository.insert(again, id=session.id)
    async with sandboxed.unit_of_work() as uow:
        with pytest.raises(ConflictError):
            async with uow.savepoint():
                await sandboxed.sessions.repository.insert(again, id=session.id)
        await sandboxed.sessions.create_session("u", "research")
    assert await users(sandboxed) == 2


async def test_deferred_constraints_are_held_at_the_end_of_each_unit_of_work(
    fresh_database_url: str,
) -> None:
    async with connected(fresh_database_url) as connection:
        await connection.execute(
            "CREATE TABLE twins (id int PRIMARY KEY, other int REFERENCES twins DEFERRABLE INITIALLY DEFERRED)"
        )
    async with Timber(database_url=fresh_database_url, manager=SandboxManager) as timber:
        with pytest.raises(ConflictError):
            async with timber.unit_of_work() as uow:
                await uow.session.execute(sa.text("INSERT INTO twins VALUES (1, 2)"))
        assert uow.outcome == "rolled_back"
        async with timber.unit_of_work() as uow:
            await uow.session.execute(sa.text("INSERT INTO twins VALUES (1, 2), (2, 1)"))
        assert uow.outcome == "committed"


async def test_a_read_only_unit_of_work_refuses_writes_and_the_next_one_does_not(
    sandboxed: Timber,
) -> None:
    with pytest.raises(Exception, match=r"read_only|25006"):
        async with sandboxed.unit_of_work(read_only=True):
            await sandboxed.sessions.create_session("u", "research")
    async with sandboxed.unit_of_work(read_only=True) as uow:
        assert await users(sandboxed) == 0
    assert uow.outcome == "committed"
    await sandboxed.sessions.create_session("u", "research")


async def test_timeouts_of_one_unit_of_work_are_not_those_of_the_next(sandboxed: Timber) -> None:
    async with sandboxed.unit_of_work(statement_timeout=0.5) as uow:
        short = await uow.session.scalar(sa.text("SHOW statement_timeout"))
    async with sandboxed.unit_of_work(isolation="serializable") as uow:
        usual = await uow.session.scalar(sa.text("SHOW statement_timeout"))
    assert (short, usual) == ("500ms", "30s")


async def test_run_repeats_the_whole_as_it_does_outside(sandboxed: Timber) -> None:
    tries = 0

    async def body(_uow: Any) -> None:
        nonlocal tries
        tries += 1
        await sandboxed.sessions.create_session("u", "research")
        if tries == 1:
            await sandboxed.db.fetch(
                Statement("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END $$", label="x")
            )

    await sandboxed.run(body)
    assert tries == 2
    assert await users(sandboxed) == 1


async def test_an_independent_unit_of_work_inside_another_needs_no_second_connection(
    sandboxed: Timber,
) -> None:
    async with sandboxed.unit_of_work(), sandboxed.unit_of_work(independent=True) as own:
        await sandboxed.sessions.create_session("u", "research")
    assert own.outcome == "committed"
    assert await users(sandboxed) == 1


async def test_many_tasks_share_the_connection_one_after_the_other(sandboxed: Timber) -> None:
    async def work(number: int) -> None:
        async with sandboxed.unit_of_work():
            await sandboxed.sessions.create_session("u", "research", {"n": number})
            await asyncio.sleep(0)

    await asyncio.gather(*(work(n) for n in range(10)))
    assert await users(sandboxed) == 10


async def test_waiting_for_another_task_inside_a_unit_of_work_ends_in_an_error(
    database_url: str,
) -> None:
    async with Timber(
        database_url=database_url, manager=SandboxManager, pool_timeout=0.2
    ) as timber:
        async with timber.unit_of_work():
            await timber.sessions.create_session("u", "research")
            elsewhere = asyncio.get_running_loop().create_task(
                users(timber), context=contextvars.Context()
            )
            with pytest.raises(PoolTimeoutError):
                await elsewhere


async def test_sessions_of_the_orm_commit_and_roll_back_like_everything_else(
    sandboxed: Timber,
) -> None:
    count = sa.text("SELECT count(*) FROM trackers")
    insert = sa.text("DELETE FROM trackers")
    session: AsyncSession
    async with sandboxed.db.get_session() as session:
        await session.execute(insert)
        assert await session.scalar(count) == 0
        await session.commit()
    async with sandboxed.db.get_session() as session:
        await session.execute(insert)
    async with sandboxed.db.session_scope() as scoped:
        assert await scoped.scalar(count) == 0


async def test_bulk_and_streams_work(sandboxed: Timber) -> None:
    session = await sandboxed.sessions.create_session("u", "research")
    await sandboxed.research.save_many(
        ResearchCreate(session_id=session.id, research_type="note", content={"n": n})
        for n in range(300)
    )
    async with sandboxed.research.stream(user_id="u") as rows:
        assert len([row async for row in rows]) == 300
    with pytest.raises(ValidationError):
        await sandboxed.research.save_many([ResearchCreate(research_type="x" * 65, content={})])
    assert await sandboxed.research.repository.count() == 300


async def test_tables_can_be_made_in_it(bare_database_url: str) -> None:
    async with Timber(database_url=bare_database_url, manager=SandboxManager) as timber:
        await timber.db.create_all_tables()
        await timber.sessions.create_session("u", "research")
    async with connected(bare_database_url) as connection:
        assert await connection.fetchval("SELECT to_regclass('sessions')") is None


async def test_a_deadline_that_cuts_a_statement_leaves_what_was_there(sandboxed: Timber) -> None:
    await sandboxed.sessions.create_session("u", "research")
    with pytest.raises(Exception, match="deadline"):
        async with deadline(0.1):
            await sandboxed.db.fetch(SLEEP)
    assert await users(sandboxed) == 1


async def test_a_connection_that_is_lost_takes_the_test_with_it(
    sandboxed: Timber, database_url: str
) -> None:
    await sandboxed.sessions.create_session("u", "research")
    [row] = await sandboxed.db.fetch(Statement("SELECT pg_backend_pid()", label="pid"))
    async with connected(database_url) as connection:
        await connection.execute("SELECT pg_terminate_backend($1)", row[0])
    with pytest.raises(UnavailableError):
        for _ in range(3):
            await users(sandboxed)


async def test_subscriptions_say_that_they_hear_nothing(sandboxed: Timber) -> None:
    with pytest.raises(UsageError, match="timber_committing"):
        async with sandboxed.notifications.subscribe("u") as notifications:
            await anext(aiter(notifications))
