"""`timber explain` shows how rows are found, and names what stands out."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.harness.databases import connected, run_apart
from timber import Timber
from timber.cli.commands import app
from timber.cli.explain.asking import Explained
from timber.cli.explain.showing import remarks
from timber.database.monitoring import Plan
from timber.features.encryption import FileKeyRing


def explain(url: str, *arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["explain", "--database-url", url, *arguments])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.output


def explained(url: str, *arguments: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(explain(url, *arguments, "--json"))
    return answer


async def fill(url: str) -> None:
    async with connected(url) as connection:
        await connection.execute(
            "INSERT INTO sessions (id, user_id, session_type, status, metadata, version, created_at, updated_at)"
            " SELECT gen_random_uuid(), 'u' || i % 50, 't', 'active', '{}', 1, now(), now()"
            " FROM generate_series(1, 3000) i"
        )
        await connection.execute("ANALYZE sessions")


@pytest.fixture
def filled(fresh_database_url: str) -> str:
    """The URL of a database with 3,000 sessions of 50 users."""
    run_apart(fill(fresh_database_url))
    return fresh_database_url


def test_the_index_that_serves_a_list_of_a_user_is_named(filled: str) -> None:
    [index] = explained(filled, "Session", "--owner", "u7")["indexes"]
    assert index.startswith("ix_sessions_user_id")
    text = explain(filled, "Session", "--owner", "u7")
    assert f"using {index}" in " ".join(text.split())
    assert f"Indexes {index}" in text


def test_a_whole_table_read_for_a_few_rows_stands_out(filled: str) -> None:
    [remark] = explained(filled, "Session", "status=paused", "--order", "status")["remarks"]
    assert remark.startswith("All of the about 3,000 rows of sessions are read to find some")


def test_a_small_table_is_read_whole_and_can_be_taken_for_a_large_one(
    fresh_database_url: str,
) -> None:
    query = (
        "SELECT * FROM tracker_events WHERE tracker_id = '00000000-0000-0000-0000-000000000000'",
    )
    large = explained(fresh_database_url, *query, "--as-if-large")
    assert large["indexes"]
    generic = explained(
        fresh_database_url, "SELECT * FROM tracker_events WHERE tracker_id = $1", "--as-if-large"
    )
    assert generic["indexes"] == large["indexes"]


def test_every_kind_of_condition_can_be_typed(filled: str) -> None:
    conditions = (
        "version>=1",
        "version!=7",
        "session_type=t",
        "status~ACT",
        "metadata.symbol=AAPL",
        "metadata.rank<3",
        "completed_at=null",
    )
    sql = explained(filled, "Session", *conditions)["sql"]
    for part in ("version >= ", "version != ", "session_type = ", "ILIKE", "#>", "IS NULL"):
        assert part in sql


def test_a_search_is_explained_too(fresh_database_url: str) -> None:
    answer = explained(fresh_database_url, "ResearchData", "--search", "gold -silver")
    assert "websearch_to_tsquery" in answer["sql"]


def test_a_text_with_parameters_is_planned_without_values(filled: str) -> None:
    text = explain(filled, "SELECT * FROM sessions WHERE id = $1 AND status = $2;")
    assert re.search(r"index cond: \(id = \$1\)", text)
    said = explain(filled, "SELECT * FROM sessions WHERE id = $1", "--analyze", code=2)
    assert "write them in the place of $1" in said


def test_what_analyze_runs_is_undone(filled: str) -> None:
    text = explain(filled, "DELETE FROM sessions WHERE user_id = 'u7'", "--analyze")
    assert re.search(r"60 came in [\d.]+ ms", text)
    count = "SELECT count(*) FROM sessions"

    async def counted() -> int:
        async with connected(filled) as connection:
            number: int = await connection.fetchval(count)
            return number

    assert run_apart(counted()) == 3000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("Sesion",), "Sesion"),
        (("Session", "statu=x"), "did you mean 'status'"),
        (("Session", "status"), "does not read like status=active"),
        (("Session", "--limit", "5000"), "from 1 to 1000"),
        (("selec 1",), "syntax error"),
        (("SELECT 1; SELECT 2",), "multiple commands"),
        (("SELECT $1; SELECT 2",), "multiple commands"),
        (
            ("INSERT INTO sessions (user_id) VALUES ('secret')", "--analyze"),
            'null value in column "id" of relation "sessions" violates not-null constraint.\n',
        ),
    ],
)
def test_what_cannot_be_explained_is_said(
    fresh_database_url: str, arguments: tuple[str, ...], said: str
) -> None:
    assert said in explain(fresh_database_url, *arguments, code=2)


def test_numbers_that_are_far_from_what_was_expected_stand_out() -> None:
    plan = Plan(
        {
            "Node Type": "Index Scan",
            "Relation Name": "orders",
            "Index Name": "ix",
            "Plan Rows": 1,
            "Actual Rows": 5000,
        }
    )
    whole, far = remarks(Explained("", plan, {"orders": 5000}))
    assert whole == "ix is read from end to end, about 5,000 rows: it serves no condition."
    assert "1 rows were expected and 5,000 came" in far
    assert far.endswith("ANALYZE orders.")


CARDS = """
version: 1
models:
  - name: Card
    table: cards
    mixins: [Owner]
    columns: [{name: number, type: String(40)}]
    features:
      encryption: {columns: [number], searchable: [number]}
      audit: true
"""


def test_a_model_with_features_of_the_settings_is_explained_as_the_application_asks(
    bare_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cards.yaml").write_text(CARDS)
    FileKeyRing(tmp_path / "keys.json").add()
    monkeypatch.setenv("TIMBER_MODEL_CONFIG_DIRS", str(tmp_path))
    monkeypatch.setenv("TIMBER_ENCRYPTION_KEYS", str(tmp_path / "keys.json"))
    monkeypatch.setenv("TIMBER_AUDIT_KEY", "0123456789" * 4)

    async def make_tables() -> None:
        async with Timber(bare_database_url) as timber:
            await timber.db.create_all_tables()

    run_apart(make_tables())
    said = explained(bare_database_url, "Card", "number=4111", "--owner", "u7", "--as-if-large")
    assert "cards" in said["sql"]
    assert "4111" not in json.dumps(said)
