from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from uuid import uuid4

import aiohttp
import pytest

from tests.harness.databases import Databases, connected, run_apart
from tests.harness.serving import Client, serve_aiohttp, serve_asgi
from tests.integrations import api, api_aiohttp, api_fastapi
from timber import Timber


@pytest.fixture(scope="session")
def web_database_url(
    test_databases: Databases, worker_id: str, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """A database with the models of the test applications; each test is a user of its own in it."""
    models = api.write_models(tmp_path_factory.mktemp("models"))
    url = run_apart(test_databases.clone(f"web_{worker_id}"))
    run_apart(_make_tables(url, models))
    return url


async def _make_tables(url: str, models: Path) -> None:
    async with Timber(url, model_config_dirs=[models]) as timber:
        await timber.db.create_all_tables()
    async with connected(url) as connection:
        await connection.execute(api.DEFERRED)


@pytest.fixture(scope="session")
def servers(
    web_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Generator[dict[str, str]]:
    """The address of each test application."""
    models = api.write_models(tmp_path_factory.mktemp("models"))

    def timber() -> Timber:
        return Timber(web_database_url, model_config_dirs=[models], pool_size=5, outage_wait=0.01)

    plain = api_fastapi.make(timber())
    wrapped = api_fastapi.make(timber(), behind_base_middleware=True)
    with (
        serve_asgi(plain) as one,
        serve_asgi(wrapped) as two,
        serve_aiohttp(api_aiohttp.make(timber())) as three,
    ):
        yield {"fastapi": one, "fastapi behind BaseHTTPMiddleware": two, "aiohttp": three}


@pytest.fixture
async def session() -> AsyncGenerator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture(params=["fastapi", "fastapi behind BaseHTTPMiddleware", "aiohttp"])
def web(
    request: pytest.FixtureRequest, servers: dict[str, str], session: aiohttp.ClientSession
) -> Client:
    """A client of a test application, as a user whom nobody else is."""
    return Client(session, servers[request.param], f"user-{uuid4()}")
