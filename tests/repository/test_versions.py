"""Optimistic changes: each counts the version up, and one from an old version is refused."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from tests.repository.conftest import Sent
from tests.repository.models import InvoiceDTO, SignedDTO, invoice
from timber.errors import StaleDataError, UsageError, ValidationError
from timber.repository import Repository

Invoices = Repository[InvoiceDTO]


async def test_each_change_counts_the_version_up(invoices: Invoices) -> None:
    row = await invoices.insert(invoice())
    await invoices.update(row.id, {"note": "1"}, expected_version=1)
    await invoices.update_where({"note": "2"}, id=row.id)
    await invoices.upsert({**invoice(), "id": row.id})
    await invoices.delete(row.id)
    await invoices.restore(row.id)
    await invoices.delete_where(id=row.id)
    assert (await invoices.restore(row.id)).version == 8


async def test_a_change_from_an_old_version_is_refused(invoices: Invoices) -> None:
    row = await invoices.insert(invoice())
    await invoices.update(row.id, {"note": "first"}, expected_version=1)
    with pytest.raises(StaleDataError, match=r"version 1 .*version 2") as refused:
        await invoices.update(row.id, {"note": "second"}, expected_version=1)
    assert (refused.value.expected, refused.value.actual) == (1, 2)
    assert refused.value.model == "Invoice"
    assert (await invoices.get(row.id)).note == "first"


async def test_of_two_changes_from_one_version_exactly_one_is_refused(
    invoices: Invoices,
) -> None:
    for number in range(10):
        row = await invoices.insert(invoice(str(number)))
        results = await asyncio.gather(
            *(invoices.update(row.id, {"note": str(n)}, expected_version=1) for n in range(5)),
            return_exceptions=True,
        )
        changed = [result for result in results if isinstance(result, InvoiceDTO)]
        refused = [result for result in results if isinstance(result, StaleDataError)]
        assert (len(changed), len(refused)) == (1, 4)
        assert await invoices.get(row.id) == changed[0]


@pytest.mark.parametrize("version", [0, -1, "1", 1.0, True, b"1"])
async def test_a_version_that_is_none_is_refused_before_any_sql(
    invoices: Invoices, sent: Sent, version: Any
) -> None:
    for changes in ({"note": "x"}, {}):
        with pytest.raises(ValidationError) as refused:
            await invoices.update(uuid4(), changes, expected_version=version)
        assert refused.value.errors[0].field == "expected_version"
    assert sent == []


async def test_a_model_without_versions_holds_none(signed: Repository[SignedDTO]) -> None:
    with pytest.raises(UsageError, match="no Version"):
        await signed.update(uuid4(), {"note": "x"}, expected_version=1)
