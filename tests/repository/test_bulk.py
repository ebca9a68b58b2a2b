"""Many rows at once: all of them or none, in order, with errors that say where."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.repository.conftest import Clock, Sent, repository
from tests.repository.models import (
    REGISTRY,
    InvoiceDTO,
    ThingDTO,
    TicketDTO,
    invoice,
)
from timber.database.manager import AsyncDatabaseManager
from timber.errors import ConflictError, UnitOfWorkDoomedError, ValidationError
from timber.repository import Repository

Invoices = Repository[InvoiceDTO]
Many = Callable[[Repository[Any], Any], Awaitable[list[Any]]]

BOTH: dict[str, Many] = {
    "insert_many": lambda rows, items: rows.insert_many(items),
    "insert_many_returning": lambda rows, items: rows.insert_many_returning(items),
}
either = pytest.mark.parametrize("verb", BOTH)


async def test_copied_rows_give_their_keys_in_order(invoices: Invoices, clock: Clock) -> None:
    keys = await invoices.insert_many(invoice(str(n)) for n in range(250))
    assert len(set(keys)) == 250
    assert all(type(key) is UUID for key in keys)
    assert keys == sorted(keys)
    found = await invoices.get_many(keys)
    assert [row.number for row in found] == [str(n) for n in range(250)]
    assert {(row.version, row.status, row.created_at) for row in found} == {(1, "draft", clock.now)}


async def test_returned_rows_come_in_order_as_stored(invoices: Invoices) -> None:
    keys = [uuid4() for _ in range(250)]  # in no order of their own
    rows = await invoices.insert_many_returning(
        {**invoice(str(n)), "id": key, "tags": [f"t{n}"]} for n, key in enumerate(keys)
    )
    assert [row.id for row in rows] == keys
    assert [row.tags for row in rows] == [[f"t{n}"] for n in range(250)]
    assert await invoices.get_many(keys) == rows


async def test_returned_rows_without_lists_go_in_one_statement(
    things: Repository[ThingDTO], db: AsyncDatabaseManager, sent: Sent
) -> None:
    flat = repository(db, "Flat")
    rows = await flat.insert_many_returning(
        {"text": str(n), "data": [n, [n]], "text_data": {"n": n}, "big": n} for n in range(1000)
    )
    assert [(r.text, r.data, r.text_data) for r in rows] == [
        (str(n), [n, [n]], {"n": n}) for n in range(1000)
    ]
    assert len(sent) == 1


@either
async def test_nothing_is_sent_for_no_rows(invoices: Invoices, sent: Sent, verb: str) -> None:
    for nothing in ([], (), iter(()), {}.values()):
        assert await BOTH[verb](invoices, nothing) == []
    assert sent == []


@either
async def test_each_problem_of_a_batch_is_named_with_its_position(
    invoices: Invoices, sent: Sent, verb: str
) -> None:
    batch = [invoice(str(n)) for n in range(5)]
    batch[1]["number"] = 5
    del batch[3]["customer"]
    batch[3]["nope"] = 1
    batch[4] = "no row"  # type: ignore[call-overload]
    with pytest.raises(ValidationError) as refused:
        await BOTH[verb](invoices, batch)
    assert {problem.field for problem in refused.value.errors} == {
        "1.number",
        "3.customer",
        "3.nope",
        "4",
    }
    assert sent == []
    assert await invoices.count() == 0


@either
async def test_json_that_cannot_be_stored_is_named_with_its_position(
    invoices: Invoices, sent: Sent, verb: str
) -> None:
    batch: list[dict[str, Any]] = [invoice(str(n), details={"n": n}) for n in range(5)]
    batch[2]["details"] = {"a": [1, float("nan")]}
    batch[4]["details"] = {"a": object()}
    with pytest.raises(ValidationError) as refused:
        await BOTH[verb](invoices, batch)
    assert [problem.field for problem in refused.value.errors] == ["2.details.a.1", "4.details.a"]
    batch = [invoice(str(n), tags=["x"], details={"n": n}) for n in range(250)]
    batch[217]["details"] = {"a": "\0"}
    with pytest.raises(ValidationError) as refused:
        await BOTH[verb](invoices, batch)
    assert [problem.field for problem in refused.value.errors] == ["217.details.a"]
    assert sent == []


@either
@pytest.mark.parametrize("items", [5, None, "rows", b"rows", {"number": "1"}, InvoiceDTO])
async def test_what_is_no_list_of_rows_is_refused(
    invoices: Invoices, sent: Sent, verb: str, items: Any
) -> None:
    with pytest.raises(ValidationError) as refused:
        await BOTH[verb](invoices, items)
    assert refused.value.errors[0].field == "items"
    assert sent == []


@either
async def test_nothing_is_left_of_a_batch_that_fails_in_the_middle(
    invoices: Invoices, verb: str
) -> None:
    kept = await invoices.insert(invoice("150"))
    with pytest.raises(ConflictError) as refused:
        await BOTH[verb](invoices, [invoice(str(n), tags=["x"]) for n in range(300)])
    assert refused.value.constraint == "uq_invoices_number"
    assert refused.value.outcome == "rolled_back"
    assert await invoices.find(include_deleted=True) == [kept]


@either
async def test_nothing_is_left_of_a_generator_that_raises(invoices: Invoices, verb: str) -> None:
    def rows() -> Any:
        yield invoice("1")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await BOTH[verb](invoices, rows())
    assert await invoices.count() == 0


@either
async def test_a_batch_joins_the_unit_of_work_and_dooms_it_when_it_fails(
    invoices: Invoices, db: AsyncDatabaseManager, verb: str
) -> None:
    async with db.unit_of_work():
        await BOTH[verb](invoices, [invoice(str(n), tags=["x"]) for n in range(150)])
        assert await invoices.count() == 150
    with pytest.raises(UnitOfWorkDoomedError):
        async with db.unit_of_work():
            await invoices.insert(invoice("before"))
            with pytest.raises(ConflictError):
                await BOTH[verb](
                    invoices, [invoice(str(n), tags=["x"]) for n in range(260, 110, -1)]
                )
    assert await invoices.count() == 150


# Rows that do not all have the same columns


@either
async def test_what_a_row_leaves_out_postgresql_makes(
    tickets: Repository[TicketDTO], verb: str
) -> None:
    made = await BOTH[verb](
        tickets,
        [
            {"title": "a"},
            {"title": "b", "place": "here"},
            {"title": "c", "place": None},
            {"title": "d", "id": 100_000},
            {"title": "e"},
        ],
    )
    keys = made if verb == "insert_many" else [row.id for row in made]
    rows = await tickets.get_many(keys)
    assert [row.title for row in rows] == list("abcde")
    assert [row.place for row in rows] == ["somewhere", "here", None, "somewhere", "somewhere"]
    assert len(set(keys)) == 5
    assert keys[3] == 100_000


@either
async def test_keys_that_postgresql_makes_come_in_the_order_of_the_rows(
    tickets: Repository[TicketDTO], verb: str
) -> None:
    made = await BOTH[verb](tickets, [{"title": str(n)} for n in range(500)])
    keys = made if verb == "insert_many" else [row.id for row in made]
    assert keys == sorted(keys)
    assert [row.title for row in await tickets.get_many(keys)] == [str(n) for n in range(500)]


async def test_nothing_is_left_of_groups_of_rows_either(
    db: AsyncDatabaseManager, things: Repository[ThingDTO]
) -> None:
    """Rows with other columns go in statements of their own, and in one transaction."""
    tickets = repository(db, "Ticket", TicketDTO)
    await tickets.insert({"title": "kept", "id": 7})
    for insert in (tickets.insert_many, tickets.insert_many_returning):
        with pytest.raises(ConflictError):
            await insert(
                [
                    {"title": "a", "id": 1},
                    {"title": "b", "id": 2, "place": "x"},
                    {"title": "c", "id": 7},
                ]
            )
    assert await tickets.count() == 1


@either
async def test_input_dtos_and_mappings_go_together(invoices: Invoices, verb: str) -> None:
    generated: Any = REGISTRY.create_dto("Invoice")
    await BOTH[verb](
        invoices,
        [
            generated(user_id="ann", number="1", customer="c", status="paid"),
            invoice("2"),
            generated(user_id="ann", number="3", customer="c", details={"a": 1}),
        ],
    )
    rows = await invoices.find(order_by="number")
    assert [(row.number, row.status, row.details) for row in rows] == [
        ("1", "paid", None),
        ("2", "draft", None),
        ("3", "draft", {"a": 1}),
    ]


# Changing many


async def test_many_rows_are_changed_by_filters(invoices: Invoices, clock: Clock) -> None:
    await invoices.insert_many(invoice(str(n), priority=n % 3) for n in range(9))
    later = clock.tick()
    where = invoices.where
    changed = await invoices.update_where(
        {"status": "paid", "details": {"a": 1}}, where.number != "0", priority=0
    )
    assert changed == 2
    rows = await invoices.find(status="paid", order_by="number")
    assert [row.number for row in rows] == ["3", "6"]
    assert {(row.version, row.updated_at) for row in rows} == {(2, later)}
    assert await invoices.update_where({"note": "x"}, number="nope") == 0


@pytest.mark.parametrize("changes", [{}, {"nope": 1}, {"status": "nope"}, {"details": float("nan")}, None, "x", 5])  # fmt: skip
async def test_bad_changes_of_many_rows_are_refused_before_any_sql(
    invoices: Invoices, sent: Sent, changes: Any
) -> None:
    with pytest.raises(ValidationError):
        await invoices.update_where(changes, number="1")
    assert sent == []


async def test_changing_or_deleting_everything_has_to_be_said(
    invoices: Invoices, sent: Sent
) -> None:
    with pytest.raises(ValidationError, match="filters"):
        await invoices.update_where({"note": "x"})
    with pytest.raises(ValidationError, match="filters"):
        await invoices.delete_where()
    with pytest.raises(ValidationError, match="filters"):
        await invoices.delete_where(hard=True)
    assert sent == []
