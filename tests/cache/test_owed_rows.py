"""Owed invalidations in PostgreSQL: written with the change, paid by whoever comes first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.cache.tables import eventually
from timber.cache.binding import Binding
from timber.cache.codec import JsonCodec
from timber.cache.coherence.cache import CoherentCache
from timber.cache.coherence.connecting import coherent_cache
from timber.cache.coherence.owing import TABLE, StoredOwedRows, new_owed_id
from timber.cache.keys import TagTemplate
from timber.cache.model_cache import ModelCache
from timber.database.manager import AsyncDatabaseManager
from timber.database.statements import Statement
from timber.models import ModelConfig, ModelRegistry
from timber.repository import Repository

REGISTRY = ModelRegistry(
    models=[
        ModelConfig.model_validate(
            {
                "name": "Row",
                "table": "row",
                "columns": [
                    {"name": "id", "type": "Integer", "primary_key": True},
                    {"name": "user_id", "type": "Text"},
                    {"name": "n", "type": "Integer"},
                ],
                "features": {"cache": {"tags": ["user_rows:{user_id}:it's"]}},
            }
        )
    ],
    built_in=False,
)
TAG = TagTemplate("user_rows:{user_id}:it's", {"user_id": "Text"})


@pytest.fixture
async def db(bare_database_url: str) -> AsyncGenerator[AsyncDatabaseManager]:
    db = AsyncDatabaseManager(bare_database_url)
    try:
        await db.create_all_tables(REGISTRY.metadata)
        yield db
    finally:
        await db.dispose()


@pytest.fixture
async def cache(
    db: AsyncDatabaseManager, cache_url: str, prefix: str, client: Redis
) -> AsyncGenerator[CoherentCache]:
    cache = coherent_cache(cache_url, db, prefix=prefix)
    Binding(cache, db, REGISTRY)
    await cache.start()
    try:
        yield cache
    finally:
        await cache.close()


@pytest.fixture
def rows(db: AsyncDatabaseManager, cache: CoherentCache) -> Repository[Any]:
    return Repository(db, REGISTRY.get_model("Row"), REGISTRY.read_dto("Row"), cache=cache)


@pytest.fixture
def crashed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writers that die when they have committed."""

    async def pay(*_: object) -> None:
        pass

    monkeypatch.setattr(ModelCache, "pay", pay)


async def owed(db: AsyncDatabaseManager) -> list[Any]:
    return await db.fetch(Statement(f"SELECT id, names FROM {TABLE} ORDER BY id", label="owed"))


async def eventually_paid(db: AsyncDatabaseManager) -> None:
    async with asyncio.timeout(5):
        while await owed(db):
            await asyncio.sleep(0.02)


@pytest.fixture
def unpaid(cache: CoherentCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody replays what is owed."""

    async def nothing() -> int:
        return 0

    monkeypatch.setattr(cache.owing, "replay", nothing)


async def test_a_lone_write_leaves_its_owed_row_in_the_same_statement(
    rows: Repository[Any], db: AsyncDatabaseManager, crashed: None, unpaid: None
) -> None:
    tag = TAG.of({"user_id": "ann"})
    sent: list[str] = []
    db.monitor.listeners.append(lambda label, _sql, _seconds: sent.append(label))
    await rows.insert({"id": 1, "user_id": "ann", "n": 5})
    await rows.upsert({"id": 2, "user_id": "ann", "n": 5}, update=["n"])
    await rows.update(1, {"n": 6})
    await rows.update_where({"n": 7}, user_id="ann")
    await rows.delete(2)
    written = [label for label in sent if not label.startswith("background")]
    assert written == [
        f"{verb} Row" for verb in ("insert", "upsert", "update", "update_where", "delete")
    ]
    assert [sorted(row["names"]) for row in await owed(db)] == [
        ["Row:1", tag],
        ["Row:2", tag],
        ["Row:1", tag],
        ["Row:1", "Row:2", tag],
        ["Row:2", tag],
    ]


async def test_a_write_that_touches_no_row_owes_nothing(
    rows: Repository[Any], db: AsyncDatabaseManager, cache: CoherentCache
) -> None:
    assert await rows.update_where({"n": 6}, user_id="nobody") == 0
    assert await rows.delete_where(user_id="nobody") == 0
    assert await owed(db) == []
    assert cache.stats()["l2"]["Row"]["invalidations"] == 0


async def test_a_write_of_very_many_rows_owes_all_of_the_model(
    rows: Repository[Any], db: AsyncDatabaseManager, crashed: None, unpaid: None
) -> None:
    await rows.insert_many([{"id": n, "user_id": f"u{n}", "n": 0} for n in range(1001)])
    await rows.update_where({"n": 1}, rows.where.n == 0)
    assert [row["names"] for row in await owed(db)][-1] == ["Row"]


async def test_the_database_and_python_write_the_same_tag(
    rows: Repository[Any], db: AsyncDatabaseManager, crashed: None, unpaid: None
) -> None:
    for number, user in enumerate(["ann", "", "O'Brien:{x}", "größe", None]):
        await rows.insert({"id": number, "user_id": user, "n": 0})
        names = (await owed(db))[-1]["names"]
        assert set(names) == {TAG.of({"user_id": user}), f"Row:{number}"}


def test_a_column_that_is_written_differently_cannot_be_part_of_a_tag() -> None:
    for text in ("at:{made_at}", "of:{unknown}"):
        with pytest.raises(ValueError, match="tag"):
            TagTemplate(text, {"made_at": "DateTime"})


async def test_a_writer_deletes_its_owed_row_once_redis_has_confirmed(
    rows: Repository[Any], db: AsyncDatabaseManager, cache: CoherentCache
) -> None:
    await rows.insert({"id": 1, "user_id": "ann", "n": 5})
    async with db.unit_of_work():
        await rows.update(1, {"n": 6})
        await rows.update(1, {"n": 7})
    assert len(await owed(db)) <= 2
    await eventually_paid(db)
    assert cache.stats()["replayed"] == 0


async def test_a_unit_of_work_owes_one_row_whatever_it_writes(
    rows: Repository[Any], db: AsyncDatabaseManager, unpaid: None, cache: CoherentCache
) -> None:
    cache.owing.settle = lambda _: None  # type: ignore[union-attr, method-assign, misc]
    async with db.unit_of_work():
        await rows.insert({"id": 1, "user_id": "ann", "n": 5})
        await rows.insert_many([{"id": 2, "user_id": "bob", "n": 5}])
        await rows.update_where({"n": 7}, user_id="bob")
    tags = [TAG.of({"user_id": user}) for user in ("ann", "bob")]
    [row] = await owed(db)
    assert sorted(row["names"]) == ["Row:1", "Row:2", *tags]


async def test_what_a_crashed_writer_owes_is_cleared_by_another_process(
    db: AsyncDatabaseManager, cache: CoherentCache, rows: Repository[Any], crashed: None
) -> None:
    await rows.insert({"id": 1, "user_id": "ann", "n": 5})
    await eventually_paid(db)
    assert (await rows.get(1)).n == 5
    await rows.update(1, {"n": 6})  # and then nothing: it has crashed
    await eventually_paid(db)
    async with asyncio.timeout(1):
        while (await rows.get(1)).n != 6:
            await asyncio.sleep(0.01)
    await eventually(lambda: cache.stats()["replayed"] == 2)


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


async def test_a_rolled_back_write_owes_nothing(
    rows: Repository[Any], db: AsyncDatabaseManager
) -> None:
    with pytest.raises(RuntimeError):
        async with db.unit_of_work():
            await rows.insert({"id": 1, "user_id": "ann", "n": 5})
            raise RuntimeError
    assert await owed(db) == []


async def test_a_write_that_was_cut_off_clears_all_of_its_model(
    rows: Repository[Any], db: AsyncDatabaseManager, cache: CoherentCache
) -> None:
    await rows.insert({"id": 1, "user_id": "ann", "n": 5})
    assert (await rows.get(1)).n == 5
    task = asyncio.create_task(rows.update(1, {"n": 6}))
    while not task.done() and (await rows.get(1, fresh=True)).n == 5:
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await rows.get(1)).n == (await rows.get(1, fresh=True)).n
    await eventually_paid(db)
    assert cache.stats()["unconfirmed"] == 0


async def test_the_replay_does_not_join_a_unit_of_work_that_happens_to_be_open(
    db: AsyncDatabaseManager, cache_url: str, prefix: str, client: Redis
) -> None:
    cache = coherent_cache(cache_url, db, prefix=prefix)
    async with db.unit_of_work():
        await cache.start()
        await StoredOwedRows(db).add(new_owed_id(), ["Row:1"])
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
    kind = cache.kind("Row", JsonCodec("00"))
    values = iter([1, 2])

    async def load() -> int:
        return next(values)

    assert await cache.read(kind, "Row:1", load) == b"1"
    await cache.invalidate("Row", ids=[1])
    assert await cache.read(kind, "Row:1", load) == b"2"
    await eventually_paid(db)
    assert cache.stats()["unconfirmed"] == 0
