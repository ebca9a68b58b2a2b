"""A database with the model of the matrix, for each test worker."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.features.matrix.scene import NEW, OLD, Scene
from tests.features.standing_in import RecordedProvider, records
from tests.harness.databases import Databases, clean_tables, connected, run_apart
from timber import Timber
from timber.database.manager import AsyncDatabaseManager
from timber.features.audit import AuditKeys, AuditProvider
from timber.features.embedding.hashing import HashingEmbedder
from timber.features.embedding.provider import EmbeddingProvider
from timber.features.encryption import CallableKeyRing, EncryptionProvider, KeySet
from timber.models.registry import ModelRegistry

RECORDED = RecordedProvider()
REGISTRY = ModelRegistry(files=[Path(__file__).parent / "models.yaml"], features=[RECORDED])
KEY = b"a key of thirty-two bytes, no less"[:32]
AUDIT_SECRET = "a secret that is only a test's, and long"

OpenScene = Callable[..., AbstractAsyncContextManager[Scene]]


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
def matrix_url(test_databases: Databases, worker_id: str) -> str:
    return run_apart(_make_tables(test_databases, f"matrix_{worker_id}"))


@asynccontextmanager
async def _open(url: str, **settings: Any) -> AsyncGenerator[Scene]:
    embedding = EmbeddingProvider(settings.pop("embedder", HashingEmbedder(16)))
    providers = (
        EncryptionProvider(CallableKeyRing(lambda: KeySet("k1", {"k1": KEY}))),
        AuditProvider(AuditKeys([AUDIT_SECRET])),
        embedding,
        RECORDED,
    )
    async with (
        Timber(
            url, registry=REGISTRY, providers=providers, cache_url="memory", **settings
        ) as timber,
        connected(url) as beside,
    ):
        rows = timber.repository("Dossier", timber.registry.read_dto("Dossier"))
        keys = [
            (await rows.insert({"number": number, "user_id": "u", **OLD})).id for number in (1, 2)
        ]
        shelves = timber.repository("Shelf", timber.registry.read_dto("Shelf"))
        shelf = await shelves.insert({"name": "top"})
        service = timber.service("Dossier")
        yield Scene(timber, rows, service, beside, keys, shelf.id, embedding, dict(NEW))


@pytest.fixture
async def open_scene(matrix_url: str) -> AsyncGenerator[OpenScene]:
    yield partial(_open, matrix_url)
    await clean_tables(matrix_url)


@pytest.fixture
async def scene(open_scene: OpenScene) -> AsyncGenerator[Scene]:
    async with open_scene() as scene:
        await scene.embed()
        yield scene
