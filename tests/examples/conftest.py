from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from uuid import uuid4

import aiohttp
import pytest

from tests.harness.databases import Databases, run_apart
from tests.harness.serving import Client, serve_aiohttp, serve_asgi
from timber import Timber

EXAMPLES = Path(__file__).parent.parent.parent / "docs" / "examples"
MODELS = EXAMPLES / "research_api" / "models"

sys.path.insert(0, str(EXAMPLES))  # as who runs the example has it: from that folder


@pytest.fixture(scope="session")
def example_database_url(test_databases: Databases, worker_id: str) -> str:
    """A database with the example's models; each test is a user of its own in it."""
    url = run_apart(test_databases.clone(f"example_{worker_id}"))
    run_apart(make_tables(url))
    return url


async def make_tables(url: str) -> None:
    async with Timber(url, model_config_dirs=[MODELS]) as timber:
        await timber.db.create_all_tables()


@pytest.fixture(scope="session")
def servers(example_database_url: str) -> Generator[dict[str, str]]:
    """The address of the example in each framework."""
    from research_api import aiohttp_app, app

    def timber() -> Timber:
        return Timber(example_database_url, model_config_dirs=[MODELS], pool_size=5)

    with (
        serve_asgi(app.create_app(timber())) as one,
        serve_aiohttp(aiohttp_app.create_app(timber=timber())) as two,
    ):
        yield {"fastapi": one, "aiohttp": two}


@pytest.fixture
async def session() -> AsyncGenerator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture(params=["fastapi", "aiohttp"])
def web(
    request: pytest.FixtureRequest, servers: dict[str, str], session: aiohttp.ClientSession
) -> Client:
    """A client of the example, as a user whom nobody else is."""
    return Client(session, servers[request.param], f"user-{uuid4()}")
