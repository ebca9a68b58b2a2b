from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.harness.databases import Databases, connected, run_apart
from tests.migrations.projects import MODELS, VECTOR, Project


async def _has_vector(url: str) -> bool:
    async with connected(url) as connection:
        query = "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'vector')"
        return bool(await connection.fetchval(query))


@pytest.fixture(scope="session")
def model_dirs(test_databases: Databases) -> tuple[Path, ...]:
    """The folders of the twelve models; with vectors where the server has them."""
    return (MODELS, VECTOR) if run_apart(_has_vector(test_databases.server_url)) else (MODELS,)


@pytest.fixture
def project(tmp_path: Path, bare_database_url: str, model_dirs: tuple[Path, ...]) -> Project:
    """The project of twelve models, without migrations yet, on an empty database."""
    return Project(tmp_path, bare_database_url, *model_dirs)


@pytest.fixture
def small(tmp_path: Path, bare_database_url: str) -> Project:
    """A project whose models the test writes, without the built-in ones, on an empty database."""
    (tmp_path / "models").mkdir()
    return Project(tmp_path, bare_database_url, tmp_path / "models", built_in=False)


@pytest.fixture
async def other_url(test_databases: Databases) -> AsyncGenerator[str]:
    """One more empty database."""
    async with test_databases.made_bare() as url:
        yield url
