"""Going through a list by cursors: there and back, past ties and deletions, and never with a cursor of another list."""

from __future__ import annotations

import base64
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.repository.conftest import Clock, Sent, repository
from tests.repository.models import InvoiceDTO, InvoiceLine, ThingDTO, invoice
from timber.database.manager import AsyncDatabaseManager
from timber.dto import CursorPage
from timber.errors import ValidationError
from timber.models import ModelConfig, ModelRegistry
from timber.repository import Repository

Invoices = Repository[InvoiceDTO]


async def _forward(rows: Repository[Any], limit: int, **options: Any) -> list[CursorPage[Any]]:
    """Every page from the first to the last."""
    pages = [await rows.scroll(limit=limit, **options)]
    while pages[-1].next_cursor:
        pages.append(await rows.scroll(cursor=pages[-1].next_cursor, limit=limit, **options))
    return pages


async def _backward(
    rows: Repository[Any], page: CursorPage[Any], limit: int, **options: Any
) -> list[CursorPage[Any]]:
    """A page and every one before it, the first one first."""
    pages = [page]
    while pages[0].previous_cursor:
        pages.insert(0, await rows.scroll(cursor=pages[0].previous_cursor, limit=limit, **options))
    return pages


def _items(pages: list[CursorPage[Any]]) -> list[Any]:
    return [item for page in pages for item in page.items]


async def test_a_list_is_gone_through_there_and_back(invoices: Invoices, clock: Clock) -> None:
    for number in range(10):
        clock.tick()
        await invoices.insert(invoice(str(number)))
    pages = await _forward(invoices, 4)
    assert [len(page.items) for page in pages] == [4, 4, 2]
    assert pages[0].previous_cursor is None
    assert _items(pages) == await invoices.find()
    back = await _backward(invoices, pages[-1], 4)
    assert _items(back) == _items(pages)
    assert back[0].previous_cursor is None
    # Turning round in the middle leads to where one came from.
    again = await invoices.scroll(cursor=back[1].next_cursor, limit=4)
    assert again.items == pages[2].items


async def test_a_page_that_takes_all_has_no_cursors(invoices: Invoices) -> None:
    empty = await invoices.scroll()
    assert (empty.items, empty.next_cursor, empty.previous_cursor) == ([], None, None)
    await invoices.insert_many([invoice("1"), invoice("2")])
    whole = await invoices.scroll(limit=2)
    assert (len(whole.items), whole.next_cursor, whole.previous_cursor) == (2, None, None)


# Ordered by all kinds of columns, up and down, with ties

_COLUMNS: dict[str, tuple[str, st.SearchStrategy[Any]]] = {
    "number": ("Integer", st.integers(-1, 1)),
    "big": ("BigInteger", st.sampled_from([-(2**63), 0, 2**63 - 1])),
    "ratio": ("Float", st.sampled_from([-1.5, 0.0, 0.1, float("inf"), float("-inf"), float("nan")])),
    "price": ("Numeric", st.sampled_from([Decimal(-1), Decimal("0.10"), Decimal("1e30")])),
    "word": ("Text", st.text("aé%_\\'\"", max_size=2)),
    "label": ("Enum[a, b]", st.sampled_from("ab")),
    "flag": ("Boolean", st.booleans()),
    "day": ("Date", st.sampled_from([date.min, date(2026, 1, 1), date.max])),
    "clock": ("Time", st.sampled_from([time.min, time(1, 2, 3, 4), time.max])),
    "moment": ("DateTime", st.sampled_from([datetime(1, 1, 2, tzinfo=UTC), datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)])),
    "span": ("Interval", st.sampled_from([timedelta(days=-3, microseconds=1), timedelta(), timedelta(days=400, hours=25)])),
    "code": ("UUID", st.sampled_from([UUID(int=0), UUID(int=2**128 - 1)])),
    "raw": ("Binary", st.sampled_from([b"", b"\x00", b"\xff\x00"])),
}  # fmt: skip
_KEYED = ModelRegistry(
    models=[
        ModelConfig.model_validate(
            {
                "name": "Keyed",
                "table": "keyed",
                "columns": [
                    {"name": "id", "type": "Integer", "primary_key": True},
                    *(
                        {"name": name, "type": kind, "nullable": False}
                        for name, (kind, _) in _COLUMNS.items()
                    ),
                ],
            }
        )
    ],
    built_in=False,
)


@pytest.fixture
async def keyed(db: AsyncDatabaseManager) -> Repository[Any]:
    await db.create_all_tables(_KEYED.metadata)
    return Repository(db, _KEYED.get_model("Keyed"), _KEYED.read_dto("Keyed"))


_orders = st.lists(st.sampled_from(sorted(_COLUMNS)), min_size=1, max_size=3, unique=True).flatmap(
    lambda names: st.tuples(*(st.sampled_from([name, f"-{name}"]) for name in names))
)
_keyed_rows = st.lists(
    st.fixed_dictionaries({name: values for name, (_, values) in _COLUMNS.items()}), max_size=9
).map(lambda rows: [{"id": index, **row} for index, row in enumerate(rows)])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=_keyed_rows, order=_orders, key=st.sampled_from(["", "id", "-id"]), limit=st.integers(1, 4)
)
async def test_every_order_is_gone_through_without_gap_or_repeat(
    keyed: Repository[Any],
    rows: list[dict[str, Any]],
    order: tuple[str, ...],
    key: str,
    limit: int,
) -> None:
    await keyed.delete_where(keyed.where.id.not_null())
    await keyed.insert_many(rows)
    order = (*order, key) if key else order
    expected = [row.id for row in await keyed.find(order_by=order)]
    pages = await _forward(keyed, limit, order_by=order)
    assert [row.id for row in _items(pages)] == expected
    back = await _backward(keyed, pages[-1], limit, order_by=order)
    assert [row.id for row in _items(back)] == expected


# Rows that come and go


async def test_rows_deleted_and_inserted_meanwhile_hide_and_repeat_nothing(
    invoices: Invoices,
) -> None:
    await invoices.insert_many(invoice(f"{number:02}") for number in range(0, 20, 2))
    first = await invoices.scroll(limit=4, order_by="number")
    assert [item.number for item in first.items] == ["00", "02", "04", "06"]
    # The row that the cursor stands at goes, and its neighbours change.
    await invoices.delete_where(invoices.where.number.in_(["06", "08", "02"]), hard=True)
    await invoices.insert_many([invoice("05"), invoice("07")])
    second = await invoices.scroll(cursor=first.next_cursor, limit=4, order_by="number")
    assert [item.number for item in second.items] == ["07", "10", "12", "14"]
    before = await invoices.scroll(cursor=second.previous_cursor, limit=4, order_by="number")
    assert [item.number for item in before.items] == ["00", "04", "05"]
    assert before.previous_cursor is None


async def test_where_everything_behind_a_cursor_is_gone_the_empty_page_leads_back(
    invoices: Invoices,
) -> None:
    await invoices.insert_many(invoice(str(number)) for number in range(6))
    order = "number"
    first = await invoices.scroll(limit=2, order_by=order)
    second = await invoices.scroll(cursor=first.next_cursor, limit=2, order_by=order)
    await invoices.delete_where(invoices.where.number > "3", hard=True)
    end = await invoices.scroll(cursor=second.next_cursor, limit=2, order_by=order)
    assert (end.items, end.next_cursor) == ([], None)
    back = await invoices.scroll(cursor=end.previous_cursor, limit=2, order_by=order)
    assert [item.number for item in back.items] == ["2", "3"]

    await invoices.delete_where(invoices.where.number < "2", hard=True)
    beginning = await invoices.scroll(cursor=second.previous_cursor, limit=2, order_by=order)
    assert (beginning.items, beginning.previous_cursor) == ([], None)
    forth = await invoices.scroll(cursor=beginning.next_cursor, limit=2, order_by=order)
    assert [item.number for item in forth.items] == ["2", "3"]
    assert (forth.next_cursor, forth.previous_cursor is None) == (None, False)


async def test_cursors_go_with_filters_owner_and_deletion(invoices: Invoices) -> None:
    keys = await invoices.insert_many(
        invoice(str(number), user=("ann", "bob")[number % 2]) for number in range(12)
    )
    await invoices.delete(keys[4])
    pages = await _forward(invoices, 2, owner="ann", order_by="id")
    assert [item.number for item in _items(pages)] == ["0", "2", "6", "8", "10"]
    pages = await _forward(invoices, 2, owner="ann", order_by="id", include_deleted=True)
    assert [item.number for item in _items(pages)] == ["0", "2", "4", "6", "8", "10"]
    pages = await _forward(invoices, 2, status="draft", user_id="bob", order_by="-id")
    assert [item.number for item in _items(pages)] == ["11", "9", "7", "5", "3", "1"]


async def test_a_narrower_dto_is_scrolled_by_columns_it_does_not_have(
    invoices: Invoices, clock: Clock
) -> None:
    await invoices.insert_many(invoice(str(number)) for number in range(5))
    pages = await _forward(invoices, 2, into=InvoiceLine)
    assert [item.number for item in _items(pages)] == ["4", "3", "2", "1", "0"]
    assert type(pages[0].items[0]) is InvoiceLine


# Cursors that are not of this list


async def _cursor(invoices: Invoices) -> str:
    await invoices.insert_many(invoice(str(number)) for number in range(3))
    cursor = (await invoices.scroll(limit=1)).next_cursor
    assert cursor is not None
    return cursor


async def test_any_damage_to_a_cursor_is_noticed_before_any_sql(
    invoices: Invoices, sent: Sent
) -> None:
    cursor = await _cursor(invoices)
    damaged = {cursor[:length] for length in range(len(cursor))}
    damaged |= {cursor[:i] + c + cursor[i + 1 :] for i in range(len(cursor)) for c in "A_-z="}
    damaged |= {cursor + "A", "A" + cursor, cursor * 2, cursor[::-1], cursor.lower(), f" {cursor}"}
    damaged -= {cursor}
    data = _decoded(cursor)
    sent.clear()
    for text in damaged:
        if _decoded(text) == data:
            continue  # base64 has several texts for the same bytes at its end
        with pytest.raises(ValidationError) as refused:
            await invoices.scroll(cursor=text)
        assert refused.value.errors[0].field == "cursor"
    assert sent == []


def _decoded(text: str) -> bytes | None:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return None


@pytest.mark.parametrize(
    "cursor", ["", "x", "é", "\0", "\ud800", "AAAA" * 1000, 5, b"AAAA", [], True]
)
async def test_what_was_never_a_cursor_is_refused(
    invoices: Invoices, sent: Sent, cursor: Any
) -> None:
    with pytest.raises(ValidationError) as refused:
        await invoices.scroll(cursor=cursor)
    assert refused.value.errors[0].field == "cursor"
    assert sent == []


async def test_a_cursor_of_another_list_is_refused(
    invoices: Invoices, articles: Repository[Any], sent: Sent
) -> None:
    cursor = await _cursor(invoices)
    sent.clear()
    for order_by in ("created_at", "-id", ("-created_at", "id"), ("-created_at", "-number")):
        with pytest.raises(ValidationError, match="cursor"):
            await invoices.scroll(cursor=cursor, order_by=order_by)
    with pytest.raises(ValidationError, match="cursor"):
        await articles.scroll(cursor=cursor)
    assert sent == []
    # The same order in other words is the same list.
    assert (await invoices.scroll(cursor=cursor, order_by=("-created_at", "-id"))).items


async def test_a_cursor_holds_no_row_but_its_place(invoices: Invoices) -> None:
    await invoices.insert_many(invoice(str(n), customer="a secret") for n in range(2))
    cursor = (await invoices.scroll(limit=1)).next_cursor
    assert cursor is not None
    assert b"secret" not in base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))


async def test_what_a_cursor_cannot_pass_is_refused_before_any_sql(
    invoices: Invoices, things: Repository[ThingDTO], db: AsyncDatabaseManager, sent: Sent
) -> None:
    for order_by in ("due_on", "-note", ("number", "reference")):
        with pytest.raises(ValidationError, match=r"order_by.*NULL.*page\(\)"):
            await invoices.scroll(order_by=order_by)
    with pytest.raises(ValidationError, match=r"order_by.*page\(\)"):
        await repository(db, "Article").scroll(order_by="body")
    assert sent == []
