"""Arguments that no column checks: what is not a list, a name, a flag or a DTO is refused by the name of the argument."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from tests.repository.conftest import Sent, repository
from timber.database.manager import AsyncDatabaseManager
from timber.database.outcome import outcome_of
from timber.dto import DTO
from timber.errors import (
    ConfigurationError,
    DatabaseError,
    UnitOfWorkDoomedError,
    ValidationError,
)
from timber.repository import Repository
from timber.repository.scheduling import Rounds

KEY = UUID(int=1)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
CLAUSE = sa.text("x")
"""SQLAlchemy's clauses have no truth value."""


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


Call = Callable[[Repository[Any]], Awaitable[object]]
ROUNDS = Rounds("claimed_at", "created_at", "created_at")
CALLS: dict[str, list[Call]] = {
    "fresh": [
        lambda rows: rows.get(KEY, fresh=CLAUSE),  # type: ignore[call-overload]
        lambda rows: rows.get_many([KEY], fresh="no"),  # type: ignore[call-overload]
        lambda rows: rows.find(fresh=CLAUSE),  # type: ignore[call-overload]
    ],
    "include_deleted": [
        lambda rows: rows.get(KEY, include_deleted=CLAUSE),  # type: ignore[call-overload]
        lambda rows: rows.find(include_deleted="no"),  # type: ignore[call-overload]
    ],
    "hard": [
        lambda rows: rows.delete(KEY, hard="no"),  # type: ignore[arg-type]
        lambda rows: rows.delete_where(hard=CLAUSE, status="draft"),  # type: ignore[arg-type]
    ],
    "ids": [
        lambda rows: rows.get_many("abc"),
        lambda rows: rows.get_many(5),  # type: ignore[arg-type]
        lambda rows: rows.finish(5, at=NOW, rounds=ROUNDS),  # type: ignore[arg-type]
        lambda rows: rows.finish(CLAUSE, at=NOW, rounds=ROUNDS),  # type: ignore[arg-type]
    ],
    "rounds": [
        lambda rows: rows.finish([KEY], at=NOW, rounds="created_at"),  # type: ignore[arg-type]
        lambda rows: rows.finish([KEY], at=NOW, rounds=Rounds("a", "b", "c")),
    ],
    "created_at": [
        lambda rows: rows.finish(
            [KEY],
            at="now",  # type: ignore[arg-type]
            rounds=Rounds("created_at", "updated_at", "note", "created_at"),
        ),
    ],
    "lease_column": [
        lambda rows: rows.release(KEY, lease_column={1: 2}),  # type: ignore[arg-type]
        lambda rows: rows.release(KEY, lease_column=10**5000),  # type: ignore[arg-type]
    ],
    "relationship": [
        lambda rows: rows.add_links(KEY, ["tags"], []),  # type: ignore[arg-type]
        lambda rows: rows.remove_links(KEY, 10**5000, []),  # type: ignore[arg-type]
        lambda rows: rows.set_links(KEY, nested(100_000), "x"),
    ],
    "items": [lambda rows: rows.insert_many(5)],  # type: ignore[arg-type]
    "column": [
        lambda rows: rows.count_by_time(nested(100_000), "day"),
        lambda rows: rows.count_by_time(10**5000, "day"),  # type: ignore[arg-type]
    ],
}


@pytest.mark.parametrize(
    ("field", "call"), [(field, call) for field, calls in CALLS.items() for call in calls]
)
async def test_it_is_refused_by_name_before_any_sql(
    invoices: Repository[Any], sent: Sent, field: str, call: Call
) -> None:
    with sent.of() as statements, pytest.raises(ValidationError) as caught:
        await call(invoices)
    assert {problem.field for problem in caught.value.errors} == {field}
    assert len(str(caught.value)) < 500
    assert statements == []


@pytest.mark.parametrize(
    "move", ["status", ("status",), ("status", "draft"), ("nothing", 1, 2), ("status", "draft", 7)]
)
async def test_where_rows_are_moved_on_to_is_checked(invoices: Repository[Any], move: Any) -> None:
    rounds = Rounds("created_at", "updated_at", "note", "created_at")
    with pytest.raises(ValidationError):
        await invoices.finish([KEY], at=NOW, rounds=rounds, move=move, moved=[KEY])


@pytest.mark.parametrize("into", [{"a": 1}, [], "InvoiceDTO", int, object])
@pytest.mark.parametrize("verb", ["get", "find", "page", "scroll", "find_one"])
async def test_what_is_no_dto_is_refused(invoices: Repository[Any], verb: str, into: Any) -> None:
    args = (KEY,) if verb == "get" else ()
    with pytest.raises(ConfigurationError, match="into"):
        await getattr(invoices, verb)(*args, into=into)


class Narrow(DTO):
    """It takes no status but one, which the table knows nothing of."""

    id: UUID
    number: str
    customer: str
    user_id: str
    status: Any

    def model_post_init(self, _context: Any) -> None:
        if self.status == "paid":
            raise ValueError("no")


async def test_a_row_that_its_dto_does_not_take_is_known_to_be_written(
    db: AsyncDatabaseManager,
) -> None:
    rows = repository(db, "Invoice", Narrow)
    values = {"number": "1", "customer": "x", "user_id": "user-1", "status": "paid"}
    with pytest.raises(DatabaseError) as caught:
        await rows.insert(values)
    assert outcome_of(caught.value) == "committed"
    assert await rows.count() == 1
    with pytest.raises(UnitOfWorkDoomedError):
        async with db.unit_of_work():
            with pytest.raises(DatabaseError):
                await rows.insert({**values, "number": "2"})
    assert await rows.count() == 1


async def test_the_keys_of_a_mapping_are_a_list_of_keys(invoices: Repository[Any]) -> None:
    made = await invoices.insert({"number": "1", "customer": "x", "user_id": "user-1"})
    assert await invoices.get_many({made.id: 1}) == [made]
    assert await invoices.get_many({made.id: 1}.keys(), fresh=True) == [made]
