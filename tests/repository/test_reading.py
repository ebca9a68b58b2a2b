"""Reading by key, and numbers of rows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from pydantic import AliasChoices, ConfigDict, Field

from tests.repository.conftest import Clock, Sent, repository
from tests.repository.models import REGISTRY, InvoiceDTO, InvoiceLine, ThingDTO, TicketDTO, invoice
from timber.database.manager import AsyncDatabaseManager
from timber.dto import DTO
from timber.errors import (
    ConfigurationError,
    DatabaseError,
    NotFoundError,
    UsageError,
    ValidationError,
)
from timber.repository import Repository

Invoices = Repository[InvoiceDTO]


async def test_a_row_comes_back_as_it_was_stored(invoices: Invoices, clock: Clock) -> None:
    stored = await invoices.insert(invoice(amount="12.50", details={"a": [1, None]}, tags=["x"]))
    assert type(stored) is InvoiceDTO
    assert type(stored.id) is UUID
    assert stored.id.version == 7
    assert stored.version == 1
    assert stored.status == "draft"
    assert stored.created_at == stored.updated_at == clock.now
    assert await invoices.get(stored.id) == stored
    assert await invoices.get(str(stored.id)) == stored
    assert await invoices.get_or_none(stored.id.hex) == stored
    assert await invoices.find(number="1") == [stored]
    assert await invoices.find_one(number="1") == stored


async def test_a_dto_is_frozen_and_its_json_is_its_own(invoices: Invoices) -> None:
    stored = await invoices.insert(invoice(details={"a": [1]}))
    with pytest.raises(ValueError, match="frozen"):
        stored.number = "2"  # type: ignore[misc]
    stored.details["a"].append(2)
    assert (await invoices.get(stored.id)).details == {"a": [1]}


async def test_a_missing_row_is_not_found_or_none(invoices: Invoices) -> None:
    with pytest.raises(NotFoundError, match="Invoice"):
        await invoices.get(uuid4())
    assert await invoices.get_or_none(uuid4()) is None
    assert await invoices.find_one(number="nope") is None
    assert await invoices.find() == []


async def test_many_rows_come_in_the_order_of_their_keys(invoices: Invoices, sent: Sent) -> None:
    keys = await invoices.insert_many(invoice(str(n)) for n in range(5))
    missing = uuid4()
    wanted = [keys[3], str(keys[0]), missing, keys[4], keys[3]]
    with sent.of() as queries:
        found = await invoices.get_many(wanted)
    assert [item.number for item in found] == ["3", "0", "4"]
    assert len(queries) == 1
    lines = await invoices.get_many(reversed(keys), into=InvoiceLine)
    assert [line.number for line in lines] == ["4", "3", "2", "1", "0"]
    with sent.of() as queries:
        assert await invoices.get_many([]) == []
        assert await invoices.get_many(iter(())) == []
    assert queries == []


async def test_many_rows_without_their_key_in_the_dto(db: AsyncDatabaseManager) -> None:
    lines: Repository[InvoiceLine] = repository(db, "Invoice", InvoiceLine)
    keys = await lines.insert_many(invoice(str(n)) for n in range(3))
    assert [line.number for line in await lines.get_many(keys[::-1])] == ["2", "1", "0"]
    stored = await lines.insert_many_returning(invoice(str(n)) for n in range(10, 13))
    assert [line.number for line in stored] == ["10", "11", "12"]
    assert (await lines.scroll(limit=2, order_by="number")).next_cursor is not None


async def test_counts(invoices: Invoices) -> None:
    await invoices.insert_many(
        invoice(str(n), status=("draft", "sent", "paid")[n % 3], priority=n % 2) for n in range(9)
    )
    assert await invoices.count() == 9
    assert await invoices.count(status="sent") == 3
    assert await invoices.count(invoices.where.status != "sent", priority=0) == 4
    assert await invoices.count_by("status") == {"draft": 3, "sent": 3, "paid": 3}
    assert await invoices.count_by("status", priority=1) == {"draft": 1, "sent": 2, "paid": 1}
    assert await invoices.count_by("note") == {None: 9}
    assert await invoices.exists()
    assert await invoices.exists(status="paid")
    assert not await invoices.exists(status="paid", number="1")


@pytest.mark.parametrize("column", ["nope", "details", "tags", "", None, 5, ["status"]])
async def test_counting_by_what_is_no_plain_column_is_refused(
    invoices: Invoices, sent: Sent, column: Any
) -> None:
    with pytest.raises(ValidationError) as refused:
        await invoices.count_by(column)
    assert refused.value.errors[0].field == "column"
    assert sent == []


KEYED: dict[str, Callable[[Invoices, Any], Awaitable[object]]] = {
    "get": lambda r, key: r.get(key),
    "get_or_none": lambda r, key: r.get_or_none(key),
    "get_many": lambda r, key: r.get_many([key]),
    "update": lambda r, key: r.update(key, {"note": "x"}),
    "update nothing": lambda r, key: r.update(key, {}),
    "delete": lambda r, key: r.delete(key),
    "hard delete": lambda r, key: r.delete(key, hard=True),
    "restore": lambda r, key: r.restore(key),
    "insert": lambda r, key: r.insert({**invoice(), "id": key}),
}


@pytest.mark.parametrize("verb", KEYED)
@pytest.mark.parametrize("key", ["", "x", 5, 5.0, b"x" * 16, object(), [], "0" * 33, "\0", True])
async def test_a_malformed_key_is_refused_before_any_sql(
    invoices: Invoices, sent: Sent, verb: str, key: object
) -> None:
    with pytest.raises(ValidationError) as refused:
        await KEYED[verb](invoices, key)
    assert refused.value.errors[0].field == "id"
    assert sent == []


@pytest.mark.parametrize("verb", KEYED.keys() - {"insert"})
async def test_no_key_is_refused_before_any_sql(invoices: Invoices, sent: Sent, verb: str) -> None:
    with pytest.raises(ValidationError) as refused:
        await KEYED[verb](invoices, None)
    assert refused.value.errors[0].field == "id"
    assert sent == []


@pytest.mark.parametrize("ids", [5, "0" * 32, b"x", None])
async def test_what_is_no_list_of_keys_is_refused(invoices: Invoices, sent: Sent, ids: Any) -> None:
    with pytest.raises(ValidationError) as refused:
        await invoices.get_many(ids)
    assert refused.value.errors[0].field == "ids"
    assert sent == []


async def test_keys_made_by_postgresql_are_integers(tickets: Repository[TicketDTO]) -> None:
    first = await tickets.insert({"title": "a"})
    assert isinstance(first.id, int)
    assert (await tickets.get(first.id)).shout == "A"
    with pytest.raises(ValidationError):
        await tickets.get(str(first.id))


# Into other DTOs


async def test_a_narrower_dto_reads_only_its_columns(invoices: Invoices, sent: Sent) -> None:
    key = (await invoices.insert(invoice(amount=5))).id
    line = InvoiceLine(number="1", amount=5)  # type: ignore[arg-type]
    sent.clear()
    assert await invoices.get(key, into=InvoiceLine) == line
    assert await invoices.get_or_none(key, into=InvoiceLine) == line
    assert await invoices.find(into=InvoiceLine) == [line]
    assert await invoices.find_one(into=InvoiceLine) == line
    async with invoices.stream(into=InvoiceLine) as rows:
        assert [row async for row in rows] == [line]
    page = await invoices.page(into=InvoiceLine)
    assert page.items == [line]
    assert len(sent) >= 6
    for sql in sent:
        if "count(*)" not in sql:
            selected = sql.partition("FROM")[0]
            assert selected.split() == ["SELECT", "invoices.number,", "invoices.amount"], sql
    # What comes with the columns of the order does not come into the DTO.
    cursors = await invoices.scroll(into=InvoiceLine)
    assert cursors.items == [line]
    assert "customer" not in sent[-1]
    assert (await invoices.get_many([key], into=InvoiceLine)) == [line]


async def test_a_dto_that_forbids_or_keeps_extra_fields_gets_none(
    invoices: Invoices, db: AsyncDatabaseManager
) -> None:
    class Strict(DTO):
        model_config = ConfigDict(extra="forbid")
        number: str

    class Open(DTO):
        model_config = ConfigDict(extra="allow")
        number: str

    for dto in (Strict, Open):
        rows: Repository[Any] = repository(db, "Invoice", dto)
        await rows.delete_where(rows.where.number.not_null(), hard=True)
        expected = dto.model_validate({"number": "1"})
        async with db.unit_of_work():  # whose first write carries a column of its own
            key = (await rows.insert_many([invoice("0")]))[0]
            assert await rows.insert(invoice()) == expected
        assert await rows.insert_many_returning([invoice("2")])
        assert (await rows.scroll(number="1")).items == [expected]
        assert await rows.update(key, {"note": "x"}) == dto.model_validate({"number": "0"})


async def test_a_field_with_an_alias_reads_the_column_of_that_name(
    invoices: Invoices,
) -> None:
    class Renamed(DTO):
        id: UUID
        title: str = Field(validation_alias="number")
        who: str = Field(validation_alias=AliasChoices("person", "user_id"))
        note: str | None = Field(alias="remark")

    key = (await invoices.insert(invoice(note="hm"))).id
    found = await invoices.get(key, into=Renamed)
    assert (found.title, found.who, found.note) == ("1", "ann", "hm")


async def test_a_field_without_a_column_is_refused_unless_it_has_a_default(
    invoices: Invoices, db: AsyncDatabaseManager
) -> None:
    class Wrong(DTO):
        number: str
        nope: int

    class Defaulted(DTO):
        number: str
        nope: int = 5

    with pytest.raises(ConfigurationError, match=r"Wrong\.nope"):
        repository(db, "Invoice", Wrong)
    with pytest.raises(ConfigurationError, match=r"Wrong\.nope"):
        await invoices.find(into=Wrong)
    await invoices.insert(invoice())
    assert await invoices.find(into=Defaulted) == [Defaulted(number="1")]


async def test_a_row_that_does_not_fit_the_dto_says_which_field_and_no_value(
    invoices: Invoices,
) -> None:
    class Wrong(DTO):
        customer: int

    await invoices.insert(invoice(customer="a secret"))
    with pytest.raises(DatabaseError, match="customer") as refused:
        await invoices.find(into=Wrong)
    assert "secret" not in str(refused.value)


async def test_a_row_that_something_else_wrote_is_named_by_its_key_and_column(
    invoices: Invoices, db: AsyncDatabaseManager
) -> None:
    class Billed(InvoiceDTO):
        details: dict[str, Any]

    await invoices.insert(invoice("1", details={}))
    stored = await invoices.insert(invoice("2", details={}))
    async with db.unit_of_work() as uow:
        sql = sa.text("UPDATE invoices SET details = '[\"a secret\"]' WHERE id = :id")
        await uow.session.execute(sql, {"id": stored.id})
    said = f"The row of invoices with the id {stored.id} does not fit Billed in details. It was written by something else"
    with pytest.raises(DatabaseError) as refused:
        await invoices.find(into=Billed, order_by="number")
    assert str(refused.value).startswith(said)
    assert "secret" not in str(refused.value)


async def test_a_key_that_the_dto_does_not_have_is_not_named(things: Repository[ThingDTO]) -> None:
    class Keyed(DTO):
        word: int
        id: int

    class Keyless(DTO):
        word: int

    await things.insert_many([{"id": 7, "word": "a secret"}])
    with pytest.raises(DatabaseError, match="The row of things with the id 7 does not fit Keyed"):
        await things.find(into=Keyed)
    with pytest.raises(DatabaseError, match="The row of things does not fit Keyless in word"):
        await things.find(into=Keyless)


def test_a_class_that_is_of_no_registry_is_refused(db: AsyncDatabaseManager) -> None:
    with pytest.raises(ConfigurationError, match="registry"):
        Repository(db, InvoiceDTO, InvoiceDTO)


async def test_locking_is_for_units_of_work(invoices: Invoices) -> None:
    with pytest.raises(UsageError, match="unit_of_work"):
        await invoices.for_update(uuid4())


def test_a_repository_tells_what_it_is(invoices: Invoices) -> None:
    assert repr(invoices) == "<Repository of Invoice as InvoiceDTO>"
    assert invoices.model is REGISTRY.get_model("Invoice")
    assert invoices.config.name == "Invoice"
