"""A write that is cancelled is finished or has not happened, and the cancellation says which."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.database.ledger import assert_nothing_is_held
from tests.repository.models import InvoiceDTO, invoice
from timber.database.manager import AsyncDatabaseManager
from timber.database.outcome import outcome_of
from timber.repository import Repository

Invoices = Repository[InvoiceDTO]
Work = Callable[[Invoices, UUID], Awaitable[Any]]
Happened = Callable[[Invoices, UUID], Awaitable[bool]]


async def _is_new(rows: Invoices, key: UUID) -> bool:
    return await rows.exists(id=key)


async def _is_changed(rows: Invoices, key: UUID) -> bool:
    return await rows.exists(id=key, note="x")


async def _is_gone(rows: Invoices, key: UUID) -> bool:
    return not await rows.exists(id=key)


async def _has_all(rows: Invoices, key: UUID) -> bool:
    found = await rows.count(customer=str(key))
    assert found in (0, 120)
    return found == 120


WORK: dict[str, tuple[bool, Work, Happened]] = {
    "insert": (False, lambda r, k: r.insert(invoice(str(k)), id=k), _is_new),
    "update": (True, lambda r, k: r.update(k, {"note": "x"}), _is_changed),
    "update_where": (True, lambda r, k: r.update_where({"note": "x"}, id=k), _is_changed),
    "upsert": (True, lambda r, k: r.upsert({**invoice(str(k), note="x"), "id": k}), _is_changed),
    "delete": (True, lambda r, k: r.delete(k), _is_gone),
    "insert_many": (
        False,
        lambda r, k: r.insert_many(invoice(f"{n}{k}", customer=str(k)) for n in range(120)),
        _has_all,
    ),
    "insert_many_returning": (
        False,
        lambda r, k: r.insert_many_returning(
            invoice(f"{n}{k}", customer=str(k), tags=["x"]) for n in range(120)
        ),
        _has_all,
    ),
}


@pytest.mark.parametrize("verb", WORK)
async def test_a_cancelled_write_tells_its_outcome(
    invoices: Invoices, db: AsyncDatabaseManager, verb: str
) -> None:
    needs_row, work, happened = WORK[verb]
    told = set()
    for step in (*range(1, 12), 20, 40, 80, 160, 400):
        key = uuid4()
        if needs_row:
            await invoices.insert(invoice(str(key)), id=key)
        task = asyncio.ensure_future(work(invoices, key))
        for _ in range(step):
            await asyncio.sleep(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError as cancelled:
            outcome = outcome_of(cancelled)
        else:
            outcome = "committed"
        # Nothing is said where nothing had begun.
        assert await happened(invoices, key) is (outcome == "committed"), (step, outcome)
        told.add(outcome)
        assert_nothing_is_held(db)
    assert told & {"committed", "rolled_back"}
    assert "unknown" not in told
