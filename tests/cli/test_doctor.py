"""`timber doctor` finds what is wrong, says what to do about it, and says nothing where nothing is wrong."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from rich.console import Console
from sqlalchemy import make_url
from typer.testing import CliRunner

from tests.harness.databases import connected
from tests.harness.proxy import Proxy
from timber.cli.commands import app
from timber.cli.doctor.examining import examine
from timber.cli.doctor.findings import Finding, Level, listed
from timber.cli.doctor.indexes import asked_by
from timber.cli.doctor.showing import show
from timber.database.manager import AsyncDatabaseManager
from timber.models.registry import ModelRegistry
from timber.settings import TimberSettings

ORDERS = """
version: 1
models:
  - name: Order
    table: orders
    owner: buyer
    columns:
      - {name: buyer, type: String(20), nullable: false}
      - {name: session_id, type: UUID, foreign_key: Session.id}
      - {name: number, type: String(20), index: true}
"""


async def found(
    url: str | None, about: str, level: Level | None = None, **settings: Any
) -> list[Finding]:
    """What an examination says about one thing; each finding that is not fine says what to do."""
    options = {
        name: settings.pop(name) for name in ("instances", "busy_seconds") if name in settings
    }
    findings = await examine(TimberSettings(database_url=url, **settings), **options)
    for finding in findings:
        assert finding.advice or finding.level in ("ok", "note"), finding
    return [f for f in findings if f.about == about and level in (None, f.level)]


@asynccontextmanager
async def models(url: str, folder: Path, text: str) -> AsyncGenerator[Path]:
    """A folder with these models, whose tables have been made."""
    (folder / "models.yaml").write_text(text)
    registry = ModelRegistry(dirs=[folder])
    db = AsyncDatabaseManager(url, metadata=registry.metadata)
    await db.create_all_tables()
    await db.dispose()
    yield folder


async def test_a_database_as_it_should_be_has_no_problem(fresh_database_url: str) -> None:
    findings = await examine(TimberSettings(database_url=fresh_database_url))
    assert {f.level for f in findings} <= {"ok", "note"}
    assert {"Versions", "Models", "PostgreSQL", "Connections", "Transactions", "Tables"} <= {
        finding.about for finding in findings
    }


async def test_pools_that_do_not_fit_are_counted_over_all_instances(
    fresh_database_url: str,
) -> None:
    [many] = await found(fresh_database_url, "Connections", instances=50, pool_size=20)
    assert many.level == "problem"
    assert many.found.startswith("50 x (20 + 40) = 3000 connections")
    assert "TIMBER_POOL_SIZE=" in many.advice
    [few] = await found(fresh_database_url, "Connections", instances=2, pool_size=5, max_overflow=0)
    assert few.level == "ok"


async def test_a_transaction_that_is_held_open_is_named(fresh_database_url: str) -> None:
    async with connected(fresh_database_url) as other:
        pid = await other.fetchval("SELECT pg_backend_pid()")
        async with other.transaction():
            await other.execute("SELECT 1")
            [long] = await found(fresh_database_url, "Transactions", busy_seconds=0.0)
    assert long.level == "warning"
    assert f"pid {pid}, idle in transaction" in long.found


async def test_tables_that_are_not_there_are_a_problem(bare_database_url: str) -> None:
    [tables] = await found(bare_database_url, "Tables")
    assert tables.level == "problem"
    assert "sessions" in tables.found or "more" in tables.found
    assert "timber migrate up" in tables.advice


async def test_an_index_that_the_models_declare_and_the_database_lacks(
    fresh_database_url: str,
) -> None:
    async with connected(fresh_database_url) as connection:
        await connection.execute("DROP INDEX ix_sessions_user_id_created_at")
    [missing] = await found(fresh_database_url, "Missing indexes", "problem")
    assert "ix_sessions_user_id_created_at" in missing.found


async def test_an_index_that_was_left_broken(fresh_database_url: str) -> None:
    async with connected(fresh_database_url) as connection:
        await connection.execute(
            "INSERT INTO sessions (id, user_id, session_type, status, metadata, version, created_at, updated_at)"
            " SELECT gen_random_uuid(), 'u', 't', 'active', '{}', 1, now(), now() FROM generate_series(1, 2)"
        )
        with pytest.raises(asyncpg.UniqueViolationError):
            await connection.execute("CREATE UNIQUE INDEX CONCURRENTLY twice ON sessions (user_id)")
    [broken] = await found(fresh_database_url, "Broken indexes", "problem")
    assert "DROP INDEX CONCURRENTLY twice" in broken.advice


async def test_two_indexes_that_are_the_same(fresh_database_url: str) -> None:
    async with connected(fresh_database_url) as connection:
        await connection.execute("CREATE INDEX once ON sessions (status)")
        await connection.execute("CREATE INDEX again ON sessions (status)")
    [twins] = await found(fresh_database_url, "Duplicate indexes")
    assert twins.found == "again and once are the same."


async def test_an_index_that_nobody_has_used_while_the_table_was_read_often(
    fresh_database_url: str,
) -> None:
    async with connected(fresh_database_url) as connection:
        await connection.execute("CREATE INDEX idle ON sessions (status)")
        await connection.execute(
            "DO $$ BEGIN FOR i IN 1..1000 LOOP PERFORM FROM sessions; END LOOP; END $$"
        )
        await connection.execute("SELECT pg_stat_force_next_flush()")
    [unused] = await found(fresh_database_url, "Unused indexes")
    assert "idle" in unused.found


async def test_columns_that_models_ask_by_without_an_index(
    fresh_database_url: str, tmp_path: Path
) -> None:
    async with models(fresh_database_url, tmp_path, ORDERS) as folder:
        [wanted] = await found(fresh_database_url, "Indexes to make", model_config_dirs=(folder,))
    assert "orders.buyer (the owner)" in wanted.found
    assert "orders.session_id" in wanted.found
    assert "number" not in wanted.found


def test_what_models_ask_by_is_read_from_their_features(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(
        ORDERS + "    features: {cache: {lists: [number]}, feed: {by: buyer}}\n"
    )
    asked = asked_by(ModelRegistry(dirs=[tmp_path]).model_config("Order"))
    assert asked["number"] == "cached lists"
    assert asked["buyer"] == "the feed"


async def test_something_that_stands_between_is_noticed_unless_the_url_allows_for_it(
    fresh_database_url: str,
) -> None:
    async with Proxy(fresh_database_url) as proxy:
        url = make_url(proxy.url)
        [pooler] = await found(url.render_as_string(hide_password=False), "Pooler")
        assert pooler.level == "warning"
        allowed = url.update_query_dict({"statement_cache_size": "0"})
        [fine] = await found(allowed.render_as_string(hide_password=False), "Pooler")
    assert fine.level == "ok"


async def test_an_embedded_server_in_production_is_a_problem(tmp_path: Path) -> None:
    [embedded] = await found(
        "embedded", "Embedded server", env="production", embedded_directory=tmp_path
    )
    assert embedded.level == "problem"


async def test_a_server_that_cannot_be_reached_is_a_finding_and_not_the_end() -> None:
    url = "postgresql://nobody:geheim@localhost:1/none"
    [unreachable] = await found(url, "PostgreSQL")
    assert unreachable.level == "problem"
    assert "geheim" not in unreachable.found


async def test_models_that_cannot_be_read_are_a_finding(
    fresh_database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "m.yaml").write_text(ORDERS.replace("columns", "colums"))
    [broken] = await found(fresh_database_url, "Models", model_config_dirs=(tmp_path,))
    assert broken.level == "problem"
    assert "colums" in broken.found


async def test_a_cache_that_does_not_answer_is_a_problem(fresh_database_url: str) -> None:
    [cache] = await found(fresh_database_url, "Cache", cache_url="redis://:geheim@localhost:1/0")
    assert cache.level == "problem"
    assert "geheim" not in cache.found


def run(*arguments: str, code: int) -> str:
    result = CliRunner().invoke(app, ["doctor", *arguments])
    assert result.exit_code == code, result.output
    return result.stdout


def test_the_exit_code_is_1_where_there_is_a_problem(
    fresh_database_url: str, bare_database_url: str
) -> None:
    run("--database-url", fresh_database_url, code=0)
    run("--database-url", fresh_database_url, "--instances", "50", code=1)
    all_of_them = len(ModelRegistry().metadata.tables)
    missing = f"{all_of_them} of {all_of_them} are not there"
    assert missing in run("--database-url", bare_database_url, code=1)


def test_programs_get_json(fresh_database_url: str) -> None:
    answer = json.loads(run("--database-url", fresh_database_url, "--json", code=0))
    assert {"about", "level", "found", "advice"} == set(answer["findings"][0])


def test_it_is_legible_on_a_narrow_terminal_without_unicode() -> None:
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    console = Console(width=40, file=ascii_only, record=True)
    show([Finding("Tables", "problem", "2 are not there: a and b", "Make them.")], console)
    text = console.export_text()
    assert "x Tables 2 are not there" in text
    assert "> Make them." in text
    assert max(map(len, text.splitlines())) <= 40


def test_lists_are_written_out_as_people_do() -> None:
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed("abcdefg") == "a, b, c, d, e and 2 more"
