"""Whichever way a row comes, it meets its rules, as it will be; what does not is not stored."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.harness import databases
from tests.harness.databases import Databases, run_apart
from timber import Timber
from timber.database.manager import AsyncDatabaseManager
from timber.errors import ValidationError
from timber.models.registry import ModelRegistry
from timber.repository import Repository
from timber.testing import count_queries

REGISTRY = ModelRegistry(files=[Path(__file__).parent / "models.yaml"])
MAY = date(2026, 5, 1)
JUNE = date(2026, 6, 1)


async def _make_tables(databases: Databases, name: str) -> str:
    url = await databases.bare(name)
    manager = AsyncDatabaseManager(url)
    try:
        await manager.create_all_tables(REGISTRY.metadata)
    finally:
        await manager.dispose()
    return url


@pytest.fixture(scope="session")
def rules_url(test_databases: Databases, worker_id: str) -> str:
    return run_apart(_make_tables(test_databases, f"rules_{worker_id}"))


@pytest.fixture
async def agency(rules_url: str) -> AsyncGenerator[Timber]:
    async with Timber(rules_url, registry=REGISTRY) as timber:
        yield timber
    await databases.clean_tables(rules_url)


@pytest.fixture
def trips(agency: Timber) -> Any:
    return agency.repository("Trip", agency.registry.read_dto("Trip"))


def trip(number: int = 1, **more: Any) -> dict[str, Any]:
    return {"user_id": "u", "code": f"AB{number}", **more}


BAD = {"code": "ab1", "seats": 0, "starts_on": JUNE, "ends_on": MAY, "price": "9.50"}
FIELDS = ["code", "seats", "starts_on", "currency"]


async def refused(write: Any) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        await write
    return [field for field, _ in caught.value.errors]


async def test_inserts_and_upserts_are_held_against_every_rule(trips):
    assert await refused(trips.insert(trip(**BAD))) == FIELDS
    assert await refused(trips.upsert(trip(**BAD), on="code")) == FIELDS
    assert await trips.count() == 0


async def test_a_batch_is_refused_as_a_whole_with_the_position_of_every_failure(trips):
    rows = [trip(1), trip(2, seats=51), trip(3), trip(4, **{**BAD, "code": "x"})]
    wanted = ["1.seats", *(f"3.{field}" for field in FIELDS)]
    assert await refused(trips.insert_many(rows)) == wanted
    assert await refused(trips.insert_many_returning(rows)) == wanted
    assert await trips.count() == 0
    assert len(await trips.insert_many([trip(1), trip(2)])) == 2


async def test_an_update_is_judged_with_the_columns_it_leaves_alone(trips):
    made = await trips.insert(trip(starts_on=MAY, ends_on=JUNE, price=1, currency="EUR"))
    assert await refused(trips.update(made.id, {"ends_on": MAY - timedelta(1)})) == ["starts_on"]
    assert await refused(trips.update(made.id, {"starts_on": JUNE + timedelta(1)})) == ["starts_on"]
    assert await refused(trips.update(made.id, {"currency": None})) == ["currency"]
    assert await refused(trips.update(made.id, {"currency": "GBP", "seats": 99})) == [
        "seats",
        "currency",
    ]
    assert await refused(trips.upsert(trip(ends_on=MAY - timedelta(1)), on="code")) == ["starts_on"]
    unchanged = await trips.get(made.id)
    assert unchanged == made
    moved = await trips.update(
        made.id, {"starts_on": JUNE + timedelta(1), "ends_on": JUNE + timedelta(2)}
    )
    assert moved.version == 2
    assert (await trips.update(made.id, {"price": None, "currency": None})).price is None


async def test_a_merge_is_judged_by_what_it_makes(trips):
    made = await trips.insert(trip(data={"a": 1}))
    merged = await trips.update(made.id, {"data": {"b": 2}}, merge="data")
    assert merged.data == {"a": 1, "b": 2}
    with pytest.raises(ValidationError, match="data: holds too many keys"):
        await trips.update(made.id, {"data": {"c": 3}}, merge="data")
    again = await trips.update(made.id, {"data": {"b": 3}}, merge="data")
    assert again.data == {"a": 1, "b": 3}
    replaced = await trips.update(made.id, {"data": {"c": 3}})
    assert replaced.data == {"c": 3}


async def test_update_where_is_judged_row_by_row(trips):
    early = await trips.insert(trip(1, starts_on=MAY, ends_on=JUNE))
    late = await trips.insert(trip(2, starts_on=JUNE, ends_on=JUNE))
    assert await refused(trips.update_where({"ends_on": MAY}, user_id="u")) == ["starts_on"]
    assert (await trips.get(early.id)).ends_on == JUNE
    assert await trips.update_where({"ends_on": MAY}, id=early.id) == 1
    assert await refused(trips.update_where({"seats": 0}, user_id="u")) == ["seats"]
    assert await trips.update_where({"seats": 9}, user_id="u") == 2
    assert (await trips.get(late.id)).seats == 9


async def test_deleting_restoring_and_claiming_ask_no_rule(trips):
    key = (await trips.insert(trip())).id
    assert len(await trips.claim(limit=5, lease=timedelta(seconds=1))) == 1
    assert await trips.release(key)
    await trips.delete(key)
    assert (await trips.restore(key)).id == key
    await trips.delete(key, hard=True)


async def test_services_and_repositories_of_ones_own_have_the_rules_too(agency):
    service = agency.service("Trip")
    assert await refused(service.create(trip(seats=0))) == ["seats"]
    made = await service.create(trip())
    assert await refused(service.update(made.id, {"seats": 0}, owner="u")) == ["seats"]
    own: Any = Repository(agency.db, agency.registry.get_model("Trip"), REGISTRY.read_dto("Trip"))
    assert await refused(own.insert(trip(2, seats=0))) == ["seats"]


async def test_a_failure_in_a_unit_of_work_can_be_caught_and_the_rest_goes_on(agency, trips):
    async with agency.unit_of_work() as uow:
        await trips.insert(trip(1))
        assert await refused(trips.insert(trip(2, seats=0))) == ["seats"]
        await trips.insert(trip(3))
    assert uow.outcome == "committed"
    assert await trips.count() == 2


async def test_the_row_as_it_is_is_read_only_where_a_rule_needs_it(agency, trips):
    made = await trips.insert(trip(starts_on=MAY, ends_on=JUNE))
    with count_queries(agency.db) as queries:
        await trips.update(made.id, {"seats": 2})
        await trips.update(made.id, {"starts_on": MAY, "ends_on": MAY})
        await trips.update_where({"seats": 3}, user_id="u")
    assert queries.labels == ["update Trip", "update Trip", "update_where Trip"]
    with count_queries(agency.db) as queries:
        await trips.update(made.id, {"ends_on": JUNE})
    assert queries.labels == ["lock Trip", "update Trip"]


async def test_two_updates_that_are_right_each_by_itself_do_not_break_a_rule_together(
    agency, trips
):
    made = await trips.insert(trip(starts_on=MAY, ends_on=JUNE))
    async with agency.unit_of_work():
        await trips.update(made.id, {"starts_on": JUNE})
        second = agency.unit_of_work(independent=True, lock_timeout=0.2)
        with pytest.raises(Exception, match="lock") as caught:
            async with second:
                await trips.update(made.id, {"ends_on": MAY})
        assert not isinstance(caught.value, ValidationError)
    assert await refused(trips.update(made.id, {"ends_on": MAY})) == ["starts_on"]
