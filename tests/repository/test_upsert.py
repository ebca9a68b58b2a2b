"""Insert or change, whichever it turns out to be."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from tests.repository.conftest import Clock, MakeDb, Sent, repository
from tests.repository.models import InvoiceDTO, invoice
from timber.errors import ConflictError, ValidationError
from timber.repository import Repository

Invoices = Repository[InvoiceDTO]
PER_USER = ("user_id", "number")


async def test_a_new_row_is_inserted_and_an_existing_one_changed(
    invoices: Invoices, clock: Clock
) -> None:
    made = await invoices.upsert(invoice(amount=5, note="first"), on=PER_USER)
    assert (made.version, made.note) == (1, "first")
    later = clock.tick()
    changed = await invoices.upsert(invoice(amount=7), on=PER_USER)
    # What was not given stays; its own key, making and defaults too.
    assert changed == made.model_copy(
        update={"amount": Decimal("7.00"), "version": 2, "updated_at": later}
    )
    assert await invoices.find() == [changed]


@pytest.mark.parametrize("on", ["reference", ("reference",), ["reference"]])
async def test_a_single_unique_column_is_a_target(invoices: Invoices, on: Any) -> None:
    first = await invoices.upsert(invoice("1", reference="r"), on=on)
    second = await invoices.upsert(invoice("2", reference="r"), on=on)
    assert (second.id, second.number) == (first.id, "2")


@pytest.mark.parametrize("on", [None, (), ("id",), "id"])
async def test_the_key_is_the_target_where_nothing_is_said(invoices: Invoices, on: Any) -> None:
    key = uuid4()
    first = await invoices.upsert({**invoice("1"), "id": key}, on=on)
    second = await invoices.upsert({**invoice("2"), "id": str(key)}, on=on)
    assert (first.id, second.id, second.number, second.version) == (key, key, "2", 2)
    assert (await invoices.upsert(invoice("3"), on=on)).id != key


async def test_only_what_is_named_is_changed(invoices: Invoices) -> None:
    await invoices.insert(invoice(amount=5, note="old", details={"a": 1}))
    changed = await invoices.upsert(
        invoice(amount=7, note="new", details={"b": 2}), on=PER_USER, update=["note"]
    )
    assert (changed.note, changed.amount, changed.details) == ("new", 5, {"a": 1})
    same = await invoices.upsert(invoice(amount=9), on=PER_USER, update=())
    assert (same.amount, same.note) == (5, "new")
    changed = await invoices.upsert(invoice(amount=9), on=PER_USER, update="amount")
    assert changed.amount == 9


async def test_what_was_given_as_none_is_emptied(invoices: Invoices) -> None:
    await invoices.insert(invoice(note="old"))
    assert (await invoices.upsert(invoice(note=None), on=PER_USER)).note is None


async def test_somebody_elses_row_is_not_changed(invoices: Invoices) -> None:
    theirs = await invoices.insert(invoice(user="ann", reference="r"))
    with pytest.raises(ConflictError, match="somebody else"):
        await invoices.upsert(invoice(user="bob", reference="r"), on="reference")
    with pytest.raises(ConflictError, match="somebody else"):
        await invoices.upsert({**invoice(user="bob"), "id": theirs.id})
    assert await invoices.find() == [theirs]


async def test_another_constraint_still_refuses(invoices: Invoices) -> None:
    await invoices.insert_many([invoice("1", reference="r"), invoice("2", reference="s")])
    with pytest.raises(ConflictError) as refused:
        await invoices.upsert(invoice("1", reference="s"), on=PER_USER)
    assert refused.value.constraint == "uq_invoices_reference"


async def test_a_deleted_row_comes_back(invoices: Invoices) -> None:
    row = await invoices.insert(invoice(note="old"))
    await invoices.delete(row.id)
    back = await invoices.upsert(invoice(amount=3), on=PER_USER)
    assert (back.id, back.deleted_at, back.version, back.note) == (row.id, None, 3, "old")
    assert await invoices.get(row.id) == back


async def test_many_at_once_make_one_row(make_db: MakeDb) -> None:
    invoices: Invoices = repository(make_db(pool_size=10, max_overflow=0), "Invoice", InvoiceDTO)
    results = await asyncio.gather(
        *(invoices.upsert(invoice(note=str(n)), on=PER_USER) for n in range(20))
    )
    assert len({row.id for row in results}) == 1
    assert sorted(row.version for row in results) == list(range(1, 21))
    assert await invoices.count() == 1


async def test_rows_without_an_owner_are_nobodys(db: Any, make_db: MakeDb) -> None:
    from timber.models import ModelConfig, ModelRegistry

    registry = ModelRegistry(
        models=[
            ModelConfig.model_validate(
                {
                    "name": "Loose",
                    "table": "loose",
                    "owner": "user_id",
                    "columns": [
                        {"name": "user_id", "type": "String(20)"},
                        {"name": "code", "type": "String(20)", "nullable": False, "unique": True},
                        {"name": "n", "type": "Integer"},
                    ],
                }
            )
        ],
        built_in=False,
    )
    await db.create_all_tables(registry.metadata)
    loose: Repository[Any] = Repository(db, registry.get_model("Loose"), registry.read_dto("Loose"))
    first = await loose.upsert({"code": "a", "n": 1}, on="code")
    assert (await loose.upsert({"code": "a", "n": 2}, on="code")).id == first.id
    with pytest.raises(ConflictError, match="somebody else"):
        await loose.upsert({"code": "a", "user_id": "ann"}, on="code")


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"on": "nope"}, "on"),
        ({"on": ("number",)}, "on"),
        ({"on": ("user_id", "number", "status")}, "on"),
        ({"on": 5}, "on"),
        ({"on": PER_USER, "update": ["nope"]}, "update"),
        ({"on": PER_USER, "update": ["note"]}, "update"),
        ({"on": PER_USER, "update": ["id"]}, "update"),
        ({"on": PER_USER, "update": 5}, "update"),
    ],
)
async def test_a_target_or_change_that_cannot_be_is_refused_before_any_sql(
    invoices: Invoices, sent: Sent, options: Any, field: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        await invoices.upsert({**invoice(), "id": uuid4()}, **options)
    assert refused.value.errors[0].field == field
    assert sent == []


async def test_the_row_has_to_be_complete_as_for_an_insert(invoices: Invoices, sent: Sent) -> None:
    with pytest.raises(ValidationError) as refused:
        await invoices.upsert({"number": "1", "customer": 5}, on=PER_USER)
    assert {problem.field for problem in refused.value.errors} == {"user_id", "customer"}
    assert sent == []
