"""What handlers ask for: ``async def handler(sessions: SessionsDep, uow: UnitOfWorkDep)``."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from fastapi import Depends
from starlette.requests import HTTPConnection
from typing_extensions import Unpack

from timber import (
    NotificationDTO,
    NotificationService,
    ResearchDTO,
    ResearchService,
    Service,
    SessionDTO,
    SessionService,
    Timber,
    TrackerDTO,
    TrackingService,
    UnitOfWork,
    UsageError,
)
from timber.integrations.actors import require_actor
from timber.integrations.fastapi.lifespan import STATE
from timber.integrations.running import NOT_RUNNING, UnitOptions

S = TypeVar("S", bound=Service[Any])


def timber_of(connection: HTTPConnection) -> Timber:
    """The Timber of the application that a request or a websocket belongs to.

    Raises:
        UsageError: there is none.
    """
    timber: Timber | None = connection.scope.get("state", {}).get(STATE)
    if timber is None:
        raise UsageError(NOT_RUNNING.format(how="FastAPI(lifespan=lifespan(timber))"))
    return timber


# Coroutines although they await nothing: FastAPI would run plain functions in a thread.


async def _timber(connection: HTTPConnection) -> Timber:
    return timber_of(connection)


TimberDep = Annotated[Timber, Depends(_timber)]
"""The running Timber."""


async def _sessions(timber: TimberDep) -> SessionService[SessionDTO]:
    return timber.sessions


async def _research(timber: TimberDep) -> ResearchService[ResearchDTO]:
    return timber.research


async def _notifications(timber: TimberDep) -> NotificationService[NotificationDTO]:
    return timber.notifications


async def _tracking(timber: TimberDep) -> TrackingService[TrackerDTO]:
    return timber.tracking


async def _actor() -> str:
    return require_actor()


def unit_of_work(**options: Unpack[UnitOptions]) -> Any:
    """A unit of work with options, not yet entered: ``unit_of_work(isolation="serializable")`` inside ``Annotated``."""

    async def make(timber: TimberDep) -> UnitOfWork:
        return timber.unit_of_work(**options)

    return Depends(make)


def service(kind: type[S] | str) -> Any:
    """A service of one's own, or that of a model by its name, inside ``Annotated[InvoiceService, ...]``."""

    async def find(timber: TimberDep) -> Service[Any]:
        found: Service[Any] = timber.service(kind)
        return found

    return Depends(find)


SessionsDep = Annotated[SessionService[SessionDTO], Depends(_sessions)]
"""Sessions of users."""
ResearchDep = Annotated[ResearchService[ResearchDTO], Depends(_research)]
"""Results of research."""
NotificationsDep = Annotated[NotificationService[NotificationDTO], Depends(_notifications)]
"""Messages to users."""
TrackingDep = Annotated[TrackingService[TrackerDTO], Depends(_tracking)]
"""What is checked again and again for users."""
UnitOfWorkDep = Annotated[UnitOfWork, unit_of_work()]
"""A unit of work that has not begun: the handler enters it, ``async with uow:``, so that it is committed, or has failed to
be, before there is an answer."""
ActorDep = Annotated[str, Depends(_actor)]
"""Who acts; 401 where nobody is known."""
