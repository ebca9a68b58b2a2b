"""JSON merged in the database, so that nobody's keys are lost."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from tests.repository.conftest import MakeDb, Sent, repository
from tests.repository.models import InvoiceDTO, invoice
from timber.database.manager import AsyncDatabaseManager
from timber.errors import ValidationError
from timber.repository import Repository

Invoices = Repository[InvoiceDTO]


async def test_a_merge_keeps_the_other_keys(invoices: Invoices) -> None:
    row = await invoices.insert(invoice(details={"a": 1, "b": {"c": 2, "d": 3}}))
    merged = await invoices.update(
        row.id, {"details": {"b": {"c": 4}, "e": None}, "note": "x"}, merge=["details"]
    )
    assert merged.details == {"a": 1, "b": {"c": 4}, "e": None}
    assert merged.note == "x"
    replaced = await invoices.update(row.id, {"details": {"f": 1}})
    assert replaced.details == {"f": 1}
    merged = await invoices.update(row.id, {"details": {}}, merge="details")
    assert merged.details == {"f": 1}


@pytest.mark.parametrize("stored", [None, [1, 2], "text", 5, True])
async def test_a_merge_into_what_is_no_object_replaces_it(invoices: Invoices, stored: Any) -> None:
    row = await invoices.insert(invoice(details=stored))
    merged = await invoices.update(row.id, {"details": {"a": 1}}, merge=("details",))
    assert merged.details == {"a": 1}


async def test_fifty_merges_at_once_lose_nothing(make_db: MakeDb) -> None:
    invoices: Invoices = repository(make_db(pool_size=10, max_overflow=0), "Invoice", InvoiceDTO)
    row = await invoices.insert(invoice(details={"start": True}))
    await asyncio.gather(
        *(
            invoices.update(row.id, {"details": {f"key {n}": n}}, merge=["details"])
            for n in range(50)
        )
    )
    found = await invoices.get(row.id)
    assert found.details == {"start": True} | {f"key {n}": n for n in range(50)}
    assert found.version == 51


@pytest.mark.parametrize(
    ("changes", "merge", "field"),
    [
        ({"details": {"a": 1}}, ["nope"], "nope"),
        ({"note": "x"}, ["note"], "note"),
        ({"note": "x"}, ["details"], "details"),
        ({"details": [1]}, ["details"], "details"),
        ({"details": None}, ["details"], "details"),
        ({"details": "x"}, "details", "details"),
        ({"details": {}}, 5, "merge"),
        ({"details": {}}, {"details": True}, "merge"),
        ({"details": {}}, [5], "5"),
    ],
)
async def test_a_merge_of_what_cannot_be_merged_is_refused_before_any_sql(
    invoices: Invoices, sent: Sent, changes: Any, merge: Any, field: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        await invoices.update(uuid4(), changes, merge=merge)
    assert refused.value.errors[0].field == field
    assert sent == []


async def test_json_that_is_kept_as_text_is_not_merged(
    db: AsyncDatabaseManager, sent: Sent
) -> None:
    with pytest.raises(ValidationError, match=r"text_data.*JSONB"):
        await repository(db, "Thing").update(1, {"text_data": {}}, merge=["text_data"])
    assert sent == []
