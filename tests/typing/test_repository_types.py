"""What type checkers infer of a repository of a user's own DTO, with no cast. Nothing here is run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import Any, assert_type
from uuid import UUID

from timber.database.manager import AsyncDatabaseManager
from timber.dto import DTO, CursorPage, Page, SearchHit
from timber.repository import Condition, Field, Repository, Where


class InvoiceDTO(DTO):
    id: UUID
    number: str
    amount: Decimal


class InvoiceLine(DTO):
    number: str


class Invoices(Repository[InvoiceDTO]):
    """A user's subclass keeps the type."""


def construction_infers_the_dto(db: AsyncDatabaseManager, model: type[Any]) -> None:
    assert_type(Repository(db, model, InvoiceDTO), Repository[InvoiceDTO])
    assert_type(Repository(db, model, InvoiceDTO).dto, type[InvoiceDTO])


async def one_row(rows: Repository[InvoiceDTO], key: UUID) -> None:
    assert_type(await rows.get(key), InvoiceDTO)
    assert_type(await rows.get(str(key), owner="ann", fresh=True), InvoiceDTO)
    assert_type(await rows.get(key, into=InvoiceLine), InvoiceLine)
    assert_type((await rows.get(key)).amount, Decimal)
    assert_type(await rows.get_or_none(key), InvoiceDTO | None)
    assert_type(await rows.get_or_none(key, into=InvoiceLine), InvoiceLine | None)
    assert_type(await rows.find_one(number="1"), InvoiceDTO | None)
    assert_type(await rows.find_one(number="1", into=InvoiceLine), InvoiceLine | None)
    assert_type(await rows.for_update(key), InvoiceDTO)


async def many_rows(rows: Repository[InvoiceDTO], keys: list[UUID]) -> None:
    where = rows.where
    assert_type(await rows.get_many(keys), list[InvoiceDTO])
    assert_type(await rows.get_many(keys, into=InvoiceLine), list[InvoiceLine])
    assert_type(await rows.find(), list[InvoiceDTO])
    assert_type(await rows.find(where.number == "1", limit=5), list[InvoiceDTO])
    assert_type(await rows.find(into=InvoiceLine), list[InvoiceLine])
    assert_type(
        await rows.find(where.number.in_(["1"]), order_by=("-number",), into=InvoiceLine),
        list[InvoiceLine],
    )
    assert_type(await rows.page(), Page[InvoiceDTO])
    assert_type((await rows.page(page=2)).items, list[InvoiceDTO])
    assert_type(await rows.page(into=InvoiceLine), Page[InvoiceLine])
    assert_type(await rows.scroll(), CursorPage[InvoiceDTO])
    assert_type(await rows.scroll(cursor="x", into=InvoiceLine), CursorPage[InvoiceLine])
    assert_type((await rows.scroll()).next_cursor, str | None)
    assert_type(await rows.search("words"), list[SearchHit[InvoiceDTO]])
    assert_type((await rows.search("words"))[0].item, InvoiceDTO)
    assert_type(await rows.claim(limit=1, lease=timedelta(minutes=1)), list[InvoiceDTO])


async def streams(rows: Repository[InvoiceDTO]) -> None:
    async with rows.stream() as found:
        assert_type(found, AsyncIterator[InvoiceDTO])
        async for row in found:
            assert_type(row, InvoiceDTO)
    async with rows.stream(rows.where.number == "1", batch=10, into=InvoiceLine) as lines:
        assert_type([line async for line in lines], list[InvoiceLine])


async def numbers(rows: Repository[InvoiceDTO]) -> None:
    assert_type(await rows.count(number="1"), int)
    assert_type(await rows.count_by("number"), dict[Any, int])
    assert_type(await rows.exists(), bool)
    assert_type(await rows.update_where({"number": "1"}, number="2"), int)
    assert_type(await rows.delete_where(number="2"), int)


async def writes(rows: Repository[InvoiceDTO], key: UUID) -> None:
    assert_type(await rows.insert({"number": "1"}), InvoiceDTO)
    assert_type(await rows.insert_many([{"number": "1"}]), list[Any])
    assert_type(await rows.insert_many_returning([{"number": "1"}]), list[InvoiceDTO])
    assert_type(await rows.update(key, {"number": "2"}, merge=["details"]), InvoiceDTO)
    assert_type(await rows.upsert({"number": "1"}, on=("number",)), InvoiceDTO)
    assert_type(await rows.upsert({"number": "1"}, on="number", update=["number"]), InvoiceDTO)
    assert_type(await rows.restore(key), InvoiceDTO)
    assert_type(await rows.release(key), bool)
    await rows.delete(key)


async def a_subclass(rows: Invoices, key: UUID) -> None:
    assert_type(await rows.get(key), InvoiceDTO)
    assert_type(await rows.find(), list[InvoiceDTO])


def conditions(rows: Repository[InvoiceDTO]) -> None:
    where = rows.where
    assert_type(where, Where)
    assert_type(where.number, Field)
    assert_type(where["number"], Field)
    assert_type(where.details["a"][0], Field)
    assert_type(where.number == "1", Condition)
    assert_type(where.number != None, Condition)  # noqa: E711
    assert_type(where.amount > 5, Condition)
    assert_type(where.number.between("1", "2"), Condition)
    assert_type((where.number == "1") & ~(where.amount <= 5) | where.number.is_null(), Condition)
