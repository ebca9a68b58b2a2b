"""SQLAlchemy expressions are filters too."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from tests.repository.conftest import Sent
from tests.repository.models import REGISTRY, InvoiceDTO, invoice
from timber.errors import ValidationError
from timber.repository import Repository

Invoice: Any = REGISTRY.get_model("Invoice")
Article: Any = REGISTRY.get_model("Article")
table: Any = Invoice.__table__
articles: Any = Article.__table__

NAIVE = datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None)

FOUND: list[tuple[str, Callable[[], Any], set[str]]] = [
    ("a column", lambda: table.c.number == "2", {"2"}),
    ("an attribute of the mapped class", lambda: Invoice.number == "2", {"2"}),
    ("a boolean attribute by itself", sa.true, {"1", "2", "3"}),
    ("expanding IN", lambda: table.c.number.in_(["1", "3"]), {"1", "3"}),
    ("expanding IN of nothing", lambda: table.c.number.in_([]), set()),
    ("expanding NOT IN", lambda: Invoice.number.not_in(["1", "3"]), {"2"}),
    ("a literal", lambda: table.c.number == sa.literal("3", literal_execute=True), {"3"}),
    ("a function", lambda: sa.func.lower(table.c.customer) == "acme 2", {"2"}),
    ("a parameter of the caller's", lambda: table.c.number == sa.bindparam("p0", "1"), {"1"}),
    ("a parameter called like another", lambda: table.c.number == sa.bindparam("limit", "1"), {"1"}),
    ("two parameters of one name", lambda: sa.or_(table.c.number == sa.bindparam("x", "1"), table.c.customer == sa.bindparam("x", "1")), {"1"}),
    ("json", lambda: table.c.details["n"].as_integer() > 1, {"2", "3"}),
    ("any", lambda: sa.literal("b") == sa.any_(table.c.tags), {"2"}),
    ("a column by its name", lambda: sa.column("number") == "2", {"2"}),
    ("a column of every table", lambda: sa.column("ctid").is_not(None), {"1", "2", "3"}),
    ("a column of a function", lambda: sa.literal("b").in_(sa.select(sa.func.unnest(table.c.tags).column_valued())), {"2"}),
    ("an aware datetime", lambda: table.c.created_at < datetime(2999, 1, 1, tzinfo=UTC), {"1", "2", "3"}),
    ("case", lambda: sa.case((table.c.number == "1", True), else_=False), {"1"}),
    ("a subquery on another table", lambda: table.c.user_id.in_(sa.select(articles.c.user_id)), set()),
    ("a correlated subquery", lambda: ~sa.exists().where(articles.c.user_id == table.c.user_id), {"1", "2", "3"}),
]  # fmt: skip


@pytest.fixture
async def filled(invoices: Repository[InvoiceDTO]) -> Repository[InvoiceDTO]:
    await invoices.insert_many(
        invoice(str(n), customer=f"Acme {n}", details={"n": n}, tags=["ab"[n - 1 : n]])
        for n in (1, 2, 3)
    )
    return invoices


@pytest.mark.parametrize(("make", "numbers"), [f[1:] for f in FOUND], ids=[f[0] for f in FOUND])
async def test_an_expression_finds_its_rows_in_every_verb(
    filled: Repository[InvoiceDTO], make: Callable[[], Any], numbers: set[str]
) -> None:
    assert {found.number for found in await filled.find(make())} == numbers
    assert {found.number for found in (await filled.page(make())).items} == numbers
    assert {found.number for found in (await filled.scroll(make())).items} == numbers
    assert await filled.count(make()) == len(numbers)
    assert await filled.exists(make()) is bool(numbers)
    async with filled.stream(make()) as rows:
        assert {found.number async for found in rows} == numbers
    assert await filled.count_by("number", make()) == dict.fromkeys(numbers, 1)
    assert await filled.update_where({"note": "seen"}, make()) == len(numbers)
    assert await filled.count(note="seen") == len(numbers)
    assert await filled.delete_where(make(), hard=True) == len(numbers)


async def test_expressions_go_together_with_conditions_and_names(
    filled: Repository[InvoiceDTO],
) -> None:
    where = filled.where
    found = await filled.find(
        table.c.number.in_(["1", "2"]),
        where.details["n"] >= 2,
        sa.or_(Invoice.customer == "Acme 2", Invoice.customer == "Acme 3"),
        user_id="ann",
        owner="ann",
        order_by="number",
        limit=5,
    )
    assert [item.number for item in found] == ["2"]


async def test_the_same_expression_with_other_values_gives_other_rows(
    filled: Repository[InvoiceDTO], sent: Sent
) -> None:
    for number in ("1", "2", "3"):
        found = await filled.find(table.c.number.in_([number]))
        assert [item.number for item in found] == [number]
    # What a caller writes with SQLAlchemy is compiled each time and kept nowhere.
    assert len(filled._statements) == 0


async def test_values_of_an_expression_are_never_written_into_the_text(
    filled: Repository[InvoiceDTO], sent: Sent
) -> None:
    attack = "'; DROP TABLE invoices; --"
    assert await filled.find(table.c.number.in_([attack, "1"]), table.c.customer != attack)
    assert not any("DROP" in sql for sql in sent)


BAD: list[tuple[str, Callable[[], Any], str]] = [
    ("another table", lambda: articles.c.title == "x", "another table"),
    ("another table beside this", lambda: table.c.user_id == articles.c.user_id, "another table"),
    ("an alias", lambda: table.alias().c.number == "1", "another table"),
    ("the same table of another registry", lambda: type(REGISTRY)(files=[__file__.replace("test_expressions.py", "models.yaml")], built_in=False).table("Invoice").c.number == "1", "another table"),
    ("a parameter without a value", lambda: table.c.number == sa.bindparam("x"), "without a value"),
    ("a column that is not there", lambda: sa.column("nope") == 1, "names the column 'nope', which invoices does not have"),
    ("a naive datetime", lambda: Invoice.created_at > NAIVE, "without a timezone"),
    ("a naive datetime among others", lambda: table.c.created_at.in_([datetime.now(UTC), NAIVE]), "without a timezone"),
    ("text", lambda: sa.text("number = '1'"), "a filter is"),
    ("a whole table", lambda: table, "a filter is"),
    ("a mapped class", lambda: Invoice, "a filter is"),
    ("what cannot be compiled", lambda: sa.cast(table.c.number, sa.types.NullType()) == "1", "cannot compile"),
    ("what cannot be bound", lambda: table.c.details == object(), "not a JSON value"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "why"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
async def test_an_expression_that_cannot_work_is_refused_before_any_sql(
    invoices: Repository[InvoiceDTO], sent: Sent, make: Callable[[], Any], why: str
) -> None:
    with pytest.raises(ValidationError, match=why):
        await invoices.find(make())
    with pytest.raises(ValidationError, match=why):
        await invoices.delete_where(make())
    assert sent == []
