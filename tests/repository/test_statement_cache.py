"""A statement is compiled once for each shape of call, and not kept for ever."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.repository.conftest import repository
from tests.repository.models import InvoiceDTO, InvoiceLine, JobDTO, invoice
from timber.database import statements
from timber.database.manager import AsyncDatabaseManager
from timber.database.statements import StatementCache
from timber.repository import Repository, querying

Invoices = Repository[InvoiceDTO]


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The labels of statements, as they are compiled."""
    labels: list[str] = []
    original = statements.compile_statement

    def counting(statement: Any, dialect: Any, *, label: str, **options: Any) -> Any:
        labels.append(label)
        return original(statement, dialect, label=label, **options)

    monkeypatch.setattr(querying, "compile_statement", counting)
    return labels


@contextmanager
def _only(compiled: list[str], count: int) -> Iterator[None]:
    before = len(compiled)
    yield
    assert compiled[before:] == compiled[before : before + count]
    assert len(compiled) - before == count, compiled[before:]


async def test_every_verb_is_compiled_once_whatever_its_values(
    invoices: Invoices, compiled: list[str]
) -> None:
    async def use_all(number: int) -> None:
        where = invoices.where
        row = await invoices.insert(invoice(str(number), details={"n": number}))
        other = {"customer": "c", "user_id": "ann", "number": f"{number}b"}  # in another order
        await invoices.insert(dict(reversed(other.items())), id=uuid4())
        await invoices.get(row.id)
        await invoices.get(row.id, owner="ann", into=InvoiceLine)
        await invoices.get_many([row.id] * number)
        found = where.number.in_([str(n) for n in range(number)])
        await invoices.find(found | (where.details["n"] == number), limit=number)
        await invoices.find(where.details["a"][number] > number, order_by="-number")
        await invoices.find_one(status="paid", customer=f"c{number}")
        await invoices.page(page=number, per_page=number, priority=number)
        cursor = (await invoices.scroll(limit=1)).next_cursor
        await invoices.scroll(cursor=cursor, limit=1)
        await invoices.count(where.amount > number)
        await invoices.count_by("status", priority=number)
        await invoices.exists(note=f"{number}")
        async with invoices.stream(where.priority < number, batch=number) as rows:
            async for _ in rows:
                pass
        async with invoices.db.unit_of_work():
            await invoices.for_update(row.id)
        await invoices.update(row.id, {"note": f"{number}", "priority": number})
        await invoices.update(row.id, {"priority": number, "note": f"{number}"})
        await invoices.update(row.id, {"details": {"b": number}}, merge=["details"])
        await invoices.update(row.id, {"note": "x"}, expected_version=4)
        await invoices.update_where({"priority": number}, where.number == f"{number}")
        await invoices.upsert(invoice(str(number), note="x"), on=("user_id", "number"))
        await invoices.upsert({"note": "x", **invoice(str(number))}, on=("user_id", "number"))
        await invoices.insert_many(invoice(f"{number} {n}") for n in range(number))
        await invoices.delete(row.id)
        await invoices.restore(row.id)
        await invoices.delete_where(where.number.like(f"{number}%"))
        await invoices.delete(row.id, hard=True)

    await use_all(1)
    assert len(compiled) == len(invoices._statements) > 20
    with _only(compiled, 0):
        for number in range(2, 6):
            await use_all(number)


async def test_lists_of_rows_are_compiled_once_for_their_columns(
    db: AsyncDatabaseManager, compiled: list[str]
) -> None:
    flat = repository(db, "Flat")
    with _only(compiled, 1):
        for number in range(1, 6):
            await flat.insert_many_returning({"text": str(n)} for n in range(number))
            await flat.insert_many_returning([{"text": "a", "big": 5}])


async def test_claims_are_compiled_once(jobs: Repository[JobDTO], compiled: list[str]) -> None:
    with _only(compiled, 1):
        for number in range(1, 6):
            await jobs.claim(kind=f"{number}", limit=number, lease=timedelta(seconds=number))


async def test_null_is_another_shape(invoices: Invoices, compiled: list[str]) -> None:
    with _only(compiled, 2):
        for note in ("a", None, "b", None):
            await invoices.find(note=note)


async def test_the_cache_is_bounded_and_drops_what_was_not_used_longest(
    db: AsyncDatabaseManager, invoices: Invoices, compiled: list[str]
) -> None:
    invoices._statements = StatementCache(limit=5)
    where = invoices.where
    for number in range(20):
        condition = where.priority == 0
        for _ in range(number):
            condition = condition | (where.priority == 1)
        await invoices.find(condition)
        await invoices.count()
        assert len(invoices._statements) <= 5
    with _only(compiled, 0):
        await invoices.count()  # used all the time
    with _only(compiled, 1):
        await invoices.find(where.priority == 0)


def test_two_repositories_share_nothing(db: AsyncDatabaseManager) -> None:
    first, second = (repository(db, "Invoice") for _ in range(2))
    assert first._statements is not second._statements
