"""Timber in FastAPI: ``FastAPI(lifespan=lifespan(timber))``, ``install(app)``, and dependencies for handlers."""

from __future__ import annotations

from timber.integrations.actors import Header, State
from timber.integrations.deadlines import Deadlines
from timber.integrations.fastapi.crud import crud_router
from timber.integrations.fastapi.dependencies import (
    ActorDep,
    NotificationsDep,
    ResearchDep,
    SessionsDep,
    TimberDep,
    TrackingDep,
    UnitOfWorkDep,
    service,
    timber_of,
    unit_of_work,
)
from timber.integrations.fastapi.documenting import problems
from timber.integrations.fastapi.installing import install
from timber.integrations.fastapi.lifespan import lifespan
from timber.integrations.fastapi.middleware import ActorMiddleware, DeadlineMiddleware
from timber.integrations.fastapi.streaming import event_stream, json_lines
from timber.integrations.problems import Problem, UnauthenticatedError

__all__ = [
    "ActorDep",
    "ActorMiddleware",
    "DeadlineMiddleware",
    "Deadlines",
    "Header",
    "NotificationsDep",
    "Problem",
    "ResearchDep",
    "SessionsDep",
    "State",
    "TimberDep",
    "TrackingDep",
    "UnauthenticatedError",
    "UnitOfWorkDep",
    "crud_router",
    "event_stream",
    "install",
    "json_lines",
    "lifespan",
    "problems",
    "service",
    "timber_of",
    "unit_of_work",
]
