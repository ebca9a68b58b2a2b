"""Whatever fits a column comes back as it was, by every way in."""

from __future__ import annotations

import math
import sys
from collections.abc import AsyncGenerator
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.repository.conftest import Sent, repository
from timber.database.manager import AsyncDatabaseManager
from timber.database.statements import Statement
from timber.errors import ValidationError
from timber.models import ModelConfig, ModelRegistry
from timber.repository import Repository

# PostgreSQL's text has neither NUL nor halves of surrogate pairs.
_texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
_moments = st.datetimes(
    datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.sampled_from([UTC, timezone(timedelta(hours=-11, minutes=-30))])  # noqa: DTZ001
)  # fmt: skip
# An interval of PostgreSQL counts days in 32 bits and microseconds in 64.
_spans = st.timedeltas()
_numerics = st.decimals(allow_nan=False, allow_infinity=False).filter(
    lambda n: -1000 < n.as_tuple().exponent <= 1000  # type: ignore[operator]
)
_money = st.decimals(-(10**16) + 1, 10**16 - 1, places=4, allow_nan=False, allow_infinity=False)
_json_numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(
    allow_nan=False, allow_infinity=False
).filter(lambda n: n == 0 or abs(n) > sys.float_info.min)
_json = st.recursive(
    st.none() | st.booleans() | _json_numbers | _texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4),
    max_leaves=10,
)
_json_or_null = _json.filter(lambda value: value is not None)


def _integers(bits: int) -> st.SearchStrategy[int]:
    limit = 2 ** (bits - 1)
    return st.sampled_from([-limit, -1, 0, 1, limit - 1]) | st.integers(-limit, limit - 1)


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "short": _texts.filter(lambda text: len(text) <= 5),
    "text": _texts,
    "integer": _integers(32),
    "big": _integers(64),
    "small": _integers(16),
    "floating": st.floats(),
    "numeric": _numerics,
    "money": _money,
    "flag": st.booleans(),
    "day": st.dates(),
    "clock": st.times(),
    "moment": _moments,
    "span": _spans,
    "code": st.uuids(),
    "text_data": _json_or_null,
    "data": _json_or_null,
    "raw": st.binary(),
    "label": st.sampled_from(["yes", "no", "it's"]),
    "texts": st.lists(_texts, max_size=4),
    "integers": st.lists(_integers(64), max_size=4),
    "floats": st.lists(st.floats(), max_size=4),
    "numerics": st.lists(_numerics, max_size=4),
    "flags": st.lists(st.booleans(), max_size=4),
    "days": st.lists(st.dates(), max_size=4),
    "clocks": st.lists(st.times(), max_size=4),
    "moments": st.lists(_moments, max_size=4),
    "spans": st.lists(_spans, max_size=4),
    "codes": st.lists(st.uuids(), max_size=4),
    "raws": st.lists(st.binary(), max_size=4),
    "labels": st.lists(st.sampled_from(["yes", "no"]), max_size=4),
}
_rows = st.fixed_dictionaries({}, optional={name: st.none() | v for name, v in VALUES.items()})
_flat = ["text", "big", "money", "moment", "span", "text_data", "data", "raw", "code"]
_flat_rows = st.fixed_dictionaries({}, optional={name: st.none() | VALUES[name] for name in _flat})

EXTREMES: list[dict[str, Any]] = [
    {
        "text": "\x01\x7f\\N\t\n\"'{}[],;\u2028\U0001f600" + "x" * 100_000,
        "floating": -0.0,
        "floats": [math.inf, -math.inf, math.nan, 5e-324, 1.7976931348623157e308],
        "numeric": Decimal("-1E-900"),
        "numerics": [Decimal("0.000"), Decimal("1E+900"), Decimal("9" * 500)],
        "day": date.min,
        "days": [date.min, date.max],
        "clock": time.max,
        "moment": datetime(1, 1, 2, tzinfo=UTC),
        "moments": [datetime(9999, 12, 30, 23, 59, 59, 999999, tzinfo=UTC)],
        "span": timedelta.min,
        "spans": [timedelta.max, timedelta(microseconds=-1)],
        "code": UUID(int=0),
        "raw": bytes(range(256)) * 100,
        "raws": [b"", b"\x00", b"\\x00"],
        "data": {"": {"\u2028": [None, -0.0, 2**63, 2**64 - 1, -(2**63), 1e308, {}]}},
        "text_data": [None, [], {}, "", 0, False, 1e-300],
        "texts": ["", "NULL", "null", "{}", '"', ",", "\\", "a b"],
        "labels": [],
    },
    {"text": "", "texts": [], "raw": b"", "data": "", "text_data": "null"},
    {"data": False, "text_data": 0, "numeric": Decimal(0)},
    {"data": [], "text_data": []},
    {"data": {"null": None}, "text_data": {"a": None}},
]


def _same(stored: Any, given: Any) -> bool:
    """Equal, NaN to NaN too."""
    if isinstance(given, list):
        return len(stored) == len(given) and all(map(_same, stored, given))
    if isinstance(given, dict):
        return stored.keys() == given.keys() and all(_same(stored[k], given[k]) for k in given)
    if isinstance(given, float) and math.isnan(given):
        return isinstance(stored, float) and math.isnan(stored)
    if isinstance(given, float) and abs(given) >= 2**53:
        return float(stored) == given  # jsonb gives a whole number as its digits
    if isinstance(given, bool) or isinstance(stored, bool):
        return stored is given
    return bool(stored == given)


def _assert_same(stored: Any, given: dict[str, Any]) -> None:
    for name in type(stored).model_fields:
        if name != "id":
            assert _same(getattr(stored, name), given.get(name)), name


once = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
async def everything(db: AsyncDatabaseManager) -> Repository[Any]:
    return repository(db, "Everything")


@pytest.fixture
async def flat(db: AsyncDatabaseManager) -> Repository[Any]:
    return repository(db, "Flat")


@once
@given(batch=st.lists(_rows, min_size=1, max_size=3))
@example(batch=EXTREMES)
async def test_copied_rows_come_back_as_they_were(
    everything: Repository[Any], batch: list[dict[str, Any]]
) -> None:
    keys = await everything.insert_many(batch)
    for stored, given_row in zip(await everything.get_many(keys), batch, strict=True):
        _assert_same(stored, given_row)


@once
@given(batch=st.lists(_rows, min_size=1, max_size=3))
@example(batch=EXTREMES)
async def test_inserted_and_updated_rows_come_back_as_they_were(
    everything: Repository[Any], batch: list[dict[str, Any]]
) -> None:
    for row in batch:
        stored = await everything.insert(row)
        _assert_same(stored, row)
        for other in batch:
            full = {name: other.get(name) for name in VALUES}
            _assert_same(await everything.update(stored.id, full), other)
        _assert_same(await everything.upsert({**row, "id": stored.id}), {**other, **row})


@once
@given(batch=st.lists(_rows, min_size=1, max_size=3))
@example(batch=EXTREMES)
async def test_rows_with_lists_are_returned_as_they_were(
    everything: Repository[Any], batch: list[dict[str, Any]]
) -> None:
    for stored, row in zip(await everything.insert_many_returning(batch), batch, strict=True):
        _assert_same(stored, row)


@once
@given(batch=st.lists(_flat_rows, min_size=1, max_size=5))
@example(batch=[{k: v for k, v in row.items() if k in _flat} for row in EXTREMES])
async def test_rows_that_go_as_columns_are_returned_as_they_were(
    flat: Repository[Any], batch: list[dict[str, Any]]
) -> None:
    for stored, row in zip(await flat.insert_many_returning(batch), batch, strict=True):
        _assert_same(stored, row)


@once
@given(row=_rows)
@example(row=EXTREMES[0])
async def test_a_row_is_found_by_each_of_its_values(
    everything: Repository[Any], row: dict[str, Any]
) -> None:
    key = (await everything.insert(row)).id
    for name, value in row.items():
        assert await everything.exists(**{"id": key, name: value}), name
        if value is not None and not isinstance(value, list):
            assert await everything.exists(everything.where[name].in_([value]), id=key), name
    await everything.delete(key)


async def test_null_in_json_is_not_null_of_sql(
    everything: Repository[Any], db: AsyncDatabaseManager
) -> None:
    """None is SQL's NULL by every way in; JSON's own null is inside of a value."""
    keys = await everything.insert_many([{"data": None, "text_data": None}, {"data": [None]}])
    keys.append((await everything.insert({"data": None})).id)
    keys += [row.id for row in await everything.insert_many_returning([{"data": None}])]
    keys.append((await everything.insert({"data": {"a": 1}})).id)
    assert (await everything.update(keys[-1], {"data": None})).data is None
    nulls = await db.fetch(
        Statement("SELECT count(*) AS n FROM everything WHERE data IS NULL", label="look")
    )
    assert nulls[0]["n"] == 4
    assert await everything.count(data=None) == 4
    assert (await everything.get(keys[1])).data == [None]


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


# Vectors, where the server has them


@pytest.fixture
async def vectors(db: AsyncDatabaseManager) -> AsyncGenerator[Repository[Any]]:
    available = await db.fetch(
        Statement("SELECT FROM pg_available_extensions WHERE name = 'vector'", label="look")
    )
    if not available:
        pytest.skip("the server has no pgvector")
    config = {
        "name": "Point",
        "table": "points",
        "columns": [
            {"name": "place", "type": "Vector(3)"},
            {"name": "name", "type": "Text"},
            {"name": "tags", "type": "Array[Text]"},
        ],
    }
    registry = ModelRegistry(models=[ModelConfig.model_validate(config)], built_in=False)
    await db.create_all_tables(registry.metadata)
    yield Repository(db, registry.get_model("Point"), registry.read_dto("Point"))
    await db.drop_all_tables(registry.metadata)


_halves = st.integers(-1000, 1000).map(lambda n: n / 2)


@once
@given(
    places=st.lists(st.none() | st.lists(_halves, min_size=3, max_size=3), min_size=1, max_size=4)
)
async def test_vectors_come_back_as_they_were(
    vectors: Repository[Any], places: list[list[float] | None]
) -> None:
    batch = [{"place": place, "name": "x", "tags": ["a", "b"]} for place in places]
    keys = await vectors.insert_many(batch)
    assert [row.place for row in await vectors.get_many(keys)] == places
    assert [row.place for row in await vectors.insert_many_returning(batch)] == places
    for place in places:
        row = await vectors.insert({"place": place})
        assert row.place == place
        assert (await vectors.update(row.id, {"place": places[0]})).place == places[0]
    assert await vectors.count(vectors.where.place.is_null()) >= places.count(None)


async def test_a_vector_of_another_length_is_refused(vectors: Repository[Any]) -> None:
    for place in ([1.0, 2.0], [1.0, 2.0, float("nan")], "x", [1, 2, "3"]):
        with pytest.raises(ValidationError, match="place"):
            await vectors.insert({"place": place})
    with pytest.raises(ValidationError, match="place"):
        await vectors.find(vectors.where.place == [1.0, 2.0, 3.0])
