"""With slow_query_plan the plan of a slow statement is logged, without a value in it."""

from __future__ import annotations

import logging

import pytest

from timber.database.manager import AsyncDatabaseManager
from timber.database.statements import Statement
from timber.settings import TimberSettings

SECRET = "geheim-4711"
# It sleeps although there is no row.
SLOW = Statement(
    "WITH nap AS MATERIALIZED (SELECT pg_sleep(0.02))"
    " SELECT id FROM nap LEFT JOIN sessions ON user_id = $1",
    label="slow sessions",
)


async def plans(
    url: str,
    caplog: pytest.LogCaptureFixture,
    *statements: Statement,
    args: tuple[str, ...] = (SECRET,),
) -> list[str]:
    """What is logged of these statements, each slow."""
    settings = TimberSettings(slow_query_seconds=0.001, slow_query_plan=True)
    db = AsyncDatabaseManager(url, settings=settings)
    with caplog.at_level(logging.INFO, logger="timber.sql"):
        for statement in statements:
            await db.fetch(statement, args)
        await db.dispose()
    assert SECRET not in caplog.text
    return [record.getMessage() for record in caplog.records if "lan of" in record.getMessage()]


async def test_the_plan_of_a_slow_statement_is_logged_without_values(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    [plan] = await plans(database_url, caplog, SLOW)
    assert plan.startswith("Plan of the slow query slow sessions:\n")
    assert "sessions" in plan


async def test_a_text_that_is_slow_again_and_again_is_explained_once(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert len(await plans(database_url, caplog, SLOW, SLOW, SLOW)) == 1


async def test_what_has_no_plan_says_so_and_does_no_harm(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    busy = Statement("DO $$ BEGIN PERFORM pg_sleep(0.02); END $$", label="busy")
    [said] = await plans(database_url, caplog, busy, args=())
    assert said.startswith("There is no plan of busy to be had")


async def test_without_the_setting_nothing_is_asked(
    db: AsyncDatabaseManager,
) -> None:
    assert db.monitor.slow is None
