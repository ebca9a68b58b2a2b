"""Deleted rows are out of sight of every verb, unless it is told to look, and come back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from tests.repository.conftest import Clock
from tests.repository.models import InvoiceDTO, TicketDTO, invoice
from timber.dto import CursorPage, Page
from timber.errors import ConflictError, NotFoundError, UsageError
from timber.repository import Repository

Invoices = Repository[InvoiceDTO]


async def _stream(rows: Invoices, key: Any, **options: Any) -> int:
    async with rows.stream(id=key, **options) as found:
        return len([row async for row in found])


async def _lock(rows: Invoices, key: Any, **options: Any) -> bool:
    async with rows.db.unit_of_work():
        return bool(await rows.for_update(key, **options))


async def _length(found: Awaitable[Any]) -> int:
    items = await found
    return len(items.items if isinstance(items, Page | CursorPage) else items)


Verb = Callable[..., Awaitable[Any]]

VERBS: dict[str, Verb] = {
    "get": lambda r, k, **o: r.get(k, **o),
    "get_or_none": lambda r, k, **o: r.get_or_none(k, **o),
    "get_many": lambda r, k, **o: _length(r.get_many([k], **o)),
    "find": lambda r, k, **o: _length(r.find(id=k, **o)),
    "find_one": lambda r, k, **o: r.find_one(id=k, **o),
    "page": lambda r, k, **o: _length(r.page(id=k, **o)),
    "scroll": lambda r, k, **o: _length(r.scroll(id=k, **o)),
    "stream": _stream,
    "count": lambda r, k, **o: r.count(id=k, **o),
    "count_by": lambda r, k, **o: _length(r.count_by("id", id=k, **o)),
    "exists": lambda r, k, **o: r.exists(id=k, **o),
    "for_update": _lock,
    "update": lambda r, k, **o: r.update(k, {"note": "x"}, **o),
    "update nothing": lambda r, k, **o: r.update(k, {}, **o),
    "update at a version": lambda r, k, **o: r.update(k, {"note": "x"}, expected_version=2, **o),
    "update_where": lambda r, k, **o: r.update_where({"note": "x"}, id=k, **o),
}
NEVER: dict[str, Verb] = {
    "delete": lambda r, k: r.delete(k),
    "delete_where": lambda r, k: r.delete_where(id=k),
}


@pytest.mark.parametrize("verb", VERBS | NEVER)
async def test_a_deleted_row_is_out_of_sight(invoices: Invoices, verb: str) -> None:
    row = await invoices.insert(invoice())
    await invoices.delete(row.id)
    call = (VERBS | NEVER)[verb]
    with suppress(NotFoundError):
        assert not await call(invoices, row.id)
    deleted = await invoices.get(row.id, include_deleted=True)
    assert (deleted.note, deleted.version) == (None, 2)
    if verb in VERBS:
        assert await call(invoices, row.id, include_deleted=True)
        # A change of a deleted row leaves it deleted.
        assert (await invoices.get(row.id, include_deleted=True)).deleted_at is not None


async def test_a_deleted_row_knows_when_and_comes_back(invoices: Invoices, clock: Clock) -> None:
    row = await invoices.insert(invoice())
    then = clock.tick()
    await invoices.delete(row.id)
    deleted = await invoices.get(row.id, include_deleted=True)
    assert deleted.deleted_at == deleted.updated_at == then
    later = clock.tick()
    restored = await invoices.restore(row.id)
    assert restored == row.model_copy(update={"updated_at": later, "version": 3})
    assert await invoices.get(row.id) == restored


async def test_restoring_a_row_that_is_not_deleted_leaves_it_as_it_is(
    invoices: Invoices, clock: Clock
) -> None:
    row = await invoices.insert(invoice())
    clock.tick()
    assert await invoices.restore(row.id) == row
    assert await invoices.get(row.id) == row


async def test_hard_deletion_is_for_good(invoices: Invoices) -> None:
    live, marked = await invoices.insert_many([invoice("1"), invoice("2")])
    await invoices.delete(marked)
    for key in (live, marked):
        await invoices.delete(key, hard=True)
        assert await invoices.get_or_none(key, include_deleted=True) is None
    with pytest.raises(NotFoundError):
        await invoices.restore(live)


async def test_many_rows_are_deleted_by_filters(invoices: Invoices, clock: Clock) -> None:
    await invoices.insert_many(invoice(str(n), priority=n % 2) for n in range(6))
    now = clock.tick()
    assert await invoices.delete_where(priority=1) == 3
    assert await invoices.delete_where(priority=1) == 0
    gone = await invoices.find(invoices.where.deleted_at.not_null(), include_deleted=True)
    assert {(row.deleted_at, row.updated_at, row.version) for row in gone} == {(now, now, 2)}
    assert await invoices.count() == 3
    assert await invoices.delete_where(invoices.where.number.not_null(), hard=True) == 6
    assert await invoices.count(include_deleted=True) == 0


async def test_a_deleted_row_keeps_its_unique_values(invoices: Invoices) -> None:
    row = await invoices.insert(invoice())
    await invoices.delete(row.id)
    with pytest.raises(ConflictError) as refused:
        await invoices.insert(invoice())
    assert refused.value.constraint == "uq_invoices_number"


async def test_without_soft_delete_a_deletion_is_for_good(tickets: Repository[TicketDTO]) -> None:
    row = await tickets.insert({"title": "a"})
    with pytest.raises(UsageError, match="SoftDelete"):
        await tickets.restore(row.id)
    await tickets.delete(row.id)
    assert await tickets.get_or_none(row.id, include_deleted=True) is None
    await tickets.insert({"title": "b"})
    assert await tickets.delete_where(title="b") == 1
    assert await tickets.count(include_deleted=True) == 0
