"""Core statements compiled once, with everything the dialect would have done to their parameters."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import (
    ARRAY,
    Boolean,
    Column,
    Date,
    DateTime,
    Enum,
    Float,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    Numeric,
    String,
    Table,
    Time,
    TypeDecorator,
    Uuid,
    any_,
    bindparam,
    select,
    update,
)
from sqlalchemy import (
    insert as insert_into,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import asyncpg as dialect

from tests.database.ledger import Entry, Observer
from timber.database.manager import AsyncDatabaseManager
from timber.database.statements import Statement, StatementCache, compile_statement

DIALECT = dialect.dialect()


class Reversed(TypeDecorator[str]):
    impl = String
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        return value[::-1]

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        return value


VALUES: list[tuple[Any, Any]] = [
    (Integer(), 5),
    (String(), "ü\n'"),
    (Boolean(), True),
    (Float(), 1.5),
    (Numeric(10, 2), Decimal("3.10")),
    (Date(), date(2024, 2, 29)),
    (Time(), time(1, 2, 3)),
    (DateTime(timezone=True), datetime(2024, 1, 1, tzinfo=UTC)),
    (Interval(), timedelta(days=1, seconds=2)),
    (Uuid(), UUID(int=7)),
    (LargeBinary(), b"\x00\xff"),
    (ARRAY(Integer), [1, 2]),
    (ARRAY(String), ["a", "b,c"]),
    (JSONB(), {"a": [1, None, "x"]}),
    (Enum("x", "y", name="plain", native_enum=False), "x"),
]


@pytest.mark.parametrize(("type_", "value"), VALUES, ids=lambda v: type(v).__name__)
async def test_a_value_of_every_type_goes_there_and_back(
    db: AsyncDatabaseManager, type_: Any, value: Any
):
    statement = compile_statement(
        select(bindparam("v", type_=type_).label("v")), db.dialect, label="echo"
    )
    row = (await db.fetch(statement, statement.bind({"v": value})))[0]
    assert row["v"] == value
    assert type(row["v"]) is type(value)


async def test_a_stdlib_uuid_comes_back_and_works_as_one(db: AsyncDatabaseManager):
    key = uuid4()
    row = (await db.fetch(Statement("SELECT $1::uuid, NULL::uuid, ARRAY[$1]", label="x"), (key,)))[
        0
    ]
    found = row[0]
    assert type(found) is UUID
    assert (found, hash(found), str(found), found.hex) == (key, hash(key), str(key), key.hex)
    assert (found.version, found.is_safe, found.bytes) == (key.version, key.is_safe, key.bytes)
    assert row[1] is None
    assert row[2] == [key]


def test_bind_processors_run_and_defaults_are_known():
    table = Table(
        "t", MetaData(), Column("a", Reversed), Column("b", Integer), Column("c", Integer)
    )
    statement = compile_statement(
        insert_into(table).values(a=bindparam("a"), b=bindparam("b"), c=3),
        DIALECT,
        label="insert t",
    )
    assert statement.bind({"a": "abc", "b": 2}) == ["cba", 2, 3]
    assert statement.bind({"a": "xy", "b": 5}) == ["yx", 5, 3]
    with pytest.raises(KeyError):
        Statement("SELECT $1", label="x", binds=[("missing", None)]).bind({})


def test_a_parameter_used_twice_is_one_argument():
    value = bindparam("v", type_=Integer)
    statement = compile_statement(select(value + value), DIALECT, label="x")
    assert statement.sql.count("$1") == 2
    assert statement.bind({"v": 4}) == [4]


def test_what_returns_rows_can_return_the_transactions_id():
    returning = compile_statement(
        update(Entry).values(note="x").returning(Entry.id), DIALECT, label="x"
    )
    assert returning.returning
    assert returning.sql_with_xid.endswith("RETURNING entry.id, pg_current_xact_id() AS _xid")
    plain = compile_statement(update(Entry).values(note="x"), DIALECT, label="x")
    assert not plain.returning
    assert plain.sql_with_xid == plain.sql


def test_a_parameter_without_a_fixed_text_is_refused():
    with pytest.raises(TypeError, match="ANY"):
        compile_statement(select(Entry).where(Entry.note.in_(["a"])), DIALECT, label="x")
    expanded = compile_statement(
        select(Entry.id).where(Entry.note.in_(["a", "b"])), DIALECT, label="x", expand=True
    )
    assert expanded.bind({}) == ["a", "b"]
    fixed = compile_statement(
        select(Entry.id).where(Entry.note == any_(bindparam("notes", type_=ARRAY(String)))),
        DIALECT,
        label="x",
    )
    assert fixed.bind({"notes": ["a"]}) == [["a"]]


def test_a_statement_shows_its_text_and_no_values():
    statement = compile_statement(
        select(Entry.id).where(Entry.note == "secret"), DIALECT, label="x"
    )
    assert "secret" not in repr(statement)
    assert repr(statement).startswith("<Statement x: SELECT")


def test_the_cache_compiles_once_and_forgets_the_longest_unused():
    cache = StatementCache(limit=2)
    compiled: list[str] = []

    def make(name: str) -> Statement:
        compiled.append(name)
        return Statement(name, label=name)

    first = cache.get("a", lambda: make("a"))
    assert cache.get("a", lambda: make("a")) is first
    cache.get("b", lambda: make("b"))
    cache.get("a", lambda: make("a"))
    cache.get("c", lambda: make("c"))
    assert len(cache) == 2
    assert cache.get("a", lambda: make("a")) is first
    cache.get("b", lambda: make("b"))
    assert compiled == ["a", "b", "c", "b"]


async def test_the_number_of_touched_rows(db: AsyncDatabaseManager, observer: Observer):
    rows = [(uuid4(), str(n)) for n in range(5)]
    assert await db.copy("entry", ["id", "note"], rows) == 5
    assert await db.copy("entry", ["id", "note"], []) == 0
    change = compile_statement(update(Entry).values(amount=Entry.amount + 1), db.dialect, label="x")
    assert await db.execute(change, change.bind({})) == 5
    assert await db.execute(Statement("DELETE FROM entry WHERE note = '9'", label="x")) == 0
    assert await db.execute(Statement("CREATE TEMPORARY TABLE x ()", label="x")) == 0
    async with db.unit_of_work():
        assert await db.copy("entry", ["id"], [(uuid4(),)]) == 1
        assert await db.execute(change, change.bind({})) == 6
    assert await observer.count() == 6


async def test_copy_takes_what_the_binary_protocol_takes(
    db: AsyncDatabaseManager, observer: Observer
):
    key = uuid4()
    await db.copy(
        "entry", ["id", "note", "amount", "data"], [(key, "ü\t\\N", 2**31 - 1, '{"a": 1}')]
    )
    row = await observer.connection.fetchrow("SELECT * FROM entry")
    assert row is not None
    assert (row["id"], row["note"], row["amount"]) == (key, "ü\t\\N", 2**31 - 1)
    assert json.loads(row["data"]) == {"a": 1}
