"""An ``update()`` of a mapped class changes many rows at once, and their versions and times go with them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest
import sqlalchemy as sa

from timber import StaleDataError, Timber
from timber.models import ModelConfig, ModelRegistry

REGISTRY = ModelRegistry(
    models=[
        ModelConfig.model_validate(
            {
                "name": name,
                "table": f"{name.lower()}s",
                "mixins": mixins,
                "columns": [
                    {"name": "id", "type": "Integer", "primary_key": True},
                    {"name": "n", "type": "BigInteger", "nullable": False},
                ],
            }
        )
        for name, mixins in (("Counter", ["Version", "Timestamps"]), ("Plain", []))
    ]
)
COUNTER: Any = REGISTRY.get_model("Counter")
PLAIN: Any = REGISTRY.get_model("Plain")


@pytest.fixture
async def timber(bare_database_url: str) -> AsyncGenerator[Timber]:
    async with Timber(bare_database_url, registry=REGISTRY) as timber:
        await timber.db.create_all_tables(REGISTRY.metadata)
        yield timber


@pytest.fixture
async def counters(timber: Timber) -> Any:
    rows: Any = timber.repository("Counter", REGISTRY.read_dto("Counter"))
    await rows.insert_many([{"id": key, "n": 0} for key in range(3)])
    return rows


async def test_versions_are_counted_up_so_that_a_stale_update_is_found(
    timber: Timber, counters: Any
):
    before = await counters.get(1)
    async with timber.unit_of_work() as uow:
        await uow.session.execute(sa.update(COUNTER).values(n=COUNTER.n + 1))
    with pytest.raises(StaleDataError):
        await counters.update(1, {"n": before.n + 1}, expected_version=before.version)
    after = await counters.get(1)
    assert (after.n, after.version) == (before.n + 1, before.version + 1)
    assert after.updated_at > before.updated_at


async def test_a_session_of_its_own_counts_too(timber: Timber, counters: Any):
    async with timber.db.get_session() as session:
        turning = sa.update(COUNTER).where(COUNTER.id < 2).values({COUNTER.n: 5})
        found = await session.execute(turning.returning(COUNTER.id, COUNTER.version))
        assert sorted(found.all()) == [(0, 2), (1, 2)]
        await session.commit()
    assert (await counters.get(2)).version == 1


async def test_what_a_statement_sets_itself_stays(timber: Timber, counters: Any):
    before = await counters.get(0)
    async with timber.unit_of_work() as uow:
        setting = {"version": 9, "updated_at": COUNTER.created_at}
        await uow.session.execute(sa.update(COUNTER).values(setting))
    after = await counters.get(0)
    assert (after.version, after.updated_at) == (9, before.created_at)


async def test_models_without_these_mixins_are_updated_as_they_are(timber: Timber):
    rows: Any = timber.repository("Plain", REGISTRY.read_dto("Plain"))
    await rows.insert({"id": 1, "n": 0})
    async with timber.unit_of_work() as uow:
        await uow.session.execute(sa.update(PLAIN).values(n=3))
    assert (await rows.get(1)).n == 3
