"""Values at the edges of their types, through repositories and tables that migrations have made."""

from __future__ import annotations

import struct
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.migrations.projects import Project
from tests.models.every_type import TYPES, VALUES, integers, plain
from timber.database.manager import AsyncDatabaseManager
from timber.repository import Repository

_ROWS = st.fixed_dictionaries(
    {
        **{name: st.none() | VALUES[name] for name in TYPES},
        "limit": st.none() | integers(32).filter(lambda n: n != 13),
    }
)
_VECTORS = st.lists(
    st.floats(-(2.0**127), 2.0**127, width=32).filter(lambda x: x == 0 or abs(x) > 1e-18),
    min_size=3,
    max_size=3,
)

relaxed = settings(
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
    ],
)


@pytest.fixture
async def migrated(tmp_path: Path, bare_database_url: str, model_dirs: tuple[Path, ...]) -> Project:
    project = Project(tmp_path, bare_database_url, *model_dirs, built_in=False)
    await project.init()
    await project.up()
    return project


@pytest.fixture
async def db(migrated: Project) -> AsyncGenerator[AsyncDatabaseManager]:
    manager = AsyncDatabaseManager(migrated.url)
    try:
        yield manager
    finally:
        await manager.dispose()


@pytest.fixture
def samples(migrated: Project, db: AsyncDatabaseManager) -> Repository[Any]:
    registry = migrated.registry()
    return Repository(db, registry.get_model("Sample"), registry.read_dto("Sample"))


@pytest.fixture
def documents(migrated: Project, db: AsyncDatabaseManager) -> Repository[Any]:
    registry = migrated.registry()
    if "embedding" not in registry.model_config("Document").column_names:
        pytest.skip("the server has no extension vector")
    return Repository(db, registry.get_model("Document"), registry.read_dto("Document"))


def _same(back: Any, values: dict[str, Any]) -> None:
    for name, value in values.items():
        found = getattr(back, name)
        if name in ("loose", "tight"):
            assert plain(found) == plain(value), name
        else:
            assert found == value, name
    if values["text"] is None:
        assert back.words_made_one is None
    else:
        assert back.words_made_one.endswith(f":{values['label'] or 'b'}")


@relaxed
@given(first=_ROWS, second=_ROWS)
async def test_every_type_comes_back_as_it_went_in_whichever_way_it_went(
    samples: Repository[Any], first: dict[str, Any], second: dict[str, Any]
) -> None:
    row = await samples.insert(first)
    _same(row, first)
    _same(await samples.get(row.id), first)
    _same(await samples.update(row.id, second), second)
    ids = await samples.insert_many([first, second])  # by COPY
    for back, values in zip(await samples.get_many(ids), (first, second), strict=True):
        _same(back, values)
    returned = await samples.insert_many_returning([second, first])
    for back, values in zip(returned, (second, first), strict=True):
        _same(back, values)


def stored(vector: list[float] | None) -> list[float] | None:
    """The numbers as pgvector keeps them: of four bytes."""
    return None if vector is None else list(struct.unpack("3f", struct.pack("3f", *vector)))


@relaxed
@given(vector=st.none() | _VECTORS)
async def test_vectors_come_back_as_they_went_in(
    documents: Repository[Any], vector: list[float] | None
) -> None:
    row = await documents.insert({"title": "x", "user_id": "u", "embedding": vector})
    assert row.embedding == stored(vector)
    assert (await documents.get(row.id)).embedding == stored(vector)
