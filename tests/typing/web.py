"""What type checkers infer in the handlers of web applications, with no cast."""

from __future__ import annotations

from typing import Annotated, assert_type
from uuid import UUID

from aiohttp import web
from fastapi import FastAPI

from timber import (
    DTO,
    Service,
    SessionDTO,
    SessionService,
    Timber,
    UnitOfWork,
)
from timber.integrations import aiohttp as in_aiohttp
from timber.integrations import fastapi as in_fastapi
from timber.integrations.fastapi import (
    ActorDep,
    SessionsDep,
    TimberDep,
    UnitOfWorkDep,
    service,
)


class InvoiceDTO(DTO):
    id: UUID


class InvoiceService(Service[InvoiceDTO]):
    model = "Invoice"


async def handler(
    timber: TimberDep,
    sessions: SessionsDep,
    invoices: Annotated[InvoiceService, service(InvoiceService)],
    uow: UnitOfWorkDep,
    actor: ActorDep,
) -> SessionDTO:
    assert_type(timber, Timber)
    assert_type(sessions, SessionService[SessionDTO])
    assert_type(await invoices.list(owner=actor), list[InvoiceDTO])
    assert_type(uow, UnitOfWork)
    async with uow:
        return await sessions.create_session(actor, "research")


def applications(timber: Timber) -> tuple[FastAPI, web.Application]:
    app = FastAPI(lifespan=in_fastapi.lifespan(timber))
    in_fastapi.install(app, actor=lambda connection: connection.headers.get("X-User"))
    other = web.Application()
    in_aiohttp.setup(other, timber, actor=in_aiohttp.State("user"))
    return app, other


async def aiohttp_handler(request: web.Request) -> web.Response:
    assert_type(in_aiohttp.timber_of(request), Timber)
    assert_type(await in_aiohttp.read_body(request, InvoiceDTO), InvoiceDTO)
    return in_aiohttp.json_response([])
