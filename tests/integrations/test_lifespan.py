"""A Timber begins and ends with its application, whatever else does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest
from aiohttp import web
from fastapi import FastAPI, Request, WebSocket

from tests.harness.serving import serve_aiohttp, serve_asgi
from timber import Service, Timber, UnitOfWork, UsageError, current_actor
from timber.integrations import aiohttp as in_aiohttp
from timber.integrations import fastapi as in_fastapi
from timber.integrations.fastapi import TimberDep, lifespan


def is_running(timber: Timber) -> bool:
    try:
        timber.db  # noqa: B018  # it raises
    except UsageError:
        return False
    return True


async def test_a_user_s_lifespan_runs_inside_and_both_give_state(database_url: str):
    timber = Timber(database_url)
    seen: list[object] = []

    @asynccontextmanager
    async def mine(app: FastAPI) -> AsyncGenerator[dict[str, str]]:
        seen.append(is_running(timber))
        yield {"mine": "here"}
        seen.append(is_running(timber))

    @asynccontextmanager
    async def silent(app: FastAPI) -> AsyncGenerator[None]:
        yield

    app = FastAPI()
    for _ in range(2):  # as often as the application is started
        async with lifespan(timber, mine, silent)(app) as state:
            assert state == {"timber": timber, "mine": "here"}
        assert not is_running(timber)
    assert seen == [True] * 4


async def test_it_goes_inside_a_user_s_own_lifespan(database_url: str, session):
    timber = Timber(database_url)

    @asynccontextmanager
    async def whole(app: FastAPI) -> AsyncGenerator[dict[str, Any]]:
        async with lifespan(timber)(app) as state:
            yield {**state, "mine": "here"}

    app = FastAPI(lifespan=whole)

    @app.get("/")
    async def read(request: Request, timber: TimberDep) -> list[Any]:
        return [request.state.mine, await timber.db.health_check()]

    with serve_asgi(app) as address:
        async with session.get(address) as reply:
            assert await reply.json() == ["here", True]


async def test_a_user_s_lifespan_that_fails_ends_the_timber(database_url: str):
    timber = Timber(database_url)

    @asynccontextmanager
    async def failing(app: FastAPI) -> AsyncGenerator[None]:
        raise ZeroDivisionError
        yield

    with pytest.raises(ZeroDivisionError):
        async with lifespan(timber, failing)(FastAPI()):
            pass
    assert not is_running(timber)


async def test_a_running_timber_is_left_running(timber: Timber):
    async with lifespan(timber)(FastAPI()) as state:
        assert state["timber"] is timber
    assert is_running(timber)


async def test_settings_of_the_environment_make_the_timber_at_the_start(
    database_url: str, monkeypatch: pytest.MonkeyPatch
):
    begin = lifespan()
    monkeypatch.setenv("TIMBER_DATABASE_URL", database_url)
    async with begin(FastAPI()) as state:
        assert await state["timber"].db.health_check()
    async with lifespan(lambda: Timber(database_url, pool_size=2))(FastAPI()) as state:
        assert state["timber"].settings.pool_size == 2


async def test_without_a_lifespan_the_error_says_what_is_missing():
    app = FastAPI()
    in_fastapi.install(app)
    request = Request({"type": "http", "app": app})
    with pytest.raises(UsageError, match=r"lifespan=lifespan\(timber\)"):
        in_fastapi.timber_of(request)


class Notes(Service[Any]):
    model = "Notification"


async def test_dependencies_know_services_of_one_s_own_and_options(database_url: str, session):
    app = FastAPI(lifespan=lifespan(Timber(database_url)))

    @app.get("/")
    async def read(
        timber: TimberDep,
        notes: Annotated[Notes, in_fastapi.service(Notes)],
        sessions: Annotated[Service[Any], in_fastapi.service("Session")],
        tracking: in_fastapi.TrackingDep,
        uow: Annotated[UnitOfWork, in_fastapi.unit_of_work(isolation="serializable")],
    ) -> dict[str, Any]:
        from sqlalchemy import text

        async with uow:
            level = await uow.session.scalar(text("SHOW transaction_isolation"))
        return {
            "notes": type(notes).__name__,
            "same": sessions is timber.sessions,
            "others": [tracking is timber.tracking],
            "level": level,
        }

    with serve_asgi(app) as address:
        async with session.get(address) as reply:
            found = await reply.json()
    assert found == {
        "notes": "Notes",
        "same": True,
        "others": [True],
        "level": "serializable",
    }


async def test_an_actor_comes_from_the_state_that_an_outer_middleware_left(database_url, session):
    app = FastAPI(lifespan=lifespan(Timber(database_url)))
    in_fastapi.install(app, actor=in_fastapi.State("user"))

    class Authentication:  # added later, and yet in front
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] in ("http", "websocket"):
                scope["state"]["user"] = "user-9"
            await self.app(scope, receive, send)

    app.add_middleware(Authentication)

    @app.get("/")
    async def me() -> str | None:
        return current_actor()

    with serve_asgi(app) as address:
        async with session.get(address) as reply:
            assert await reply.json() == "user-9"


async def test_an_actor_comes_from_a_function_that_may_refuse(database_url, session):
    async def find(connection: Any) -> str | None:
        await asyncio.sleep(0)
        return connection.query_params.get("as")

    def refuse(connection: Any) -> str | None:
        raise in_fastapi.UnauthenticatedError

    for actor, expected in ((find, (200, '"user-9"')), (refuse, (401, None))):
        app = FastAPI(lifespan=lifespan(Timber(database_url)))
        in_fastapi.install(app, actor=actor, probes=False)

        @app.get("/")
        async def me() -> str | None:
            return current_actor()

        with serve_asgi(app) as address:
            async with session.get(f"{address}/?as=user-9") as reply:
                assert reply.status == expected[0]
                assert expected[1] in (None, await reply.text())
            async with session.get(f"{address}/readyz") as reply:
                assert reply.status in (401, 404)


# aiohttp


async def test_an_aiohttp_application_holds_its_timber_under_a_key(database_url, session):
    app, inner = web.Application(), web.Application()
    user = web.RequestKey("user", str)

    async def authenticate(request: web.Request, handler: Any) -> web.StreamResponse:
        request[user] = "user-9"
        return await handler(request)

    app.middlewares.append(web.middleware(authenticate))
    in_aiohttp.setup(app, lambda: Timber(database_url), actor=in_aiohttp.State(user))
    seen: list[Timber] = []

    async def mine(app: web.Application) -> AsyncGenerator[None]:
        seen.append(app[in_aiohttp.TIMBER])
        yield
        assert is_running(seen[0])

    app.cleanup_ctx.append(mine)

    async def me(request: web.Request) -> web.Response:
        assert in_aiohttp.timber_of(request) is seen[0]
        return in_aiohttp.json_response(current_actor())

    inner.router.add_get("/me", me)
    app.add_subapp("/inner", inner)
    with serve_aiohttp(app) as address:
        async with session.get(f"{address}/inner/me") as reply:
            assert await reply.json() == "user-9"
    assert not is_running(seen[0])


async def test_without_setup_the_error_says_what_is_missing(session):
    app = web.Application()
    said: list[str] = []

    async def read(request: web.Request) -> web.Response:
        with pytest.raises(UsageError) as caught:
            in_aiohttp.timber_of(request)
        said.append(str(caught.value))
        return web.Response()

    app.router.add_get("/", read)
    with serve_aiohttp(app) as address:
        async with session.get(address):
            pass
    assert "setup(app, timber)" in said[0]


async def test_the_end_of_an_aiohttp_application_ends_its_event_streams(database_url, session):
    app = web.Application()
    in_aiohttp.setup(app, Timber(database_url))

    async def live(request: web.Request) -> web.StreamResponse:
        subscription = in_aiohttp.timber_of(request).notifications.subscribe("user-1")
        return await in_aiohttp.event_stream(request, subscription)

    app.router.add_get("/", live)
    with serve_aiohttp(app) as address:
        stream = await session.get(address)
        assert await stream.content.readline()
    assert await asyncio.wait_for(stream.read(), 10) is not None  # it was ended, not cut off


async def test_a_websocket_is_served_as_its_actor(database_url: str):
    app = FastAPI(lifespan=lifespan(Timber(database_url)))
    in_fastapi.install(app, actor=in_fastapi.Header("X-User-Id"))

    @app.websocket("/")
    async def talk(websocket: WebSocket, timber: TimberDep) -> None:
        await websocket.accept()
        await websocket.send_json([current_actor(), await timber.db.health_check()])
        await websocket.close()

    sent: list[Any] = []

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    async with lifespan(Timber(database_url))(app) as state:
        scope = {
            "type": "websocket",
            "path": "/",
            "headers": [(b"x-user-id", b"user-9")],
            "query_string": b"",
            "state": state,
        }
        await app(scope, receive, send)
    assert [message.get("text") for message in sent] == [None, '["user-9",true]', None]
