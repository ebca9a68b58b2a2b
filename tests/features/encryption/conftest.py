"""A Timber with encrypted models on a database of its own, its keys in memory and those of persons in a folder."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from tests.features.encryption.models import REGISTRY, Keys
from tests.harness import databases
from tests.harness.databases import Databases, run_apart
from timber import Timber
from timber.database.manager import AsyncDatabaseManager
from timber.features.encryption import EncryptionProvider, PersonKeyFolder
from timber.repository import Repository


async def _make_tables(databases: Databases, name: str) -> str:
    url = await databases.bare(name)
    manager = AsyncDatabaseManager(url)
    try:
        await manager.create_all_tables(REGISTRY.metadata)
    finally:
        await manager.dispose()
    return url


@pytest.fixture(scope="session")
def vault_url(test_databases: Databases, worker_id: str) -> str:
    """The worker's database with the encrypted models."""
    return run_apart(_make_tables(test_databases, f"encryption_{worker_id}"))


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "persons"


@pytest.fixture
def provider(keys: Keys, folder: Path) -> EncryptionProvider:
    return EncryptionProvider(keys, PersonKeyFolder(folder), person_key_seconds=0.3)


@pytest.fixture
async def clean_vault(vault_url: str) -> AsyncGenerator[None]:
    yield
    await databases.clean_tables(vault_url)


@pytest.fixture
async def vault(
    vault_url: str, clean_vault: None, provider: EncryptionProvider
) -> AsyncGenerator[Timber]:
    async with Timber(vault_url, registry=REGISTRY, providers=[provider]) as timber:
        yield timber


def _repository(vault: Timber, model: str) -> Repository[Any]:
    return vault.repository(model, vault.registry.read_dto(model))


@pytest.fixture
def accounts(vault: Timber) -> Repository[Any]:
    return _repository(vault, "Account")


@pytest.fixture
def letters(vault: Timber) -> Repository[Any]:
    return _repository(vault, "Letter")


@pytest.fixture
def diaries(vault: Timber) -> Repository[Any]:
    return _repository(vault, "Diary")


@pytest.fixture
def medicines(vault: Timber) -> Repository[Any]:
    return _repository(vault, "Medicine")
