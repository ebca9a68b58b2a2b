"""Tables of SQLAlchemy's are migrated as well as models."""

from __future__ import annotations

from tests.harness.databases import connected
from tests.migrations.projects import Project

ENV = """
from tests.migrations.tables_by_hand import tables, without_trigger
from timber.database.migrations.environment import run_environment

run_environment({tables})
"""
INSERT = "INSERT INTO shelves (name, mood) VALUES ('a', 'good') RETURNING seen::text, id"


async def test_what_only_sqlalchemy_can_declare_is_migrated_forth_and_back(small: Project) -> None:
    await small.init(message=None)
    env = small.directory / "env.py"
    env.write_text(ENV.format(tables='tables("good", "bad")'), encoding="utf-8")
    await small.new("by hand")
    await small.up()
    assert await small.check() == []
    async with connected(small.url) as connection:
        assert tuple(await connection.fetchrow(INSERT) or ()) == ("2026-01-01 00:00:00", 1)
    await small.down()
    async with connected(small.url) as connection:
        left = "SELECT count(*) FROM pg_class WHERE relname IN ('shelves', 'Items') OR relname LIKE 'mood%'"
        assert await connection.fetchval(left) == 0
    await small.up()
    assert await small.check() == []

    env.write_text(
        ENV.format(tables='without_trigger(tables("good", "so-so", "bad"))'), encoding="utf-8"
    )
    await small.new("no trigger, one more mood")
    assert "DROP TRIGGER timber_touching ON shelves" in small.text()
    await small.up()
    assert await small.check() == []
    async with connected(small.url) as connection:
        assert (await connection.fetchval(INSERT)) is None
