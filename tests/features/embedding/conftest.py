"""Pages and notes with an embedding, on a database of their own."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.features.embedding.embedders import Recording
from tests.harness import databases
from tests.harness.databases import Databases, run_apart
from timber import Repository, Timber
from timber.database.manager import AsyncDatabaseManager
from timber.database.statements import Statement
from timber.features.embedding.embedding import Embedding, EmbeddingOptions
from timber.features.embedding.provider import EmbeddingProvider
from timber.features.embedding.worker import EmbeddingWorker
from timber.models.registry import ModelRegistry

MODELS = Path(__file__).parent / "models.yaml"
REGISTRY = ModelRegistry(files=[MODELS])
QUICK = EmbeddingOptions(timeout=5.0, batch=16, attempts=3, first_wait=0.0, longest_wait=0.0)


async def _make_tables(databases: Databases, name: str) -> str:
    url = await databases.bare(name)
    manager = AsyncDatabaseManager(url)
    try:
        await manager.create_all_tables(REGISTRY.metadata)
    finally:
        await manager.dispose()
    return url


@pytest.fixture(scope="session")
def library_url(test_databases: Databases, worker_id: str) -> str:
    return run_apart(_make_tables(test_databases, f"embedding_{worker_id}"))


@pytest.fixture
async def embedder() -> Recording:
    return Recording()


@pytest.fixture
def provider(embedder: Recording) -> EmbeddingProvider:
    return EmbeddingProvider(embedder, options=QUICK)


@pytest.fixture
async def library(library_url: str, provider: EmbeddingProvider) -> AsyncGenerator[Timber]:
    async with Timber(library_url, registry=REGISTRY, providers=[provider]) as timber:
        yield timber
    await databases.clean_tables(library_url)


@pytest.fixture
def pages(library: Timber) -> Repository[Any]:
    return library.repository("Leaf", library.registry.read_dto("Leaf"))


@pytest.fixture
def notes(library: Timber) -> Repository[Any]:
    return library.repository("Note", library.registry.read_dto("Note"))


@pytest.fixture
def embedding(library: Timber, provider: EmbeddingProvider) -> Embedding:
    return provider.embeddings["Leaf"]


@pytest.fixture
def worker(library: Timber, provider: EmbeddingProvider) -> EmbeddingWorker:
    return EmbeddingWorker(provider.embeddings.values())


@pytest.fixture
def work(worker: EmbeddingWorker) -> Callable[[], Awaitable[int]]:
    """Works until nothing is left to do, and says how many rows that were."""

    async def until_done() -> int:
        total = 0
        while number := await worker.step():
            total += number
        return total

    return until_done


Fetch = Callable[[str], Awaitable[list[tuple[Any, ...]]]]


@pytest.fixture
def fetch(library: Timber) -> Fetch:
    async def rows(sql: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in await library.db.fetch(Statement(sql, label="test"))]

    return rows
