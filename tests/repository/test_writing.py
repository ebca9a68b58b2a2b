"""Inserting and changing single rows: defaults, input DTOs, times, actors, versions, merges."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import Field

from tests.repository.conftest import Clock, Sent
from tests.repository.models import (
    REGISTRY,
    InvoiceDTO,
    SignedDTO,
    TicketDTO,
    invoice,
)
from timber.context import acting_as
from timber.database.manager import AsyncDatabaseManager
from timber.dto import InputDTO
from timber.errors import (
    ConflictError,
    NotFoundError,
    StaleDataError,
    ValidationError,
)
from timber.repository import Repository

Invoices = Repository[InvoiceDTO]


class NewInvoice(InputDTO):
    user_id: str
    number: str
    customer: str = "Acme"
    status: str = "sent"
    note: str | None = None
    details: dict[str, Any] | None = Field(default_factory=lambda: {"by": "dto"})


class Changes(InputDTO):
    customer: str | None = None
    note: str | None = None


# Inserting


async def test_a_row_is_made_of_a_mapping_or_an_input_dto(invoices: Invoices) -> None:
    made = await invoices.insert(MappingProxyType(invoice("1", note="x")))
    assert (made.number, made.note, made.status, made.details) == ("1", "x", "draft", None)
    made = await invoices.insert(NewInvoice(user_id="ann", number="2"))
    # Its own defaults are what its author meant to be stored.
    assert (made.number, made.customer, made.status) == ("2", "Acme", "sent")
    assert (made.note, made.details) == (None, {"by": "dto"})
    generated: Any = REGISTRY.create_dto("Invoice")
    made = await invoices.insert(generated(user_id="ann", number="3", customer="c"))
    assert (made.number, made.status, made.priority, made.reference) == ("3", "draft", 0, None)
    # None is as good as left out where the value is made here.
    made = await invoices.insert({**invoice("4"), "id": None, "created_at": None})
    assert made.id.version == 7
    assert made.created_at == made.updated_at


async def test_a_key_may_be_given_in_either_way(invoices: Invoices) -> None:
    first, second = uuid4(), uuid4()
    assert (await invoices.insert(invoice("1"), id=str(first))).id == first
    assert (await invoices.insert({**invoice("2"), "id": second})).id == second
    with pytest.raises(ConflictError) as refused:
        await invoices.insert(invoice("3"), id=first)
    assert refused.value.constraint == "pk_invoices"
    assert refused.value.outcome == "rolled_back"


async def test_keys_made_one_after_another_are_in_order(invoices: Invoices) -> None:
    keys = [(await invoices.insert(invoice(str(n)))).id for n in range(20)]
    assert keys == sorted(keys)


async def test_what_postgresql_makes_is_left_to_it(tickets: Repository[TicketDTO]) -> None:
    made = await tickets.insert({"title": "a"})
    assert (made.place, made.shout) == ("somewhere", "A")
    assert made.made_at.tzinfo is not None
    other = await tickets.insert({"title": "b", "place": None, "made_at": None, "id": None})
    assert (other.id, other.place) == (made.id + 1, None)
    made = await tickets.insert({"title": "c", "place": "here", "id": 10_000})
    assert (made.id, made.place) == (10_000, "here")
    generated: Any = REGISTRY.create_dto("Ticket")
    assert (await tickets.insert(generated(title="d"))).place == "somewhere"


async def test_a_default_that_can_be_changed_is_not_shared(articles: Repository[Any]) -> None:
    first = await articles.insert({"user_id": "ann", "title": "a"})
    first.body["x"] = 1
    assert (await articles.insert({"user_id": "ann", "title": "b"})).body == {}


async def test_the_actor_signs(signed: Repository[SignedDTO]) -> None:
    with acting_as("ann"):
        row = await signed.insert({"code": "1"})
    assert (row.created_by, row.updated_by) == ("ann", "ann")
    with acting_as("bob"):
        row = await signed.update(row.id, {"note": "x"})
    assert (row.created_by, row.updated_by) == ("ann", "bob")
    with acting_as("cid"):
        assert await signed.update_where({"note": "y"}, code="1") == 1
        again = await signed.upsert({"code": "1", "note": "z"}, on="code")
    assert (again.id, again.created_by, again.updated_by) == (row.id, "ann", "cid")
    assert (await signed.insert({"code": "2"})).created_by is None
    with acting_as("dan"):
        await signed.insert_many([{"code": "3"}])
    assert (await signed.find(code="3"))[0].created_by == "dan"


# Changing


async def test_an_update_changes_what_it_says_and_gives_the_row(
    invoices: Invoices, clock: Clock
) -> None:
    row = await invoices.insert(invoice(note="old", details={"a": 1}))
    later = clock.tick()
    changed = await invoices.update(row.id, {"note": "new"})
    assert changed == row.model_copy(update={"note": "new", "version": 2, "updated_at": later})
    assert await invoices.get(row.id) == changed
    changed = await invoices.update(row.id, Changes(note=None))
    assert (changed.note, changed.customer) == (None, "Acme")
    generated: Any = REGISTRY.update_dto("Invoice")
    changed = await invoices.update(row.id, generated(customer="New", details=None))
    assert (changed.customer, changed.details, changed.version) == ("New", None, 4)


async def test_an_update_of_nothing_changes_nothing(
    invoices: Invoices, clock: Clock, sent: Sent
) -> None:
    row = await invoices.insert(invoice())
    clock.tick()
    with sent.of() as queries:
        assert await invoices.update(row.id, {}) == row
        assert await invoices.update(row.id, Changes(), expected_version=1) == row
    assert not [sql for sql in queries if "UPDATE" in sql]
    with pytest.raises(StaleDataError):
        await invoices.update(row.id, {}, expected_version=2)
    with pytest.raises(NotFoundError):
        await invoices.update(uuid4(), {})
    with pytest.raises(NotFoundError):
        await invoices.update(uuid4(), {}, expected_version=1)


async def test_a_missing_row_is_not_found(invoices: Invoices) -> None:
    for call in (
        invoices.update(uuid4(), {"note": "x"}),
        invoices.update(uuid4(), {"note": "x"}, expected_version=3),
        invoices.delete(uuid4()),
        invoices.delete(uuid4(), hard=True),
        invoices.restore(uuid4()),
    ):
        with pytest.raises(NotFoundError, match="Invoice"):
            await call


@pytest.mark.parametrize(
    "name", ["id", "version", "version_token", "nope", "shout", "search_vector", "__class__"]
)
async def test_what_nobody_may_change_is_refused_by_name(
    invoices: Invoices,
    tickets: Repository[TicketDTO],
    articles: Repository[Any],
    sent: Sent,
    name: str,
) -> None:
    rows: Repository[Any] = {"shout": tickets, "search_vector": articles}.get(name, invoices)
    for call in (
        lambda: rows.update(uuid4() if rows is not tickets else 1, {name: 5}),
        lambda: rows.update_where({name: 5}, rows.where.id.not_null()),
    ):
        with pytest.raises(ValidationError) as refused:
            await call()
        assert [problem.field for problem in refused.value.errors] == [name]
    assert sent == []


async def test_what_postgresql_generates_cannot_be_stored(
    tickets: Repository[TicketDTO], articles: Repository[Any], sent: Sent
) -> None:
    with pytest.raises(ValidationError, match="shout"):
        await tickets.insert({"title": "a", "shout": "B"})
    with pytest.raises(ValidationError, match="search_vector"):
        await articles.insert({"user_id": "a", "title": "a", "search_vector": "b"})
    assert sent == []


# In units of work


async def test_writes_join_the_unit_of_work(invoices: Invoices, db: AsyncDatabaseManager) -> None:
    key = UUID(int=1)
    with pytest.raises(ZeroDivisionError):
        async with db.unit_of_work():
            await invoices.insert(invoice("1"), id=key)
            await invoices.update(key, {"note": "x"})
            await invoices.insert_many([invoice("2"), invoice("3")])
            assert await invoices.count() == 3
            raise ZeroDivisionError
    assert await invoices.count() == 0
    async with db.unit_of_work():
        with pytest.raises(NotFoundError):
            await invoices.get(key)
        with pytest.raises(StaleDataError):  # nothing was written: the rest goes on
            row = await invoices.insert(invoice("1"), id=key)
            await invoices.update(row.id, {"note": "x"}, expected_version=5)
        await invoices.update(key, {"note": "y"})
    assert (await invoices.get(key)).note == "y"
