"""Rows on their way into a cache and back."""

from __future__ import annotations

import math
import random
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timber.cache.codec import JsonCodec, PayloadError, RowCodec, RowsCodec
from timber.models.column_types import ColumnType

COLUMNS = [
    ("id", "UUID"),
    ("name", "String(255)"),
    ("body", "Text"),
    ("kind", "Enum[low, high]"),
    ("n", "Integer"),
    ("big", "BigInteger"),
    ("small", "SmallInteger"),
    ("ratio", "Float"),
    ("price", "Numeric(12, 2)"),
    ("is_on", "Boolean"),
    ("day", "Date"),
    ("at", "Time"),
    ("made_at", "DateTime"),
    ("lasts", "Interval"),
    ("plain", "JSON"),
    ("data", "JSONB"),
    ("blob", "Binary"),
    ("numbers", "Array[Integer]"),
    ("ids", "Array[UUID]"),
    ("prices", "Array[Numeric(12, 2)]"),
    ("vector", "Vector(3)"),
]
TYPES = [(name, ColumnType.parse(notation)) for name, notation in COLUMNS]
FINGERPRINT = "0123456789ab"

ROW: dict[str, Any] = {
    "id": uuid4(),
    "name": "größer ☃",
    "body": "a\nb",
    "kind": "low",
    "n": -1,
    "big": -(2**63),
    "small": 3,
    "ratio": 0.1,
    "price": Decimal("12.50"),
    "is_on": True,
    "day": date(1, 1, 1),
    "at": time(23, 59, 59, 999999),
    "made_at": datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
    "lasts": timedelta(days=-3, microseconds=7),
    "plain": [1, {"a": None}],
    "data": {"a": {"b": [1.5, "x", True]}},
    "blob": bytes(range(256)),
    "numbers": [1, None, 3],
    "ids": [uuid4()],
    "prices": [[Decimal("1.10")], [Decimal("NaN")]],
    "vector": [0.5, 1.0, -2.0],
}


@pytest.fixture
def codec() -> RowCodec:
    return RowCodec(TYPES, FINGERPRINT)


def there_and_back(codec: Any, value: Any) -> Any:
    return codec.thaw(codec.decode(codec.encode(codec.freeze(value))))


def test_every_column_type_comes_back_as_it_was(codec: RowCodec) -> None:
    back = there_and_back(codec, ROW)
    prices, expected = back.pop("prices"), {**ROW}
    expected.pop("prices")
    assert back == expected
    assert {name: type(value) for name, value in back.items()} == {
        name: type(value) for name, value in expected.items()
    }
    assert prices[0] == [Decimal("1.10")]
    assert prices[1][0].is_nan()


def test_empty_columns_and_no_row_at_all_come_back(codec: RowCodec) -> None:
    empty = dict.fromkeys(ROW)
    assert there_and_back(codec, empty) == empty
    assert there_and_back(codec, None) is None


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 1e308, -0.0])
def test_every_float_comes_back(codec: RowCodec, value: float) -> None:
    back = there_and_back(codec, {**ROW, "ratio": value})["ratio"]
    assert repr(back) == repr(value)


@pytest.mark.parametrize("value", [timedelta.max, timedelta.min, timedelta(microseconds=-1)])
def test_every_interval_comes_back(codec: RowCodec, value: timedelta) -> None:
    assert there_and_back(codec, {**ROW, "lasts": value})["lasts"] == value


def test_times_keep_their_moment(codec: RowCodec) -> None:
    for moment in (
        datetime.max.replace(tzinfo=UTC),
        datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=5, minutes=45))),
    ):
        assert there_and_back(codec, {**ROW, "made_at": moment})["made_at"] == moment


def test_a_frozen_row_cannot_be_changed_through_a_hit(codec: RowCodec) -> None:
    frozen = codec.freeze(ROW)
    hit = codec.thaw(frozen)
    assert hit is not None
    hit["data"]["a"]["b"].append("mine")
    hit["numbers"].append(4)
    hit["n"] = 5
    again = codec.thaw(frozen)
    assert again is not None
    assert (again["data"], again["numbers"], again["n"]) == (ROW["data"], [1, None, 3], -1)


def test_a_list_of_rows_comes_back_in_order() -> None:
    codec = RowsCodec(TYPES, FINGERPRINT)
    rows = [{**ROW, "n": n, "prices": None} for n in range(5)]
    assert there_and_back(codec, rows) == rows
    assert there_and_back(codec, []) == []


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**63 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(exclude_categories=["Cs"])),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
        ),
        max_leaves=20,
    )
)
def test_any_json_comes_back(value: Any) -> None:
    assert there_and_back(JsonCodec("00"), value) == value
    row = {**ROW, "data": value, "prices": None}
    assert there_and_back(RowCodec(TYPES, FINGERPRINT), row)["data"] == value


def test_a_damaged_payload_is_an_error_whatever_was_damaged(codec: RowCodec) -> None:
    payload = codec.encode(codec.freeze(ROW))
    chance = random.Random(5)
    for length in range(len(payload)):
        with pytest.raises(PayloadError):
            codec.decode(payload[:length])
    for _ in range(500):
        place, bit = chance.randrange(len(payload)), 1 << chance.randrange(8)
        damaged = bytearray(payload)
        damaged[place] ^= bit
        with pytest.raises(PayloadError):
            codec.decode(bytes(damaged))


def test_a_payload_of_another_schema_is_an_error(codec: RowCodec) -> None:
    other = RowCodec(TYPES, "ba9876543210")
    with pytest.raises(PayloadError):
        other.decode(codec.encode(codec.freeze(ROW)))
    shorter = RowCodec(TYPES[:-1], FINGERPRINT)
    with pytest.raises(PayloadError):
        shorter.decode(codec.encode(codec.freeze(ROW)))


def test_nothing_is_pickled(codec: RowCodec) -> None:
    payload = codec.encode(codec.freeze(ROW))
    assert b"\x80\x04" not in payload
    assert payload[11:12] == b"["


def test_the_drivers_own_uuids_become_plain_ones(codec: RowCodec) -> None:
    class DriverUUID(UUID):
        pass

    row = {**ROW, "id": DriverUUID(ROW["id"].hex)}
    frozen = codec.freeze(row)
    assert frozen is not None
    assert type(frozen["id"]) is UUID
