"""Ready, degraded, not ready: by what the service stands on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import closing

import aiohttp
import pytest
from aiohttp import web
from fastapi import FastAPI

from tests.cache.servers import Tormented
from tests.harness.proxy import Proxy
from tests.harness.serving import Client, serve_aiohttp, serve_asgi
from tests.integrations.cases.errors import check_problem
from timber import Timber
from timber.integrations import aiohttp as in_aiohttp
from timber.integrations import fastapi as in_fastapi
from timber.integrations.fastapi import TimberDep


@pytest.fixture
async def proxy(database_url: str) -> AsyncGenerator[Proxy]:
    async with Proxy(database_url) as proxy:
        yield proxy


@pytest.fixture(params=["fastapi", "aiohttp"])
async def web_client(
    request: pytest.FixtureRequest, proxy: Proxy, session: aiohttp.ClientSession
) -> AsyncGenerator[Client]:
    """A client of a service whose database is behind the proxy."""
    # A thread of this test's own waits for the server, so that the proxy goes on meanwhile.
    timber = Timber(proxy.url, outage_attempts=1, connect_timeout=1.0)
    served = _serve(request.param, timber)
    address = await asyncio.to_thread(next, served)
    yield Client(session, address, "user-1")
    await asyncio.to_thread(next, served, None)


def _serve(kind: str, timber: Timber) -> Generator[str]:
    if kind == "fastapi":
        with serve_asgi(fastapi_app(timber)) as address:
            yield address
    else:
        with serve_aiohttp(aiohttp_app(timber)) as address:
            yield address


def fastapi_app(timber: Timber) -> FastAPI:
    app = FastAPI(lifespan=in_fastapi.lifespan(timber))
    in_fastapi.install(app)

    @app.get("/count")
    async def count(timber: TimberDep) -> int:
        return await timber.sessions.count_user_sessions("user-1")

    return app


def aiohttp_app(timber: Timber) -> web.Application:
    app = web.Application()
    in_aiohttp.setup(app, timber)

    async def count(request: web.Request) -> web.Response:
        timber = in_aiohttp.timber_of(request)
        return in_aiohttp.json_response(await timber.sessions.count_user_sessions("user-1"))

    app.add_routes([web.get("/count", count)])
    return app


async def test_without_its_database_a_service_is_not_ready_and_lives(
    web_client: Client, proxy: Proxy
):
    assert (await web_client.get("/readyz")).status == 200
    await proxy.refuse()
    proxy.cut_all()
    reply = await web_client.get("/readyz")
    problem = check_problem(reply, 503)
    assert problem["checks"] == {"database": "down", "cache": "off"}
    reply = await web_client.get("/count")
    problem = check_problem(reply, 503)
    assert problem["type"] == "urn:timber:problem:unavailable"
    assert b"127.0.0.1" not in reply.body
    assert (await web_client.get("/livez")).status == 200
    await proxy.accept()
    assert (await web_client.get("/readyz")).status == 200
    assert (await web_client.get("/count")).json == 0


async def test_a_database_that_says_nothing_is_given_up_in_time(web_client: Client, proxy: Proxy):
    proxy.freeze()
    check_problem(await web_client.get("/readyz"), 503)
    proxy.heal()


@pytest.mark.parametrize("kind", ["fastapi", "aiohttp"])
async def test_without_its_cache_a_service_is_degraded_and_ready(
    database_url: str, clean_tables: None, session: aiohttp.ClientSession, kind: str
):
    with (
        Tormented() as redis,
        closing(_serve(kind, Timber(database_url, cache_url=redis.url))) as it,
    ):
        client = Client(session, next(it), "user-1")
        for stop, start in ((redis.freeze, redis.thaw), (redis.kill, redis.start)):
            up = {"status": "ready", "checks": {"database": "up", "cache": "up"}}
            assert (await client.get("/readyz")).json == up
            stop()
            reply = await client.get("/readyz")
            assert reply.status == 200
            down = {"status": "degraded", "checks": {"database": "up", "cache": "down"}}
            assert reply.json == down
            assert (await client.get("/count")).json == 0
            start()
