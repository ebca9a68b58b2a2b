"""The cache bound to a database: units of work, savepoints, the ORM, unknown outcomes."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
from redis.asyncio import Redis
from sqlalchemy import update

from timber.cache.binding import Binding
from timber.cache.codec import JsonCodec
from timber.cache.coherence.cache import CoherentCache
from timber.cache.coherence.connecting import coherent_cache
from timber.cache.coherence.owing import TABLE
from timber.database.manager import AsyncDatabaseManager
from timber.database.statements import Statement
from timber.models import ModelConfig, ModelRegistry

REGISTRY = ModelRegistry(
    models=[
        ModelConfig.model_validate(
            {
                "name": "Note",
                "table": "note",
                "columns": [
                    {"name": "id", "type": "Integer", "primary_key": True},
                    {"name": "user_id", "type": "Text"},
                    {"name": "n", "type": "Integer"},
                ],
                "features": {"cache": {"tags": ["user_notes:{user_id}"]}},
            }
        )
    ],
    built_in=False,
)
Note = REGISTRY.get_model("Note")


class House:
    """A database with notes, and a cache on it."""

    def __init__(self, db: AsyncDatabaseManager, cache: CoherentCache) -> None:
        self.db = db
        self.cache = cache
        self.kind = cache.kind("Note", JsonCodec("00"))

    async def note(self, key: int = 1) -> object:
        async def load() -> object:
            rows = await self.db.fetch(
                Statement("SELECT n FROM note WHERE id = $1", label="note"), [key]
            )
            return rows[0]["n"] if rows else None

        return self.kind.codec.thaw(await self.cache.read(self.kind, f"Note:{key}", load))

    async def notes(self, user: str = "ann") -> object:
        async def load() -> object:
            sql = "SELECT count(*) AS n FROM note WHERE user_id = $1"
            return (await self.db.fetch(Statement(sql, label="notes"), [user]))[0]["n"]

        name, tags = f"Note?of {user}", [f"user_notes:{user}"]
        return self.kind.codec.thaw(await self.cache.read(self.kind, name, load, tags=tags))

    async def owed(self) -> int:
        sql = f"SELECT count(*) AS n FROM {TABLE}"
        count: int = (await self.db.fetch(Statement(sql, label="owed")))[0]["n"]
        return count


@pytest.fixture
async def house(
    bare_database_url: str, cache_url: str, prefix: str, client: Redis
) -> AsyncGenerator[House]:
    db = AsyncDatabaseManager(bare_database_url)
    cache = coherent_cache(cache_url, db, prefix=prefix)
    try:
        await db.create_all_tables(REGISTRY.metadata)
        binding = Binding(cache, db, REGISTRY)
        await cache.start()
        async with db.unit_of_work() as unit:
            unit.session.add(Note(id=1, user_id="ann", n=1))
        yield House(db, cache)
        binding.unbind()
    finally:
        await cache.close()
        await db.dispose()


async def test_what_a_unit_of_work_says_it_changed_is_dropped_when_it_has_committed(
    house: House,
) -> None:
    assert await house.note() == 1
    async with house.db.unit_of_work() as unit:
        await house.db.execute(Statement("UPDATE note SET n = 2", label="update"))
        unit.invalidate("Note", ids=[1])
    assert await house.note() == 2


async def test_the_orm_says_by_itself_what_it_has_changed(house: House) -> None:
    assert (await house.note(), await house.notes("ann"), await house.notes("bob")) == (1, 1, 0)
    async with house.db.unit_of_work() as unit:
        note = await unit.session.get_one(Note, 1)
        note.n, note.user_id = 5, "bob"
    assert (await house.note(), await house.notes("ann"), await house.notes("bob")) == (5, 0, 1)
    async with house.db.unit_of_work() as unit:
        await unit.session.delete(await unit.session.get_one(Note, 1))
    assert (await house.note(), await house.notes("bob")) == (None, 0)


async def test_a_bulk_update_of_the_orm_drops_all_of_the_model(house: House) -> None:
    assert (await house.note(), await house.notes()) == (1, 1)
    async with house.db.unit_of_work() as unit:
        await unit.session.execute(update(Note).values(n=9, user_id="bob"))
    assert (await house.note(), await house.notes()) == (9, 0)


async def test_a_rollback_touches_nothing(house: House) -> None:
    assert await house.note() == 1
    invalidated = house.cache.stats()["l2"]["Note"]["invalidations"]
    with pytest.raises(RuntimeError):
        async with house.db.unit_of_work() as unit:
            (await unit.session.get_one(Note, 1)).n = 5
            await unit.session.flush()
            raise RuntimeError
    assert await house.note() == 1
    assert house.cache.stats()["l2"]["Note"]["invalidations"] == invalidated


async def test_a_savepoint_that_is_rolled_back_drops_its_own_changes_only(house: House) -> None:
    async with house.db.unit_of_work() as unit:
        unit.session.add(Note(id=2, user_id="bob", n=2))
    assert (await house.note(1), await house.note(2)) == (1, 2)
    invalidated = house.cache.stats()["l2"]["Note"]["invalidations"]
    async with house.db.unit_of_work() as unit:
        with pytest.raises(RuntimeError):
            async with unit.savepoint():
                unit.invalidate("Note", ids=[1])
                raise RuntimeError
        async with unit.savepoint():
            await house.db.execute(Statement("UPDATE note SET n = 7 WHERE id = 2", label="two"))
            unit.invalidate("Note", ids=[2])
    assert house.cache.stats()["l2"]["Note"]["invalidations"] == invalidated + 1
    assert (await house.note(1), await house.note(2)) == (1, 7)


async def test_the_owed_row_is_part_of_the_transaction(house: House) -> None:
    async with house.db.unit_of_work(), house.db.unit_of_work(independent=True) as inner:
        inner.invalidate("Note", ids=[1])
    with pytest.raises(RuntimeError):
        async with house.db.unit_of_work() as unit:
            unit.invalidate("Note", ids=[1])
            unit.on_rollback(lambda: None)
            raise RuntimeError
    await house.cache.owing.delete_settled()  # type: ignore[union-attr]
    assert await house.owed() == 0


async def test_callbacks_after_the_commit_read_what_was_committed(house: House) -> None:
    assert await house.note() == 1
    seen: list[object] = []

    async def look() -> None:
        seen.append(await house.note())

    async with house.db.unit_of_work() as unit:
        (await unit.session.get_one(Note, 1)).n = 5
        unit.on_commit(look)
    assert seen == [5]


async def test_a_unit_of_work_that_changes_nothing_cached_costs_nothing(house: House) -> None:
    before = house.cache.stats()["l2"]["Note"]["invalidations"]
    async with house.db.unit_of_work():
        await house.db.fetch(Statement("SELECT 1", label="one"))
    assert house.cache.stats()["l2"]["Note"]["invalidations"] == before
