"""Databases whose tables were made without migrations, and tables made by many at once."""

from __future__ import annotations

import asyncio

import pytest

from tests.harness.databases import connected
from tests.migrations.listing import listing
from tests.migrations.projects import BEFORE, Project
from timber.errors import ConfigurationError


async def test_a_database_made_without_migrations_is_taken_over(small: Project) -> None:
    small.write(BEFORE)
    await small.init()
    await small.create_all(small.url)
    before = await listing(small.url)
    applied = await small.up()
    assert applied.stamped is not None
    assert applied.revisions == ()
    assert await small.check() == []
    assert await listing(small.url) == before
    assert (await small.up()).stamped is None


async def test_a_database_that_differs_from_the_models_is_not_taken_over(small: Project) -> None:
    small.write(BEFORE)
    await small.init()
    await small.create_all(small.url)
    async with connected(small.url) as connection:
        await connection.execute("ALTER TABLE books DROP COLUMN isbn")
    with pytest.raises(ConfigurationError, match=r"books\.isbn: the column is missing") as caught:
        await small.up()
    assert "no migration has made" in str(caught.value)
    (first, *_) = await small.check()
    assert first.startswith("the database is at nothing, the migrations at 0001")


async def test_the_first_migration_makes_everything_whatever_is_there(small: Project) -> None:
    small.write(BEFORE)
    await small.create_all(small.url)
    await small.init()
    assert small.text().count("op.create_table(") == 4, (
        "the models' and that of idempotent commands"
    )


async def test_many_managers_create_the_tables_at_once(small: Project) -> None:
    small.write(BEFORE)
    await asyncio.gather(*(small.create_all(small.url) for _ in range(8)))
    async with connected(small.url) as connection:
        query = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        assert await connection.fetchval(query) == 4, "the models' and that of idempotent commands"
