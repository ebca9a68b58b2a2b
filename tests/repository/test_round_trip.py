"""Whatever fits a column comes back as it was, by every way in."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.repository.conftest import repository
from tests.repository.values import EXTREMES, FLAT, VALUES, flat_rows, rows
from timber.database.manager import AsyncDatabaseManager
from timber.database.statements import Statement
from timber.repository import Repository


def _same(stored: Any, given: Any) -> bool:
    """Equal, NaN to NaN too."""
    if isinstance(given, list):
        return len(stored) == len(given) and all(map(_same, stored, given))
    if isinstance(given, dict):
        return stored.keys() == given.keys() and all(_same(stored[k], given[k]) for k in given)
    if isinstance(given, float) and math.isnan(given):
        return isinstance(stored, float) and math.isnan(stored)
    if isinstance(given, float) and abs(given) >= 2**53:
        return float(stored) == given  # jsonb gives a whole number as its digits
    if isinstance(given, bool) or isinstance(stored, bool):
        return stored is given
    return bool(stored == given)


def _assert_same(stored: Any, given: dict[str, Any]) -> None:
    for name in type(stored).model_fields:
        if name != "id":
            assert _same(getattr(stored, name), given.get(name)), name


once = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
async def everything(db: AsyncDatabaseManager) -> Repository[Any]:
    return repository(db, "Everything")


@pytest.fixture
async def flat(db: AsyncDatabaseManager) -> Repository[Any]:
    return repository(db, "Flat")


@once
@given(batch=st.lists(rows, min_size=1, max_size=3))
@example(batch=EXTREMES)
async def test_copied_rows_come_back_as_they_were(
    everything: Repository[Any], batch: list[dict[str, Any]]
) -> None:
    keys = await everything.insert_many(batch)
    for stored, given_row in zip(await everything.get_many(keys), batch, strict=True):
        _assert_same(stored, given_row)


@once
@given(batch=st.lists(rows, min_size=1, max_size=3))
@example(batch=EXTREMES)
async def test_inserted_and_updated_rows_come_back_as_they_were(
    everything: Repository[Any], batch: list[dict[str, Any]]
) -> None:
    for row in batch:
        stored = await everything.insert(row)
        _assert_same(stored, row)
        for other in batch:
            full = {name: other.get(name) for name in VALUES}
            _assert_same(await everything.update(stored.id, full), other)
        _assert_same(await everything.upsert({**row, "id": stored.id}), {**other, **row})


@once
@given(batch=st.lists(rows, min_size=1, max_size=3))
@example(batch=EXTREMES)
async def test_rows_with_lists_are_returned_as_they_were(
    everything: Repository[Any], batch: list[dict[str, Any]]
) -> None:
    for stored, row in zip(await everything.insert_many_returning(batch), batch, strict=True):
        _assert_same(stored, row)


@once
@given(batch=st.lists(flat_rows, min_size=1, max_size=5))
@example(batch=[{k: v for k, v in row.items() if k in FLAT} for row in EXTREMES])
async def test_rows_that_go_as_columns_are_returned_as_they_were(
    flat: Repository[Any], batch: list[dict[str, Any]]
) -> None:
    for stored, row in zip(await flat.insert_many_returning(batch), batch, strict=True):
        _assert_same(stored, row)


@once
@given(row=rows)
@example(row=EXTREMES[0])
async def test_a_row_is_found_by_each_of_its_values(
    everything: Repository[Any], row: dict[str, Any]
) -> None:
    key = (await everything.insert(row)).id
    for name, value in row.items():
        assert await everything.exists(**{"id": key, name: value}), name
        if value is not None and not isinstance(value, list):
            assert await everything.exists(everything.where[name].in_([value]), id=key), name
    await everything.delete(key)


async def test_null_in_json_is_not_null_of_sql(
    everything: Repository[Any], db: AsyncDatabaseManager
) -> None:
    """None is SQL's NULL by every way in; JSON's own null is inside of a value."""
    keys = await everything.insert_many([{"data": None, "text_data": None}, {"data": [None]}])
    keys.append((await everything.insert({"data": None})).id)
    keys += [row.id for row in await everything.insert_many_returning([{"data": None}])]
    keys.append((await everything.insert({"data": {"a": 1}})).id)
    assert (await everything.update(keys[-1], {"data": None})).data is None
    nulls = await db.fetch(
        Statement("SELECT count(*) AS n FROM everything WHERE data IS NULL", label="look")
    )
    assert nulls[0]["n"] == 4
    assert await everything.count(data=None) == 4
    assert (await everything.get(keys[1])).data == [None]
