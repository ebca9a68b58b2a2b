"""The test application in aiohttp."""

from __future__ import annotations

from typing import Any, get_args

import pydantic
from aiohttp import web

from tests.integrations import api
from timber import Timber, current_actor
from timber.integrations.aiohttp import (
    Deadlines,
    Header,
    crud_routes,
    event_stream,
    json_lines,
    json_response,
    read_body,
    read_query,
    require_actor,
    setup,
    timber_of,
)

routes: Any = web.RouteTableDef()


def make(timber: Timber) -> web.Application:
    app = web.Application()
    setup(app, timber, actor=Header("X-User-Id"), deadlines=Deadlines(longest=20.0))
    app.add_routes(crud_routes("/invoices", "Invoice", timber))
    app.add_routes(crud_routes("/rates", "Rate", timber, verbs=["list", "create"]))
    app.add_routes(routes)
    return app


@routes.post("/sessions")
async def open_session(request: web.Request) -> web.Response:
    new = await read_body(request, api.NewSession)
    session = await api.open_session(timber_of(request), require_actor(), new)
    return json_response(session, status=201)


@routes.get("/sessions/{session_id}")
async def session(request: web.Request) -> web.Response:
    session_id = request.match_info["session_id"]
    return json_response(await api.found_session(timber_of(request), session_id, require_actor()))


@routes.post("/work/{end}")
async def work(request: web.Request) -> web.Response:
    timber, end = timber_of(request), request.match_info["end"]
    assert end in get_args(api.End)
    uow = timber.unit_of_work()
    session = await api.work(timber, uow, require_actor(), end)  # type: ignore[arg-type]
    return json_response(session, status=201)


@routes.get("/errors/{name}")
async def fail(request: web.Request) -> web.Response:
    error = api.ERRORS[request.match_info["name"]]()
    raise error


@routes.get("/teapot")
async def teapot(request: web.Request) -> web.Response:
    class Teapot(web.HTTPClientError):
        status_code = 418

    raise Teapot(text="I am one.", headers={"X-Pot": "tea"})


@routes.get("/me")
async def me(request: web.Request) -> web.Response:
    return json_response({"actor": current_actor()})


class Slow(pydantic.BaseModel):
    seconds: float


@routes.get("/slow")
async def slow(request: web.Request) -> web.Response:
    await api.sleep(timber_of(request), read_query(request, Slow).seconds)
    return json_response(None)


@routes.get("/export")
async def export(request: web.Request) -> web.StreamResponse:
    return await json_lines(
        request,
        timber_of(request).research.repository,
        user_id=require_actor(),
        batch=10,
        order_by=request.query.get("order_by"),
    )


@routes.post("/notifications")
async def notify(request: web.Request) -> web.Response:
    made = await timber_of(request).notifications.create_notification(
        require_actor(), "note", title="Hi", content="there"
    )
    return json_response(made, status=201)


@routes.get("/live")
async def live(request: web.Request) -> web.StreamResponse:
    after = request.headers.get("Last-Event-ID")
    subscription = timber_of(request).notifications.subscribe(require_actor(), after=after)
    return await event_stream(request, subscription, name="notification", heartbeat=0.1)
