"""A value that does not fit its column is refused by name by every way in, before any SQL."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from tests.repository.conftest import Sent, repository
from timber.database.manager import AsyncDatabaseManager
from timber.errors import ValidationError
from timber.repository import Repository


@pytest.fixture
async def everything(db: AsyncDatabaseManager) -> Repository[Any]:
    return repository(db, "Everything")


BAD: list[tuple[str, Any]] = [
    ("short", "xxxxxx"),
    ("short", "\0"),
    ("text", "a\0b"),
    ("text", "\ud800"),
    ("text", 5),
    ("text", b"x"),
    ("integer", 2**31),
    ("integer", True),
    ("integer", "5"),
    ("integer", 5.0),
    ("big", -(2**63) - 1),
    ("small", 2**15),
    ("floating", "1"),
    ("floating", True),
    ("numeric", 0.1),
    ("numeric", Decimal("NaN")),
    ("numeric", Decimal("Infinity")),
    ("numeric", "x"),
    ("money", "0.00001"),
    ("money", 10**16),
    ("flag", 1),
    ("flag", "true"),
    ("day", datetime(2026, 1, 1, tzinfo=UTC)),
    ("day", 5),
    ("clock", time(1, tzinfo=UTC)),
    ("moment", datetime(2026, 1, 1)),  # noqa: DTZ001
    ("moment", date(2026, 1, 1)),
    ("moment", 5),
    ("moment", datetime.min.replace(tzinfo=timezone(timedelta(hours=1)))),
    ("span", 5),
    ("code", "x"),
    ("code", 5),
    ("raw", 5),
    ("label", "nope"),
    ("label", 1),
    ("texts", "text"),
    ("texts", [1]),
    ("texts", [None]),
    ("texts", ["\0"]),
    ("integers", ["1"]),
    ("labels", ["nope"]),
    ("moments", [datetime(2026, 1, 1)]),  # noqa: DTZ001
    ("data", object()),
    ("data", {1: 2}),
    ("data", {"a": float("nan")}),
    ("data", {"a": datetime(2026, 1, 1)}),  # noqa: DTZ001
    ("data", {"a": 2**64}),
    ("data", {"a": ["\0"]}),
    ("data", {"\0": 1}),
    ("data", {"a": {1, 2}}),
    ("data", {"a": b"x"}),
    ("data", {"a": date(2026, 1, 1)}),
    ("text_data", [Decimal(1)]),
    ("text_data", "\ud800"),
    ("nope", 5),
]


@pytest.mark.parametrize(("name", "value"), BAD, ids=[f"{n}-{i}" for i, (n, _) in enumerate(BAD)])
async def test_what_does_not_fit_is_refused_by_name_before_any_sql(
    everything: Repository[Any], sent: Sent, name: str, value: Any
) -> None:
    key = UUID(int=1)
    for at, call in (
        ("", lambda: everything.insert({name: value})),
        ("", lambda: everything.update(key, {name: value})),
        ("", lambda: everything.update_where({name: value}, id=key)),
        ("", lambda: everything.upsert({name: value, "id": key})),
        ("1.", lambda: everything.insert_many([{}, {name: value}])),
        ("1.", lambda: everything.insert_many_returning([{}, {name: value}])),
    ):
        with pytest.raises(ValidationError) as refused:
            await call()
        field = refused.value.errors[0].field
        assert field == at + name or field.startswith(f"{at}{name}."), field
        assert len(refused.value.errors) == 1
    assert sent == []
