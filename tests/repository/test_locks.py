"""Rows locked for the rest of a unit of work."""

from __future__ import annotations

import asyncio

from tests.database.ledger import Observer
from tests.harness.databases import connected
from tests.repository.conftest import MakeDb, repository
from tests.repository.models import InvoiceDTO, invoice
from timber.repository import Repository


async def test_a_locked_row_waits_for_the_end_of_the_unit_of_work(
    make_db: MakeDb, tables_url: str
) -> None:
    db = make_db(application_name="locks")
    invoices: Repository[InvoiceDTO] = repository(db, "Invoice", InvoiceDTO)
    row = await invoices.insert(invoice(priority=1))
    seen: list[int] = []

    async def raise_priority() -> None:
        async with db.unit_of_work():
            found = await invoices.for_update(row.id)
            seen.append(found.priority)
            await invoices.update(row.id, {"priority": found.priority + 1})

    async with connected(tables_url) as connection:
        async with db.unit_of_work():
            found = await invoices.for_update(row.id, owner="ann")
            other = asyncio.create_task(_outside(raise_priority()))
            await Observer(connection).wait_until_blocked("locks")
            await invoices.update(row.id, {"priority": found.priority + 10})
        await other
    assert seen == [11]
    assert (await invoices.get(row.id)).priority == 12


async def _outside(work: object) -> None:
    """As another request would run it: in a context of its own."""
    import contextvars

    await asyncio.get_running_loop().create_task(work, context=contextvars.Context())  # type: ignore[arg-type]


async def test_many_who_lock_before_they_change_lose_nothing(make_db: MakeDb) -> None:
    db = make_db()
    invoices: Repository[InvoiceDTO] = repository(db, "Invoice", InvoiceDTO)
    row = await invoices.insert(invoice())

    async def add() -> None:
        async with db.unit_of_work():
            found = await invoices.for_update(row.id)
            await invoices.update(row.id, {"priority": found.priority + 1})

    await asyncio.gather(*(add() for _ in range(20)))
    assert (await invoices.get(row.id)).priority == 20
