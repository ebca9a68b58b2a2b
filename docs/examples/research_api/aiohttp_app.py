"""The same service in aiohttp: ``python -m aiohttp.web research_api.aiohttp_app:create_app``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from uuid import UUID

from aiohttp import web
from pydantic import Field, StringConstraints

from research_api.desk import Desk
from research_api.messages import (
    Conclusion,
    NewAnalysis,
    NewCheck,
    NewFinding,
    Status,
    Symbol,
    Unread,
)
from timber import InputDTO, Timber
from timber.integrations.aiohttp import (
    Header,
    crud_routes,
    event_stream,
    json_lines,
    json_response,
    read_body,
    read_path,
    read_query,
    require_actor,
    setup,
    timber_of,
)

MODELS = Path(__file__).parent / "models"

routes = web.RouteTableDef()


def create_app(_arguments: object = None, *, timber: Timber | None = None) -> web.Application:
    """The application; its Timber is that of the environment's settings, with the models beside this file."""
    timber = timber or Timber(model_config_dirs=[MODELS])
    app = web.Application()
    setup(app, timber, actor=Header("X-User-Id"))
    app.add_routes(routes)
    app.add_routes(crud_routes("/positions", "Position", timber))
    return app


class Paging(InputDTO):
    """Where in a list, and how far."""

    cursor: str | None = Field(default=None, max_length=1000)
    limit: int = Field(default=20, ge=1, le=100)


class AnalysesQuery(Paging):
    status: Status | None = None


class NotificationsQuery(Paging):
    unread_only: bool = False


class SearchQuery(InputDTO):
    q: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    limit: int = Field(default=20, ge=1, le=100)


class ReadQuery(InputDTO):
    fresh: bool = False


class Share(InputDTO):
    symbol: Symbol


class Key(InputDTO):
    key: UUID


def desk_of(request: web.Request) -> Desk:
    return Desk(timber_of(request))


def key_of(request: web.Request) -> UUID:
    return read_path(request, Key).key


# Analyses


@routes.post("/analyses")
async def begin(request: web.Request) -> web.Response:
    new = await read_body(request, NewAnalysis)
    return json_response(await desk_of(request).begin(require_actor(), new), status=201)


@routes.get("/analyses")
async def list_analyses(request: web.Request) -> web.Response:
    query = read_query(request, AnalysesQuery)
    sessions = timber_of(request).sessions
    page = await sessions.scroll_user_sessions(
        require_actor(), query.cursor, query.limit, status=query.status
    )
    return json_response(page)


@routes.get("/analyses/{key}")
async def read_analysis(request: web.Request) -> web.Response:
    fresh = read_query(request, ReadQuery).fresh
    found = await desk_of(request).open_analysis(require_actor(), key_of(request), fresh=fresh)
    return json_response(found)


@routes.post("/analyses/{key}/findings")
async def add_finding(request: web.Request) -> web.Response:
    new = await read_body(request, NewFinding)
    made = await desk_of(request).add_finding(require_actor(), key_of(request), new)
    return json_response(made, status=201)


@routes.post("/analyses/{key}/conclusion")
async def conclude(request: web.Request) -> web.Response:
    conclusion = await read_body(request, Conclusion)
    desk = desk_of(request)
    return json_response(await desk.conclude(require_actor(), key_of(request), conclusion))


@routes.delete("/analyses/{key}")
async def delete_analysis(request: web.Request) -> web.Response:
    await timber_of(request).sessions.delete_session(key_of(request), require_actor())
    return web.Response(status=204)


@routes.get("/search")
async def search(request: web.Request) -> web.Response:
    query = read_query(request, SearchQuery)
    research = timber_of(request).research
    return json_response(
        await research.search_research(query.q, owner=require_actor(), limit=query.limit)
    )


@routes.get("/export")
async def export(request: web.Request) -> web.StreamResponse:
    repository = timber_of(request).research.repository
    return await json_lines(request, repository, owner=require_actor())


@routes.get("/ratios/{symbol}")
async def ratios(request: web.Request) -> web.Response:
    require_actor()
    symbol = read_path(request, Share).symbol
    return json_response(await desk_of(request).ratios(symbol))


# Trackers


@routes.get("/trackers")
async def list_trackers(request: web.Request) -> web.Response:
    query = read_query(request, Paging)
    tracking = timber_of(request).tracking
    return json_response(
        await tracking.get_user_trackers(require_actor(), cursor=query.cursor, limit=query.limit)
    )


@routes.post("/trackers/{key}/checks")
async def check(request: web.Request) -> web.Response:
    new = await read_body(request, NewCheck)
    made = await desk_of(request).check(require_actor(), key_of(request), new)
    return json_response(made, status=201)


# Notifications


@routes.get("/notifications")
async def list_notifications(request: web.Request) -> web.Response:
    query = read_query(request, NotificationsQuery)
    page = await timber_of(request).notifications.get_user_notifications(
        require_actor(), query.unread_only, query.limit, cursor=query.cursor
    )
    return json_response(page)


@routes.get("/notifications/unread")
async def count_unread(request: web.Request) -> web.Response:
    number = await timber_of(request).notifications.unread_count(require_actor())
    return json_response(Unread(unread=number))


@routes.post("/notifications/{key}/read")
async def mark_as_read(request: web.Request) -> web.Response:
    notifications = timber_of(request).notifications
    return json_response(await notifications.mark_as_read(key_of(request), owner=require_actor()))


@routes.get("/notifications/live")
async def live(request: web.Request) -> web.StreamResponse:
    after = request.headers.get("Last-Event-ID")
    subscription = timber_of(request).notifications.subscribe(require_actor(), after=after)
    return await event_stream(request, subscription, name="notification")
