"""Owed invalidations in PostgreSQL: written with the change, paid by whoever comes first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
import sqlalchemy as sa
from redis.asyncio import Redis

from tests.cache.tables import eventually
from timber.cache.codec import JsonCodec
from timber.cache.coherence.cache import CoherentCache
from timber.cache.coherence.connecting import coherent_cache
from timber.cache.coherence.owing import (
    NAMES_COLUMN,
    TABLE,
    StoredOwedRows,
    new_owed_id,
    owing_sql,
    row_name_sql,
)
from timber.cache.keys import TagTemplate
from timber.database.manager import AsyncDatabaseManager
from timber.database.statements import Statement
from timber.models.owed_table import owed_table

KINDS = {"id": "Integer", "user_id": "String", "n": "Integer", "made_at": "DateTime"}
TAG = TagTemplate("user_rows:{user_id}:it's", KINDS)


@pytest.fixture
async def db(bare_database_url: str) -> AsyncGenerator[AsyncDatabaseManager]:
    db = AsyncDatabaseManager(bare_database_url)
    metadata = sa.MetaData()
    owed_table(metadata)
    sa.Table(
        "row",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("user_id", sa.String),
        sa.Column("n", sa.Integer),
    )
    try:
        await db.create_all_tables(metadata)
        yield db
    finally:
        await db.dispose()


@pytest.fixture
async def cache(
    db: AsyncDatabaseManager, cache_url: str, prefix: str, client: Redis
) -> AsyncGenerator[CoherentCache]:
    cache = coherent_cache(cache_url, db, prefix=prefix)
    await cache.start()
    try:
        yield cache
    finally:
        await cache.close()


async def owed(db: AsyncDatabaseManager) -> list[Any]:
    return await db.fetch(Statement(f"SELECT id, names FROM {TABLE}", label="owed"))


async def eventually_paid(db: AsyncDatabaseManager) -> None:
    async with asyncio.timeout(5):
        while await owed(db):
            await asyncio.sleep(0.02)


def writing(sql: str, parameters: int) -> Statement:
    names = [row_name_sql("Row", "id"), TAG.sql("written")]
    return Statement(
        owing_sql(sql, returned=["id", "user_id", "n"], names=names, parameters=parameters),
        label="write",
    )


INSERT = writing("INSERT INTO row VALUES ($1, $2, $3) RETURNING id, user_id, n", 3)
UPDATE = writing("UPDATE row SET n = $1 WHERE user_id = $2 RETURNING id, user_id, n", 2)


async def test_a_lone_write_leaves_its_owed_row_in_the_same_statement(
    db: AsyncDatabaseManager,
) -> None:
    first, second = new_owed_id(), new_owed_id()
    rows = await db.write(INSERT, [1, "ann", 5, first])
    assert dict(rows[0]) == {
        "id": 1,
        "user_id": "ann",
        "n": 5,
        NAMES_COLUMN: ["Row:1", TAG.of({"user_id": "ann"})],
    }
    await db.write(INSERT, [2, "ann", 5, second])
    assert [row["id"] for row in await owed(db)] == [first, second]
    third = new_owed_id()
    rows = await db.write(UPDATE, [6, "ann", third])
    assert len(rows) == 2
    assert rows[1][NAMES_COLUMN] is None
    names = ["Row:1", "Row:2", "user_rows:ann:it's"]
    assert sorted(rows[0][NAMES_COLUMN]) == names
    assert sorted((await owed(db))[2]["names"]) == names


async def test_a_write_that_touches_no_row_owes_nothing(db: AsyncDatabaseManager) -> None:
    assert await db.write(UPDATE, [6, "nobody", new_owed_id()]) == []
    assert await owed(db) == []


async def test_the_database_and_python_write_the_same_tag(db: AsyncDatabaseManager) -> None:
    for number, user in enumerate(["ann", "", "O'Brien:{x}", "größe", None]):
        rows = await db.write(INSERT, [number, user, 0, new_owed_id()])
        assert TAG.of({"user_id": user}) in rows[0][NAMES_COLUMN]
        assert f"Row:{number}" in rows[0][NAMES_COLUMN]


def test_a_column_that_is_written_differently_cannot_be_part_of_a_tag() -> None:
    for text in ("at:{made_at}", "of:{unknown}"):
        with pytest.raises(ValueError, match="tag"):
            TagTemplate(text, KINDS)


async def test_a_writer_deletes_its_owed_row_once_redis_has_confirmed(
    db: AsyncDatabaseManager, cache: CoherentCache
) -> None:
    async with db.unit_of_work():
        changes = cache.changes()
        changes.add("Row", [1])
        statement = cache.owed_statement(changes)
        assert statement is not None
        await db.execute(Statement(statement[0], label="owed"), statement[1])
    assert len(await owed(db)) == 1
    await cache.committed(changes)
    await eventually_paid(db)
    assert cache.stats()["replayed"] == 0


async def test_what_a_crashed_writer_owes_is_cleared_by_another_process(
    db: AsyncDatabaseManager, cache: CoherentCache
) -> None:
    kind = cache.kind("Row", JsonCodec("00"))
    values = iter([1, 2])

    async def load() -> int:
        return next(values)

    assert await cache.read(kind, "Row:1", load) == b"1"
    await db.write(INSERT, [1, "ann", 5, new_owed_id()])  # and then nothing: it has crashed
    await eventually_paid(db)
    async with asyncio.timeout(1):
        while await cache.read(kind, "Row:1", load) != b"2":
            await asyncio.sleep(0.01)
    await eventually(lambda: cache.stats()["replayed"] == 1)


async def test_after_an_unknown_outcome_the_replay_pays(
    db: AsyncDatabaseManager, cache: CoherentCache
) -> None:
    changes = cache.changes()
    changes.add("Row", [1])
    changes.owed = new_owed_id()
    await StoredOwedRows(db).add(changes.owed, changes.names)
    await cache.unknown(changes)
    assert cache.owing is not None
    assert cache.owing.settled == 0
    await eventually_paid(db)
    await eventually(lambda: cache.stats()["replayed"] == 1)


async def test_a_rolled_back_write_owes_nothing(db: AsyncDatabaseManager) -> None:
    with pytest.raises(RuntimeError):
        async with db.unit_of_work():
            await db.write(INSERT, [1, "ann", 5, new_owed_id()])
            raise RuntimeError
    assert await owed(db) == []


async def test_the_replay_does_not_join_a_unit_of_work_that_happens_to_be_open(
    db: AsyncDatabaseManager, cache_url: str, prefix: str, client: Redis
) -> None:
    cache = coherent_cache(cache_url, db, prefix=prefix)
    async with db.unit_of_work():
        await cache.start()
        await db.write(INSERT, [1, "ann", 5, new_owed_id()])
    await eventually_paid(db)
    await cache.close()


async def test_the_table_is_tuned_for_rows_that_come_and_go(db: AsyncDatabaseManager) -> None:
    options = await db.fetch(
        Statement("SELECT reloptions FROM pg_class WHERE relname = $1", label="options"), [TABLE]
    )
    assert "autovacuum_vacuum_scale_factor=0" in options[0]["reloptions"]
    indexes = await db.fetch(
        Statement("SELECT 1 FROM pg_indexes WHERE tablename = $1", label="indexes"), [TABLE]
    )
    assert len(indexes) == 1


async def test_what_somebody_else_has_committed_can_be_said(
    db: AsyncDatabaseManager, cache: CoherentCache
) -> None:
    await cache.invalidate("Row", ids=[1])
    await eventually_paid(db)
    assert cache.stats()["unconfirmed"] == 0
