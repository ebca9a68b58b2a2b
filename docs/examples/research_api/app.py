"""The service in FastAPI: ``uvicorn --factory research_api.app:create_app``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, FastAPI, Query
from fastapi import Header as HTTPHeader
from fastapi.responses import StreamingResponse

from research_api.dependencies import Cursor, DeskDep, Limit
from research_api.messages import (
    Analysis,
    Conclusion,
    NewAnalysis,
    NewCheck,
    NewFinding,
    Ratios,
    Status,
    Symbol,
    Unread,
)
from timber import (
    CursorPage,
    NotificationDTO,
    ResearchDTO,
    SearchHit,
    SessionDTO,
    Timber,
    TrackerDTO,
    TrackerEventDTO,
)
from timber.integrations.fastapi import (
    ActorDep,
    Header,
    NotificationsDep,
    ResearchDep,
    SessionsDep,
    TrackingDep,
    crud_router,
    event_stream,
    install,
    json_lines,
    lifespan,
    problems,
)

MODELS = Path(__file__).parent / "models"

router = APIRouter(responses=problems(401))


def create_app(timber: Timber | None = None) -> FastAPI:
    """The application; its Timber is that of the environment's settings, with the models beside this file."""
    timber = timber or Timber(model_config_dirs=[MODELS])
    app = FastAPI(title="Research", lifespan=lifespan(timber))
    install(app, actor=Header("X-User-Id"))
    app.include_router(router)
    app.include_router(crud_router("Position", timber), prefix="/positions")
    return app


# Analyses


@router.post("/analyses", status_code=201)
async def begin(desk: DeskDep, actor: ActorDep, new: NewAnalysis) -> Analysis:
    """Begin an analysis."""
    return await desk.begin(actor, new)


@router.get("/analyses")
async def list_analyses(
    sessions: SessionsDep,
    actor: ActorDep,
    status: Status | None = None,
    cursor: Cursor = None,
    limit: Limit = 20,
) -> CursorPage[SessionDTO]:
    """One's analyses, newest first."""
    return await sessions.scroll_user_sessions(actor, cursor, limit, status=status)


@router.get("/analyses/{session_id}")
async def read_analysis(
    desk: DeskDep, actor: ActorDep, session_id: UUID, *, fresh: bool = False
) -> Analysis:
    """An analysis with its findings."""
    return await desk.open_analysis(actor, session_id, fresh=fresh)


@router.post("/analyses/{session_id}/findings", status_code=201)
async def add_finding(
    desk: DeskDep, actor: ActorDep, session_id: UUID, new: NewFinding
) -> ResearchDTO:
    """Add what was found."""
    return await desk.add_finding(actor, session_id, new)


@router.post("/analyses/{session_id}/conclusion")
async def conclude(
    desk: DeskDep, actor: ActorDep, session_id: UUID, conclusion: Conclusion
) -> Analysis:
    """End an analysis."""
    return await desk.conclude(actor, session_id, conclusion)


@router.delete("/analyses/{session_id}", status_code=204)
async def delete_analysis(sessions: SessionsDep, actor: ActorDep, session_id: UUID) -> None:
    """Delete an analysis."""
    await sessions.delete_session(session_id, actor)


@router.get("/search")
async def search(
    research: ResearchDep,
    actor: ActorDep,
    q: Annotated[str, Query(min_length=1, max_length=200)],
    limit: Limit = 20,
) -> list[SearchHit[ResearchDTO]]:
    """Findings with these words, best first."""
    return await research.search_research(q, owner=actor, limit=limit)


@router.get("/export", responses={200: {"content": {"application/jsonl": {}}}})
async def export(research: ResearchDep, actor: ActorDep) -> StreamingResponse:
    """All of one's findings, a line each."""
    return await json_lines(research.repository, owner=actor)


@router.get("/ratios/{symbol}")
async def ratios(desk: DeskDep, _actor: ActorDep, symbol: Symbol) -> Ratios:
    """Figures of a share."""
    return await desk.ratios(symbol)


# Trackers


@router.get("/trackers")
async def list_trackers(
    tracking: TrackingDep, actor: ActorDep, cursor: Cursor = None, limit: Limit = 20
) -> CursorPage[TrackerDTO]:
    """One's trackers, newest first."""
    return await tracking.get_user_trackers(actor, cursor=cursor, limit=limit)


@router.post("/trackers/{tracker_id}/checks", status_code=201)
async def check(desk: DeskDep, actor: ActorDep, tracker_id: UUID, new: NewCheck) -> TrackerEventDTO:
    """Hold a price against a tracker."""
    return await desk.check(actor, tracker_id, new)


# Notifications


@router.get("/notifications")
async def list_notifications(
    notifications: NotificationsDep,
    actor: ActorDep,
    *,
    unread_only: bool = False,
    cursor: Cursor = None,
    limit: Limit = 20,
) -> CursorPage[NotificationDTO]:
    """One's messages, newest first."""
    return await notifications.get_user_notifications(actor, unread_only, limit, cursor=cursor)


@router.get("/notifications/unread")
async def count_unread(notifications: NotificationsDep, actor: ActorDep) -> Unread:
    """How many messages one has not read."""
    return Unread(unread=await notifications.unread_count(actor))


@router.post("/notifications/{notification_id}/read")
async def mark_as_read(
    notifications: NotificationsDep, actor: ActorDep, notification_id: UUID
) -> NotificationDTO:
    """Mark a message as read."""
    return await notifications.mark_as_read(notification_id, owner=actor)


@router.get("/notifications/live", responses={200: {"content": {"text/event-stream": {}}}})
async def live(
    notifications: NotificationsDep,
    actor: ActorDep,
    last_event_id: Annotated[str | None, HTTPHeader()] = None,
) -> StreamingResponse:
    """One's messages as they come, as server-sent events."""
    subscription = notifications.subscribe(actor, after=last_event_id)
    return await event_stream(subscription, name="notification")
