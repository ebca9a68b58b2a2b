"""Vectors, where the server has them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from timber.database.manager import AsyncDatabaseManager
from timber.database.statements import Statement
from timber.errors import ValidationError
from timber.models import ModelConfig, ModelRegistry
from timber.repository import Repository


@pytest.fixture
async def vectors(db: AsyncDatabaseManager) -> AsyncGenerator[Repository[Any]]:
    available = await db.fetch(
        Statement("SELECT FROM pg_available_extensions WHERE name = 'vector'", label="look")
    )
    if not available:
        pytest.skip("the server has no pgvector")
    config = {
        "name": "Point",
        "table": "points",
        "columns": [
            {"name": "place", "type": "Vector(3)"},
            {"name": "name", "type": "Text"},
            {"name": "tags", "type": "Array[Text]"},
        ],
    }
    registry = ModelRegistry(models=[ModelConfig.model_validate(config)], built_in=False)
    await db.create_all_tables(registry.metadata)
    yield Repository(db, registry.get_model("Point"), registry.read_dto("Point"))
    await db.drop_all_tables(registry.metadata)


_halves = st.integers(-1000, 1000).map(lambda n: n / 2)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    places=st.lists(st.none() | st.lists(_halves, min_size=3, max_size=3), min_size=1, max_size=4)
)
async def test_vectors_come_back_as_they_were(
    vectors: Repository[Any], places: list[list[float] | None]
) -> None:
    batch = [{"place": place, "name": "x", "tags": ["a", "b"]} for place in places]
    keys = await vectors.insert_many(batch)
    assert [row.place for row in await vectors.get_many(keys)] == places
    assert [row.place for row in await vectors.insert_many_returning(batch)] == places
    for place in places:
        row = await vectors.insert({"place": place})
        assert row.place == place
        assert (await vectors.update(row.id, {"place": places[0]})).place == places[0]
    assert await vectors.count(vectors.where.place.is_null()) >= places.count(None)


async def test_a_vector_of_another_length_is_refused(vectors: Repository[Any]) -> None:
    for place in ([1.0, 2.0], [1.0, 2.0, float("nan")], "x", [1, 2, "3"]):
        with pytest.raises(ValidationError, match="place"):
            await vectors.insert({"place": place})
    with pytest.raises(ValidationError, match="place"):
        await vectors.find(vectors.where.place == [1.0, 2.0, 3.0])
