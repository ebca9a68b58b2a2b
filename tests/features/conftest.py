"""Repositories of models with features, on a database of their own."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from tests.features.standing_in import MarkedProvider, RecordedProvider, records
from tests.harness import databases
from tests.harness.databases import Databases, run_apart
from timber import Timber
from timber.database.manager import AsyncDatabaseManager
from timber.models.registry import ModelRegistry

PROVIDERS = (MarkedProvider(), RecordedProvider())
REGISTRY = ModelRegistry(files=[Path(__file__).parent / "models.yaml"], features=PROVIDERS)


async def _make_tables(databases: Databases, name: str) -> str:
    url = await databases.bare(name)
    manager = AsyncDatabaseManager(url)
    try:
        await manager.create_all_tables(REGISTRY.metadata)
        await manager.create_all_tables(records.metadata)
    finally:
        await manager.dispose()
    return url


@pytest.fixture(scope="session")
def clinic_url(test_databases: Databases, worker_id: str) -> str:
    return run_apart(_make_tables(test_databases, f"features_{worker_id}"))


@pytest.fixture
async def clinic(clinic_url: str) -> AsyncGenerator[Timber]:
    async with Timber(clinic_url, registry=REGISTRY, providers=PROVIDERS) as timber:
        yield timber
    await databases.clean_tables(clinic_url)


@pytest.fixture
def patients(clinic: Timber) -> Any:
    return clinic.repository("Patient", clinic.registry.read_dto("Patient"))
