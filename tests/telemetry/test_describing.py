"""A statement in a few words, without a value in it."""

from __future__ import annotations

import pytest

from timber.database.monitoring import Ran
from timber.integrations.describing import describe, error_type


@pytest.mark.parametrize(
    ("sql", "summary"),
    [
        ("SELECT sessions.id FROM sessions WHERE sessions.id = $1", "SELECT sessions"),
        ("insert into notes (id) values ($1) returning id", "INSERT notes"),
        ('UPDATE ONLY "public"."orders" SET a = $1', "UPDATE orders"),
        ("DELETE FROM orders WHERE id = $1", "DELETE orders"),
        (
            "WITH written AS (INSERT INTO a (x) VALUES ($1) RETURNING *) SELECT * FROM written",
            "INSERT a",
        ),
        ("WITH best AS (SELECT * FROM a) SELECT * FROM best", "SELECT a"),
        ("copy sessions", "COPY sessions"),
        ("COMMIT", "COMMIT"),
        ("/* who */ SELECT 1", "SELECT"),
        ("", "NOTHING"),
    ],
)
def test_the_operation_and_the_table_are_found(sql: str, summary: str) -> None:
    assert describe(sql).summary == summary


@pytest.mark.parametrize(
    "value",
    [
        "'geheim'",
        "'it''s geheim'",
        r"E'a\'geheim'",
        "$$geheim$$",
        "$tag$ 'geheim' $tag$",
        "x'deadbeef'",
        "4711",
        "-47.11e5",
    ],
)
def test_values_that_somebody_wrote_into_a_text_are_taken_out(value: str) -> None:
    text = describe(f"SELECT a FROM t WHERE b = {value} AND c = $1 -- geheim 4711").text
    assert text == "SELECT a FROM t WHERE b = ? AND c = $1"


def test_what_a_statement_failed_with_is_told_in_a_word() -> None:
    assert error_type(Ran("get Session", "SELECT 1", 0.1, None)) is None
    assert error_type(Ran("get Session", "SELECT 1", 0.1, TimeoutError("geheim"))) == "TimeoutError"
