"""A client that reads slowly costs no connection of the pool."""

from __future__ import annotations

from collections.abc import Generator

import aiohttp
import pytest
from aiohttp import web
from fastapi import FastAPI
from starlette.responses import StreamingResponse

from tests.harness.serving import serve_aiohttp, serve_asgi
from timber import ResearchCreate, Timber
from timber.integrations import aiohttp as in_aiohttp
from timber.integrations import fastapi as in_fastapi
from timber.integrations.fastapi import TimberDep

ROWS = 3_000
PAYLOAD = "x" * 4_000  # far more in all than the sockets between take in


def fastapi_app(timber: Timber) -> FastAPI:
    app = FastAPI(lifespan=in_fastapi.lifespan(timber))
    in_fastapi.install(app)

    @app.get("/rows")
    async def rows(timber: TimberDep) -> StreamingResponse:
        return await in_fastapi.json_lines(timber.research.repository)

    @app.get("/count")
    async def count(timber: TimberDep) -> dict[str, int]:
        number = await timber.research.count()
        return {"rows": number, "held": timber.db.get_pool_status()["checked_out"]}

    return app


def aiohttp_app(timber: Timber) -> web.Application:
    app = web.Application()
    in_aiohttp.setup(app, timber)

    async def rows(request: web.Request) -> web.StreamResponse:
        timber = in_aiohttp.timber_of(request)
        return await in_aiohttp.json_lines(request, timber.research.repository)

    async def count(request: web.Request) -> web.Response:
        timber = in_aiohttp.timber_of(request)
        number = await timber.research.count()
        held = timber.db.get_pool_status()["checked_out"]
        return in_aiohttp.json_response({"rows": number, "held": held})

    app.add_routes([web.get("/rows", rows), web.get("/count", count)])
    return app


@pytest.fixture(params=["fastapi", "aiohttp"])
def address(request: pytest.FixtureRequest, database_url: str) -> Generator[str]:
    """A service with one connection."""
    timber = Timber(database_url, pool_size=1, max_overflow=0, pool_timeout=5)
    if request.param == "fastapi":
        with serve_asgi(fastapi_app(timber)) as address:
            yield address
    else:
        with serve_aiohttp(aiohttp_app(timber)) as address:
            yield address


async def test_no_connection_is_held_while_a_client_reads_slowly(
    timber: Timber, address: str, session: aiohttp.ClientSession
):
    await timber.research.save_many(
        ResearchCreate(research_type="note", content={"text": PAYLOAD, "n": n}) for n in range(ROWS)
    )
    async with session.get(f"{address}/rows") as stream:
        assert await stream.content.readline()
        for _ in range(5):  # the stream stands still, and the one connection is there for others
            async with session.get(f"{address}/count") as count:
                assert await count.json() == {"rows": ROWS, "held": 0}
        rest = [line async for line in stream.content]
    assert len(rest) == ROWS - 1


async def test_a_stream_whose_client_is_gone_leaves_nothing_behind(
    timber: Timber, address: str, session: aiohttp.ClientSession
):
    await timber.research.save_many(
        ResearchCreate(research_type="note", content={"text": PAYLOAD}) for _ in range(ROWS)
    )
    for _ in range(3):
        async with session.get(f"{address}/rows") as stream:
            assert await stream.content.readline()
            stream.close()
    async with session.get(f"{address}/count") as count:
        assert (await count.json())["held"] == 0
