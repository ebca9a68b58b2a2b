"""What holds of rows in memory beyond the repository's own tests: units of work, services, references, what it cannot do."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from timber import (
    DTO,
    ConflictError,
    NotFoundError,
    Service,
    UnitOfWorkDoomedError,
    UsageError,
)
from timber.models.registry import ModelRegistry
from timber.testing import Factory, InMemoryDatabase, InMemoryRepository, in_memory

PROJECT = Path(__file__).parent / "project" / "models"
REGISTRY = ModelRegistry(dirs=[PROJECT])


class InvoiceRead(DTO):
    number: str
    amount: Any
    version: int


class InvoiceService(Service[InvoiceRead]):
    model = "Invoice"

    async def after_create(self, dto: InvoiceRead) -> None:
        if dto.amount < 0:
            raise ValueError("a credit note is no invoice")


@pytest.fixture
async def memory() -> AsyncGenerator[InMemoryDatabase]:
    database = InMemoryDatabase(REGISTRY)
    yield database
    await database.dispose()


@pytest.fixture
def invoices(memory: InMemoryDatabase) -> InMemoryRepository[Any]:
    return InMemoryRepository(
        REGISTRY.get_model("Invoice"), REGISTRY.read_dto("Invoice"), db=memory
    )


@pytest.fixture
def factory(memory: InMemoryDatabase) -> Factory:
    return Factory(
        REGISTRY,
        lambda name: InMemoryRepository(
            REGISTRY.get_model(name), REGISTRY.read_dto(name), db=memory
        ),
    )


async def test_a_unit_of_work_that_fails_takes_back_what_it_wrote(
    memory: InMemoryDatabase, invoices: InMemoryRepository[Any], factory: Factory
) -> None:
    kept = await factory.create("Invoice")
    with pytest.raises(ZeroDivisionError):
        async with memory.unit_of_work() as uow:
            await factory.create("Invoice")
            await invoices.update(kept.id, {"amount": 7})
            await invoices.update(kept.id, {"amount": 8})
            await invoices.delete(kept.id)
            1 / 0  # noqa: B018  # it raises
    assert uow.outcome == "rolled_back"
    assert await invoices.find() == [kept]


async def test_a_savepoint_that_fails_takes_back_its_own_part(
    memory: InMemoryDatabase, invoices: InMemoryRepository[Any], factory: Factory
) -> None:
    told: list[str] = []
    async with memory.unit_of_work() as uow:
        first = await factory.create("Invoice", amount=1)
        with pytest.raises(ConflictError):
            async with uow.savepoint():
                await invoices.update(first.id, {"amount": 2})
                await factory.create("Invoice", number=first.number)
        async with memory.unit_of_work():
            await invoices.update(first.id, {"amount": 3})
        uow.on_commit(lambda: told.append("committed"))
    assert (uow.outcome, told) == ("committed", ["committed"])
    assert (await invoices.get(first.id)).amount == 3


async def test_a_failure_that_is_caught_dooms_as_it_does_on_a_database(
    memory: InMemoryDatabase, factory: Factory
) -> None:
    with pytest.raises(UnitOfWorkDoomedError):
        async with memory.unit_of_work():
            first = await factory.create("Invoice")
            with pytest.raises(ConflictError) as refused:
                await factory.create("Invoice", number=first.number)
    assert refused.value.constraint == "uq_invoices_number"


async def test_references_between_rows_are_held(
    memory: InMemoryDatabase, invoices: InMemoryRepository[Any], factory: Factory
) -> None:
    line = await factory.create("Line")
    with pytest.raises(ConflictError, match="fk_lines_invoice_id"):
        await invoices.delete(line.invoice_id, hard=True)
    with pytest.raises(ConflictError) as refused:
        await factory.create("Line", invoice_id=line.id)
    assert refused.value.sqlstate == "23503"
    sessions, events = (
        InMemoryRepository(REGISTRY.get_model(name), REGISTRY.read_dto(name), db=memory)
        for name in ("Session", "SessionEvent")
    )
    event = await factory.create("SessionEvent")
    await sessions.delete(event.session_id, hard=True)
    assert await events.count() == 0  # on_delete: cascade


async def test_a_service_works_on_rows_in_memory_with_its_hooks() -> None:
    service = in_memory(InvoiceService, registry=REGISTRY)
    invoice = await service.create({"user_id": "ann", "number": "R-1", "amount": 1})
    with pytest.raises(ValueError, match="credit note"):
        await service.create({"user_id": "ann", "number": "R-2", "amount": -1})
    assert await service.list(owner="ann") == [invoice]
    with pytest.raises(NotFoundError):
        await service.delete("00000000-0000-7000-8000-000000000000")
    await service.db.dispose()


async def test_the_rows_of_one_database_are_those_of_all_its_services(
    memory: InMemoryDatabase, factory: Factory
) -> None:
    await factory.create("Invoice", user_id="ann")
    assert await in_memory(InvoiceService, memory).count(owner="ann") == 1
    assert await in_memory(InvoiceService, InMemoryDatabase(REGISTRY)).count() == 0


async def test_what_only_postgresql_can_do_says_so(
    memory: InMemoryDatabase, invoices: InMemoryRepository[Any]
) -> None:
    table = REGISTRY.table("Invoice")
    with pytest.raises(UsageError, match="none behind a repository in memory"):
        await invoices.insert({"user_id": "ann", "number": "1", "amount": 1})
        await invoices.find(table.c.amount > 0)
    with pytest.raises(UsageError, match="needs a PostgreSQL"):
        await memory.fetch(type("S", (), {"label": "links"})())


def test_nothing_of_it_needs_a_database_or_pytest() -> None:
    assert InMemoryDatabase(REGISTRY).tables["Invoice"].rows == {}
