"""What the database layer tells of itself: slow queries, echo, plans, health."""

from __future__ import annotations

import logging
from uuid import uuid4

import pytest
from sqlalchemy import delete, select, text, update
from sqlalchemy import insert as insert_into

from tests.database.conftest import MakeDb
from tests.database.ledger import (
    DIVIDE,
    FIND,
    KEYS,
    SLEEP,
    Entry,
    Observer,
    assert_nothing_is_held,
    insert,
)
from timber.database.manager import AsyncDatabaseManager
from timber.errors import UsageError, ValidationError


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        r.getMessage()
        for r in caplog.records
        if r.name == "timber.sql" and r.levelno == logging.WARNING
    ]


async def test_a_slow_query_is_logged_as_a_warning_without_parameters(
    make_db: MakeDb, caplog: pytest.LogCaptureFixture
):
    db = make_db(slow_query_seconds=0.02)
    await db.fetch(SLEEP, (0.0,))
    assert not warnings(caplog)
    await db.fetch(SLEEP, (0.034567,))
    async with db.unit_of_work():
        await db.fetch(SLEEP, (0.034567,))
    lines = warnings(caplog)
    assert len(lines) == 2
    for line in lines:
        assert line.startswith("Slow query (0.0")
        assert "sleep: SELECT pg_sleep($1::float8)" in line
        assert "0.034567" not in line


async def test_a_slow_query_of_the_orm_is_logged_too(
    make_db: MakeDb, caplog: pytest.LogCaptureFixture
):
    """The statements of the direct path do not pass SQLAlchemy's events; those of a session do."""
    db = make_db(slow_query_seconds=0.02)
    async with db.session_scope() as session:
        await session.execute(text("SELECT pg_sleep(:s), 'x'"), {"s": 0.034567})
    async with db.get_session() as session:
        await session.execute(text("SELECT pg_sleep(:s), 'y'"), {"s": 0.034567})
    lines = warnings(caplog)
    assert len(lines) == 2
    assert all("pg_sleep" in line and "0.034567" not in line for line in lines)


async def test_a_slow_query_that_fails_is_logged_too(
    make_db: MakeDb, caplog: pytest.LogCaptureFixture
):
    db = make_db(slow_query_seconds=0.02)
    with pytest.raises(Exception, match="statement_timeout"):
        async with db.unit_of_work(statement_timeout=0.03):
            await db.fetch(SLEEP, (10.0,))
    assert len(warnings(caplog)) == 1


async def test_the_default_is_one_second(make_db: MakeDb, caplog: pytest.LogCaptureFixture):
    assert make_db().monitor.slow_seconds == 1.0


async def test_echo_logs_every_statement_of_both_paths_without_parameters(
    make_db: MakeDb, caplog: pytest.LogCaptureFixture
):
    db = make_db(echo=True)
    with caplog.at_level(logging.INFO, logger="timber.sql"):
        key = await insert(db, "value-of-a-row")
        await db.fetch(FIND, (key,))
        await db.copy("entry", ["id", "note"], [(uuid4(), "value-of-a-row")])
        async with db.session_scope() as session:
            await session.scalars(select(Entry).where(Entry.note == "value-of-a-row"))
    logged = "\n".join(record.getMessage() for record in caplog.records)
    for part in (
        "INSERT INTO entry",
        "SELECT id, note",
        "copy entry",
        "FROM entry \nWHERE entry.note",
    ):
        assert part in logged
    assert "value-of-a-row" not in logged
    assert str(key) not in logged


async def test_without_echo_nothing_is_logged(
    db: AsyncDatabaseManager, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.INFO):
        await insert(db)
        async with db.session_scope() as session:
            await session.execute(text("SELECT 1"))
    assert not [record for record in caplog.records if record.levelno >= logging.INFO]


async def test_listeners_hear_of_each_statement_also_of_failed_ones(db: AsyncDatabaseManager):
    heard: list[tuple[str, str]] = []
    seconds: list[float] = []

    def listen(label: str, sql: str, took: float) -> None:
        heard.append((label, sql))
        seconds.append(took)

    db.monitor.listeners.append(listen)
    await db.fetch(KEYS)
    with pytest.raises(ValidationError):
        await db.fetch(DIVIDE, (0,))
    async with db.unit_of_work():
        await db.fetch(KEYS)
    assert heard == [("list entries", KEYS.sql), ("divide", DIVIDE.sql), ("list entries", KEYS.sql)]
    assert all(0 < took < 1 for took in seconds)


# --------------------------------------------------------------------------------------------------------------- plans


async def test_a_plan_is_parsed(db: AsyncDatabaseManager):
    plan = await db.explain(select(Entry).where(Entry.id == uuid4()))
    assert plan.root["Node Type"] in {"Index Scan", "Bitmap Heap Scan", "Seq Scan"}
    assert plan.cost > 0
    assert plan.nodes()[0] is plan.root
    joined = await db.explain(text("SELECT * FROM part JOIN entry ON entry.id = entry_id"))
    assert len(joined.nodes()) >= 3
    assert "entry" in str(joined)


async def test_a_plan_names_the_indexes(db: AsyncDatabaseManager):
    async with db.unit_of_work() as uow:
        await uow.session.execute(text("SET LOCAL enable_seqscan = off; "))
        plan = await db.explain(select(Entry).where(Entry.code == "x"))
    assert plan.indexes == ["entry_code_key"]
    assert "entry_code_key on entry" in str(plan)


async def test_a_plan_takes_lists_and_json(db: AsyncDatabaseManager):
    keys = [uuid4(), uuid4()]
    assert (await db.explain(select(Entry).where(Entry.id.in_(keys)))).root
    statement = insert_into(Entry).values(id=uuid4(), amount=1, data={"a": 1})
    assert (await db.explain(statement)).root["Node Type"] == "ModifyTable"


async def test_a_plan_alone_runs_nothing(db: AsyncDatabaseManager, observer: Observer):
    await insert(db, "x")
    await db.explain(delete(Entry))
    assert await observer.notes() == ["x"]


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize(
    "statement",
    [
        update(Entry).values(note="changed"),
        delete(Entry),
        insert_into(Entry).values(note="new", amount=0, id=uuid4()),
        text("DELETE FROM entry"),
        text("INSERT INTO entry (id) SELECT gen_random_uuid()"),
        text("WITH gone AS (DELETE FROM entry RETURNING id) SELECT * FROM gone"),
        select(delete(Entry).returning(Entry.id).cte("gone").c.id),
    ],
    ids=[
        "update",
        "delete",
        "insert",
        "text delete",
        "text insert",
        "text with",
        "select of a delete",
    ],
)
async def test_analyzing_a_write_gives_real_counts_and_rolls_it_back(
    db: AsyncDatabaseManager, observer: Observer, statement: object, inside: bool
):
    await insert(db, "x")
    if inside:
        async with db.unit_of_work() as uow:
            await insert(db, "y")
            plan = await db.explain(statement, analyze=True)  # type: ignore[arg-type]
        assert uow.outcome == "committed"
    else:
        plan = await db.explain(statement, analyze=True)  # type: ignore[arg-type]
    assert "Actual Rows" in plan.root
    assert await observer.notes() == (["x", "y"] if inside else ["x"])
    assert_nothing_is_held(db)


async def test_a_plan_of_something_wrong_is_an_error_like_any(db: AsyncDatabaseManager):
    with pytest.raises(Exception, match="names a column that is not there"):
        await db.explain(text("SELECT nothing FROM entry"))
    assert_nothing_is_held(db)


# -------------------------------------------------------------------------------------------------------------- health


async def test_health_check_sends_one_statement(db: AsyncDatabaseManager):
    sent: list[str] = []
    db.monitor.listeners.append(lambda label, sql, took: sent.append(label))
    assert await db.health_check() is True
    assert sent == ["ping"]


async def test_tables_are_of_a_base_or_a_metadata_or_the_managers_own(
    make_db: MakeDb, bare_database_url: str
):
    from sqlalchemy import Column, Integer, MetaData, Table

    db = make_db(bare_database_url)
    with pytest.raises(UsageError, match="Which tables"):
        await db.create_all_tables()
    metadata = MetaData()
    Table("made", metadata, Column("id", Integer, primary_key=True))
    db.metadata = metadata
    await db.create_all_tables()
    await db.create_all_tables(metadata)
    assert (await db.explain(text("SELECT * FROM made"))).root["Relation Name"] == "made"
    await db.drop_all_tables()
    await db.dispose()
