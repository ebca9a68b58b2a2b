"""The test application in FastAPI."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import FastAPI, Header, HTTPException, Query, Request
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import StreamingResponse

from tests.integrations import api
from timber import NotificationDTO, SessionDTO, Timber, current_actor
from timber.integrations import fastapi as adapter
from timber.integrations.fastapi import (
    ActorDep,
    Deadlines,
    NotificationsDep,
    TimberDep,
    UnitOfWorkDep,
    crud_router,
    event_stream,
    install,
    json_lines,
    lifespan,
)


def make(timber: Timber, *, behind_base_middleware: bool = False) -> FastAPI:
    app = FastAPI(lifespan=lifespan(timber), debug=False)
    if behind_base_middleware:
        app.add_middleware(BaseHTTPMiddleware, dispatch=_pass_on)
    install(app, actor=adapter.Header("X-User-Id"), deadlines=Deadlines(longest=20.0))
    app.include_router(crud_router("Invoice", timber), prefix="/invoices")
    app.include_router(crud_router("Rate", timber, verbs=["list", "create"]), prefix="/rates")
    _add_routes(app)
    return app


async def _pass_on(request: Request, call_next: Any) -> Any:
    return await call_next(request)


def _add_routes(app: FastAPI) -> None:
    @app.post("/sessions", status_code=201)
    async def open_session(timber: TimberDep, actor: ActorDep, new: api.NewSession) -> SessionDTO:
        return await api.open_session(timber, actor, new)

    @app.get("/sessions/{session_id}")
    async def session(timber: TimberDep, actor: ActorDep, session_id: UUID) -> SessionDTO:
        return await api.found_session(timber, session_id, actor)

    @app.post("/work/{end}", status_code=201)
    async def work(
        timber: TimberDep, uow: UnitOfWorkDep, actor: ActorDep, end: api.End
    ) -> SessionDTO:
        return await api.work(timber, uow, actor, end)

    @app.get("/errors/{name}")
    async def fail(name: str) -> None:
        error = api.ERRORS[name]()
        raise error

    @app.get("/teapot")
    async def teapot() -> None:
        raise HTTPException(418, "I am one.", headers={"X-Pot": "tea"})

    @app.get("/me")
    async def me() -> dict[str, str | None]:
        return {"actor": current_actor()}

    @app.get("/slow")
    async def slow(timber: TimberDep, seconds: float) -> None:
        await api.sleep(timber, seconds)

    @app.get("/export")
    async def export(
        timber: TimberDep, actor: ActorDep, order_by: Annotated[str | None, Query()] = None
    ) -> StreamingResponse:
        return await json_lines(
            timber.research.repository, user_id=actor, batch=10, order_by=order_by
        )

    @app.post("/notifications", status_code=201)
    async def notify(notifications: NotificationsDep, actor: ActorDep) -> NotificationDTO:
        return await notifications.create_notification(actor, "note", title="Hi", content="there")

    @app.get("/live")
    async def live(
        notifications: NotificationsDep,
        actor: ActorDep,
        last_event_id: Annotated[str | None, Header()] = None,
    ) -> StreamingResponse:
        subscription = notifications.subscribe(actor, after=last_event_id)
        return await event_stream(subscription, name="notification", heartbeat=0.1)
