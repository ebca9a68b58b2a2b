"""Code that migrations consist of means what the catalog says."""

from __future__ import annotations

import ast

import pytest
import sqlalchemy as sa
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy.dialects.postgresql import asyncpg

from timber.database.migrations.catalog import (
    Column,
    Constraint,
    Expression,
    Index,
    IndexKey,
    Table,
    settled,
)
from timber.database.migrations.ordering import in_order
from timber.database.migrations.rendering import column_code, create_index, indented, quoted, sql

_PIECES = [*"ab1 :\\'\"%$\n(){}", "::", "\\:", '"""', ":a", "ü", "🙂"]
_TEXT = st.lists(st.sampled_from(_PIECES), max_size=30).map("".join)


@given(text=_TEXT | st.text(st.characters(exclude_categories=["Cs", "Cc"])))
@example(text="a = ':b' OR c ~ '\\:d' OR e::text = E'\\\\:f' OR '{\"g:h\": 1}' @> :i")
@example(text="\\:$:a")
@example(text='first\n"""\\"""\n:last\\')
def test_sql_arrives_as_it_was(text: str) -> None:
    value = ast.literal_eval(sql(text))
    compiled = str(sa.text(value).compile(dialect=asyncpg.dialect()))
    expected = f"\n{text}\n" if "\n" in text else text
    assert compiled == expected


@given(texts=st.lists(_TEXT, max_size=4))
def test_indenting_leaves_the_inside_of_texts_alone(texts: list[str]) -> None:
    body = "\n".join(f"found.append({sql(text)})" for text in texts) or "pass"
    found: list[str] = []
    exec(f"def run():\n{indented(body)}\nrun()", {"found": found})
    assert found == [ast.literal_eval(sql(text)) for text in texts]


@pytest.mark.parametrize(
    ("column", "code"),
    [
        (Column("a", "character varying(20)"), 'sa.Column("a", sa.String(20), nullable=True)'),
        (
            Column("a", "numeric(6,2)[]"),
            'sa.Column("a", postgresql.ARRAY(sa.Numeric(6, 2)), nullable=True)',
        ),
        (Column("a", "vector(3)"), 'sa.Column("a", SQLType("vector(3)"), nullable=True)'),
        (
            Column("a", "text", collation="C"),
            'sa.Column("a", SQLType("text COLLATE \\"C\\""), nullable=True)',
        ),
        (
            Column(
                "a",
                "integer",
                nullable=False,
                default=Expression.of("nextval('t_a_seq'::regclass)"),
                serial=True,
            ),
            'sa.Column("a", SQLType("SERIAL"), nullable=False)',
        ),
        (
            Column("a", "bigint", identity="d"),
            'sa.Column("a", sa.BigInteger(), sa.Identity(always=False), nullable=True)',
        ),
        (
            Column("a", "integer", default=Expression.of("0")),
            'sa.Column("a", sa.Integer(), autoincrement=False, nullable=True, server_default=sa.text("0"))',
        ),
    ],
)
def test_columns(column: Column, code: str) -> None:
    written = column_code(column).replace("\n", "").replace("    ", " ")
    assert written.replace("( ", "(").replace(",)", ")") == code


def test_an_index_says_only_what_is_not_usual() -> None:
    table = Table("shop.order", {})
    keys = (
        IndexKey(Expression.of("a")),
        IndexKey(Expression.of("b"), descending=True, nulls_first=True),
        IndexKey(Expression.of("c"), descending=True),
        IndexKey(
            Expression.of("lower(d)"), is_column=False, operators="text_pattern_ops", collation="C"
        ),
        IndexKey(Expression.of('"user"')),
    )
    written = create_index(table, Index("ix", True, "btree", keys, nulls_not_distinct=True))
    compile(written, "written", "eval")
    for part in (
        '"order"',
        'schema="shop"',
        '["a", sa.text("b DESC"), sa.text("c DESC NULLS LAST"), ',
        'sa.text("lower(d) COLLATE \\"C\\" text_pattern_ops"), "user"]',
        "unique=True",
        "postgresql_nulls_not_distinct=True",
    ):
        assert part in written


def test_names_are_quoted_where_they_must_be() -> None:
    assert quoted("a.b") == "a.b"
    assert quoted("order") == '"order"'
    assert quoted('A"b') == '"A""b"'


def test_a_list_of_labels_has_one_form_however_often_it_is_written_down() -> None:
    once = "(a)::text = ANY ((ARRAY['x'::character varying, 'it''s'::character varying])::text[])"
    again = "(a)::text = ANY (ARRAY[('x'::character varying)::text, ('it''s'::character varying)::text])"
    assert settled(once) == again
    assert settled(again) == again


def test_tables_that_refer_to_one_another_in_a_circle_are_created_before_the_references() -> None:
    def table(name: str, *targets: str) -> Table:
        keys = [Constraint(f"{name}_{t}", "f", "", columns=(t,), target=t) for t in targets]
        return Table(name, {}, {key.name: key for key in keys})

    tables, later = in_order(
        [table("a", "b"), table("b", "c", "b"), table("c", "a"), table("d", "a")]
    )
    assert [t.name for t in tables] == ["a", "c", "b", "d"]
    assert [key.name for _, key in later] == ["a_b", "c_a"] or [k.name for _, k in later] == ["a_b"]
