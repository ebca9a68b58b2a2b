"""Order, limits, pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.repository.conftest import Clock, Sent
from tests.repository.models import InvoiceDTO, ThingDTO, invoice
from timber.dto import CursorPage, Page
from timber.errors import ValidationError
from timber.repository import Repository

Invoices = Repository[InvoiceDTO]


async def _fill(invoices: Invoices, clock: Clock, count: int = 5) -> list[Any]:
    keys = []
    for number in range(count):
        clock.tick()
        keys.append((await invoices.insert(invoice(str(number), priority=number // 2))).id)
    return keys


def _numbers(found: list[InvoiceDTO]) -> str:
    return "".join(item.number for item in found)


async def test_lists_are_newest_first_where_nothing_else_is_said(
    invoices: Invoices, clock: Clock
) -> None:
    await _fill(invoices, clock)
    assert _numbers(await invoices.find()) == "43210"
    found = await invoices.find_one()
    assert found is not None
    assert found.number == "4"
    assert _numbers((await invoices.page()).items) == "43210"
    assert _numbers((await invoices.scroll()).items) == "43210"


async def test_rows_made_at_the_same_moment_go_by_their_keys(invoices: Invoices) -> None:
    await invoices.insert_many(invoice(str(number)) for number in range(5))
    assert _numbers(await invoices.find()) == "43210"
    assert _numbers(await invoices.find(order_by="created_at")) == "01234"


async def test_without_a_time_the_key_is_the_order(things: Repository[ThingDTO]) -> None:
    await things.insert_many([{"id": 3}, {"id": 1}, {"id": 2}])
    assert [thing.id for thing in await things.find()] == [1, 2, 3]


@pytest.mark.parametrize(
    ("order_by", "expected"),
    [
        ("number", "01234"),
        ("-number", "43210"),
        (("-priority", "number"), "42301"),
        (["priority", "-number"], "10324"),
        (("priority", "-priority", "-number"), "10324"),
        (("-id",), "43210"),
        ((), "01234"),
    ],
)
async def test_lists_go_by_the_columns_named(
    invoices: Invoices, clock: Clock, order_by: Any, expected: str
) -> None:
    await _fill(invoices, clock)
    assert _numbers(await invoices.find(order_by=order_by)) == expected
    assert _numbers((await invoices.page(order_by=order_by)).items) == expected
    assert _numbers((await invoices.scroll(order_by=order_by)).items) == expected
    async with invoices.stream(order_by=order_by) as rows:
        assert _numbers([row async for row in rows]) == expected


Verb = Callable[..., Awaitable[Any]]


def _listing(invoices: Invoices) -> dict[str, Verb]:
    async def stream(**options: Any) -> None:
        async with invoices.stream(**options) as rows:
            async for _ in rows:
                pass

    return {
        "find": invoices.find,
        "find_one": invoices.find_one,
        "page": invoices.page,
        "scroll": invoices.scroll,
        "stream": stream,
    }


@pytest.mark.parametrize("verb", ["find", "find_one", "page", "scroll", "stream"])
@pytest.mark.parametrize(
    "order_by",
    ["nope", "-nope", "--number", "", "-", "number desc", ("number", "nope"), 5, (5,), b"number", {"number"}, ("number", None), ("number", ["id"]), "number; DROP TABLE invoices"],
)  # fmt: skip
async def test_an_order_by_what_is_no_column_is_refused_before_any_sql(
    invoices: Invoices, sent: Sent, verb: str, order_by: Any
) -> None:
    with pytest.raises(ValidationError) as refused:
        await _listing(invoices)[verb](order_by=order_by)
    assert refused.value.errors[0].field == "order_by"
    assert sent == []


async def test_an_order_by_what_has_none_is_refused(
    things: Repository[ThingDTO], articles: Repository[Any], sent: Sent
) -> None:
    with pytest.raises(ValidationError, match=r"order_by.*text_data.*JSON"):
        await things.find(order_by="text_data")
    with pytest.raises(ValidationError, match=r"order_by.*search_vector"):
        await articles.find(order_by="search_vector")
    assert sent == []
    assert await things.find(order_by=("data", "numbers")) == []


@pytest.mark.parametrize(
    ("verb", "name", "highest"),
    [
        ("find", "limit", 1000),
        ("scroll", "limit", 1000),
        ("page", "page", 10_000_000),
        ("page", "per_page", 200),
        ("stream", "batch", 100_000),
    ],
)
async def test_a_number_out_of_range_is_refused_and_not_clamped(
    invoices: Invoices, sent: Sent, verb: str, name: str, highest: int
) -> None:
    call = _listing(invoices)[verb]
    for bad in (0, -1, highest + 1, 10**30, "5", 5.0, True, None, b"5"):
        with pytest.raises(ValidationError, match=f"1 to {highest}") as refused:
            await call(**{name: bad})
        assert refused.value.errors[0].field == name
    assert sent == []
    for good in (1, highest):
        await call(**{name: good})


async def test_a_limit_gives_at_most_so_many(invoices: Invoices, clock: Clock) -> None:
    await _fill(invoices, clock)
    assert _numbers(await invoices.find(limit=2)) == "43"
    await invoices.insert_many(invoice(f"more {number}") for number in range(200))
    assert len(await invoices.find()) == 100
    assert len((await invoices.scroll()).items) == 100
    assert len((await invoices.page()).items) == 20


async def test_pages(invoices: Invoices, clock: Clock, sent: Sent) -> None:
    await _fill(invoices, clock)
    pages = [await invoices.page(page=n, per_page=2, order_by="number") for n in (1, 2, 3)]
    assert [_numbers(page.items) for page in pages] == ["01", "23", "4"]
    assert {(page.total, page.pages, page.per_page) for page in pages} == {(5, 3, 2)}
    assert [page.page for page in pages] == [1, 2, 3]
    with sent.of() as queries:
        beyond = await invoices.page(page=4, per_page=2)
    assert (beyond.items, beyond.total, beyond.page) == ([], 5, 4)
    assert len(queries) == 1  # behind the end only the number is asked for
    empty = await invoices.page(number="nope")
    assert (empty.items, empty.total, empty.pages) == ([], 0, 1)


async def test_results_print_as_what_they_are(
    invoices: Invoices, articles: Repository[Any], clock: Clock
) -> None:
    await _fill(invoices, clock, 1)
    await articles.insert({"user_id": "ann", "title": "words"})
    page, cursors = await invoices.page(), await invoices.scroll()
    assert repr(page).startswith("Page(items=[InvoiceDTO(")
    assert repr(cursors).startswith("CursorPage(items=[InvoiceDTO(")
    assert repr(await articles.search("words")).startswith("[SearchHit(item=ArticleDTO(")
    assert type(page) is Page
    assert type(cursors) is CursorPage
    assert Page[InvoiceDTO].model_validate(page.model_dump()).items == page.items
    assert '"number":"0"' in page.model_dump_json()
