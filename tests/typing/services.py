"""What type checkers infer for people who call the services, with no cast."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, assert_type
from uuid import UUID

from timber import (
    DTO,
    AsyncDatabaseManager,
    CursorPage,
    Page,
    Repository,
    ResearchDTO,
    ResearchService,
    SearchHit,
    Service,
    SessionDTO,
    SessionEventDTO,
    SessionService,
    Timber,
    UnitOfWork,
    initialize_timber,
    outcome_of,
)


class InvoiceDTO(DTO):
    id: UUID
    amount: Decimal


class Amount(DTO):
    amount: Decimal


class InvoiceService(Service[InvoiceDTO]):
    model = "Invoice"

    async def overdue(self) -> list[InvoiceDTO]:
        return await self.list(paid=False)

    async def after_create(self, dto: InvoiceDTO) -> None:
        assert_type(dto.amount, Decimal)


class MySession(SessionDTO):
    team: str | None


class MySessionService(SessionService[MySession]):
    pass


async def sessions(timber: Timber, id: UUID) -> None:
    assert_type(timber.sessions, SessionService[SessionDTO])
    session = await timber.sessions.create_session("user-1", "research", {"symbol": "AAPL"})
    assert_type(session, SessionDTO)
    assert_type(session.metadata, dict[str, Any])
    assert_type(session.completed_at, datetime | None)
    assert_type(await timber.sessions.get_session(id), SessionDTO | None)
    assert_type(await timber.sessions.get_user_sessions("user-1"), list[SessionDTO])
    assert_type(await timber.sessions.page_user_sessions("user-1"), Page[SessionDTO])
    assert_type(await timber.sessions.scroll_user_sessions("user-1"), CursorPage[SessionDTO])
    assert_type(await timber.sessions.update_session(id, status="paused"), SessionDTO)
    assert_type(await timber.sessions.complete_session(id), SessionDTO)
    assert_type(await timber.sessions.transition(id, "paused", reason="lunch"), SessionDTO)
    assert_type(await timber.sessions.restore_session(id, "user-1"), SessionDTO)
    assert_type(await timber.sessions.get_history(id), list[SessionEventDTO])
    assert_type(await timber.sessions.count_user_sessions("user-1"), int)
    assert_type(await timber.sessions.count_user_sessions("user-1", by="status"), dict[str, int])
    assert_type(timber.sessions.repository, Repository[SessionDTO])


async def research(timber: Timber, id: UUID) -> None:
    assert_type(timber.research, ResearchService[ResearchDTO])
    assert_type(await timber.research.save_research(id, {"pe": 29.1}, "fundamental"), ResearchDTO)
    assert_type(await timber.research.save_many([]), list[UUID])
    assert_type(await timber.research.get_research(id), ResearchDTO | None)
    assert_type(await timber.research.get_session_research(id), list[ResearchDTO])
    assert_type(await timber.research.get_user_research("user-1"), CursorPage[ResearchDTO])
    assert_type(await timber.research.search_research("gold"), list[SearchHit[ResearchDTO]])

    async def load() -> dict[str, float]:
        return {"pe": 29.1}

    computed = await timber.research.get_or_compute("AAPL", load, max_age=timedelta(hours=1))
    assert_type(computed, ResearchDTO)


async def services_of_ones_own(db: AsyncDatabaseManager, timber: Timber, id: UUID) -> None:
    assert_type(SessionService(db), SessionService[SessionDTO])
    assert_type(await SessionService(db).get_session(id), SessionDTO | None)
    assert_type(SessionService[MySession](db), SessionService[MySession])
    assert_type(SessionService(db, dto=MySession), SessionService[MySession])
    mine = SessionService[MySession](db)
    assert_type(await mine.get_session(id), MySession | None)
    assert_type(await mine.create_session("user-1", "research"), MySession)
    assert_type((await mine.scroll_user_sessions("user-1")).items, list[MySession])
    assert_type(await MySessionService(db).get_session(id), MySession | None)
    assert_type(timber.service(MySessionService), MySessionService)

    invoices = timber.service(InvoiceService)
    assert_type(invoices, InvoiceService)
    assert_type(await invoices.create({"amount": 1}), InvoiceDTO)
    assert_type(await invoices.get(id), InvoiceDTO)
    assert_type(await invoices.get_or_none(id), InvoiceDTO | None)
    assert_type(await invoices.list(), list[InvoiceDTO])
    assert_type(await invoices.page(), Page[InvoiceDTO])
    assert_type(await invoices.update(id, {"amount": 2}), InvoiceDTO)
    assert_type(await invoices.overdue(), list[InvoiceDTO])
    assert_type(await invoices.exists(number="R-1"), bool)
    async with invoices.stream() as stream:
        assert_type(stream, AsyncIterator[InvoiceDTO])
    assert_type(timber.service("Invoice"), Service[Any])


async def repositories(timber: Timber, repository: Repository[InvoiceDTO], id: UUID) -> None:
    assert_type(timber.repository("Invoice", InvoiceDTO), Repository[InvoiceDTO])
    assert_type(await repository.get(id), InvoiceDTO)
    assert_type(await repository.get_or_none(id), InvoiceDTO | None)
    assert_type(await repository.find(), list[InvoiceDTO])
    assert_type(await repository.find(into=Amount), list[Amount])
    assert_type(await repository.insert({"amount": 1}), InvoiceDTO)
    assert_type((await repository.page()).items, list[InvoiceDTO])


async def units_of_work(url: str) -> None:
    async with Timber(database_url=url, pool_size=5) as timber:
        assert_type(timber, Timber)
        async with timber.unit_of_work(isolation="serializable") as uow:
            assert_type(uow, UnitOfWork)

        async def transfer(uow: UnitOfWork) -> SessionDTO:
            return await timber.sessions.create_session("user-1", "research")

        assert_type(await timber.run(transfer), SessionDTO)

        @timber.transactional(isolation="serializable")
        async def rename(uow: UnitOfWork, id: UUID, *, name: str) -> SessionDTO:
            return await timber.sessions.create_session(name, "research")

        assert_type(await rename(UUID(int=0), name="user-2"), SessionDTO)
        await rename(UUID(int=0), nom="user-2")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    assert_type(await initialize_timber(url), Timber)
    found = outcome_of(ValueError())
    if found is not None:
        assert found in ("committed", "rolled_back", "unknown")


def mistakes(timber: Timber, db: AsyncDatabaseManager) -> None:
    """What a type checker has to refuse; an ignore that is not needed is an error."""
    Timber(pool_sice=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Timber(pool_size="five")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    SessionService(db, dto=InvoiceDTO)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
    timber.sessions.transition("id")  # type: ignore[call-arg,unused-coroutine]  # pyright: ignore[reportCallIssue,reportUnusedCoroutine]
