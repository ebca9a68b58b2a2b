"""One model with a column of every type, and values of each type at its edges."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.models.projects import column_lines

TYPES: Final = {
    "string": "String(20)",
    "text": "Text",
    "integer": "Integer",
    "big": "BigInteger",
    "small": "SmallInteger",
    "ratio": "Float",
    "amount": "Numeric(12, 3)",
    "exact": "Numeric",
    "flag": "Boolean",
    "day": "Date",
    "hour": "Time",
    "moment": "DateTime",
    "span": "Interval",
    "key": "UUID",
    "loose": "JSON",
    "tight": "JSONB",
    "raw": "Binary",
    "label": "Enum[low, it's, ünï]",
    "words": "Array[Text]",
    "amounts": "Array[Numeric(6, 2)]",
    "moments": "Array[DateTime]",
    "labels": "Array[Enum[low, high]]",
    "keys": "Array[UUID]",
}

MODEL: Final = column_lines(f'name: {name}, type: "{kind}"' for name, kind in TYPES.items())

_CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")


def integers(bits: int) -> SearchStrategy[int]:
    limit = 2 ** (bits - 1)
    return st.integers(-limit, limit - 1) | st.sampled_from([-limit, limit - 1, 0])


_MOMENTS = st.datetimes(
    min_value=datetime(1, 1, 2),  # noqa: DTZ001 - hypothesis adds the zone
    max_value=datetime(9999, 12, 30),  # noqa: DTZ001
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=14)), timezone(-timedelta(hours=12))]),
) | st.sampled_from(
    [
        datetime.min.replace(tzinfo=UTC) + timedelta(microseconds=1),
        datetime.max.replace(tzinfo=UTC) - timedelta(microseconds=1),
    ]
)

_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(_CHARACTERS),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(_CHARACTERS), inner, max_size=4)
    ),
    max_leaves=12,
).filter(lambda value: value is not None)

VALUES: Final[dict[str, SearchStrategy[Any]]] = {
    "string": st.text(_CHARACTERS, max_size=20),
    "text": st.text(_CHARACTERS, max_size=400),
    "integer": integers(32),
    "big": integers(64),
    "small": integers(16),
    "ratio": st.floats(allow_nan=False),
    "amount": st.decimals(Decimal("-999999999.999"), Decimal("999999999.999"), places=3),
    "exact": st.decimals(allow_nan=False, allow_infinity=False, places=30),
    "flag": st.booleans(),
    "day": st.dates(),
    "hour": st.times(),
    "moment": _MOMENTS,
    "span": st.timedeltas(),
    "key": st.uuids(allow_nil=True),
    "loose": _JSON,
    "tight": _JSON,
    "raw": st.binary(max_size=300),
    "label": st.sampled_from(["low", "it's", "ünï"]),
    "words": st.lists(st.text(_CHARACTERS), max_size=5),
    "amounts": st.lists(st.decimals(-9999, 9999, places=2), max_size=5),
    "moments": st.lists(_MOMENTS, max_size=3),
    "labels": st.lists(st.sampled_from(["low", "high"]), max_size=3),
    "keys": st.lists(st.uuids(), max_size=3),
}

WRONG: Final[dict[str, list[Any]]] = {
    "string": ["x" * 21, 5, b"x", "a\0b", "\ud800", None],
    "text": [5, b"x", "a\0b", "\udfff", ["x"]],
    "integer": [2**31, -(2**31) - 1, True, "5", 5.0, Decimal(5)],
    "big": [2**63, -(2**63) - 1, False, "5"],
    "small": [2**15, -(2**15) - 1, True],
    "ratio": [True, "1.5", 10**400],
    "amount": [
        "12,5",
        Decimal("0.0001"),
        Decimal("1e9"),
        Decimal("NaN"),
        Decimal("Infinity"),
        1.5,
        True,
    ],
    "exact": ["x", float("nan"), Decimal("NaN"), False],
    "flag": [0, 1, "true", "no"],
    "day": [datetime(2024, 1, 1, tzinfo=UTC), "2024-01-01T00:00:00Z", 5, "5", "2024-13-01"],
    "hour": [time(1, 2, tzinfo=UTC), 5, "25:00"],
    "moment": [
        datetime(2024, 1, 1),  # noqa: DTZ001 - naive on purpose
        "2024-01-01T00:00:00",
        date(2024, 1, 1),
        1_700_000_000,
        "1700000000",
        1.5,
        True,
        datetime.min.replace(tzinfo=UTC),
        datetime.max.replace(tzinfo=UTC),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=1))),
        datetime.max.replace(tzinfo=timezone(-timedelta(hours=1))),
    ],
    "span": [5, "5", 1.5, True, "long"],
    "key": ["x", 5, b"0" * 16, ""],
    "loose": [float("nan"), {1: "x"}, {"at": datetime(2024, 1, 1)}, 2**64, object()],  # noqa: DTZ001
    "tight": [float("inf"), {"a": "\0"}, {"a": ["\ud800"]}, {"a": {1, 2}}, b"x"],
    "raw": ["not base64!", 5, [1]],
    "label": ["Low", "", 5, b"low"],
    "words": ["abc", ("a",), {"a"}, [None], [5], ["a\0"]],
    "amounts": [["0.001"], [99999], 5],
    "moments": [[datetime(2024, 1, 1)], [None]],  # noqa: DTZ001
    "labels": [["low", "middle"]],
    "keys": [["x"], [5]],
}

LENIENT: Final[dict[str, list[tuple[Any, Any]]]] = {
    "ratio": [(5, 5.0), (Decimal("1.5"), 1.5)],
    "amount": [(5, Decimal(5)), ("1.250", Decimal("1.250")), ("1e3", Decimal(1000))],
    "day": [("2024-02-29", date(2024, 2, 29))],
    "hour": [("12:30:00", time(12, 30))],
    "moment": [("2024-01-01T00:00:00Z", datetime(2024, 1, 1, tzinfo=UTC))],
    "span": [("PT1H", timedelta(hours=1)), ("P1DT2S", timedelta(days=1, seconds=2))],
    "key": [("12345678-1234-5678-1234-567812345678", UUID("12345678123456781234567812345678"))],
    "raw": [("aGk=", b"hi"), (bytearray(b"hi"), b"hi"), (memoryview(b"hi"), b"hi")],
    "keys": [(["12345678123456781234567812345678"], [UUID("12345678123456781234567812345678")])],
}


def plain(value: Any) -> Any:
    """JSON as PostgreSQL gives it back: numbers by their value."""
    return json.loads(json.dumps(value), parse_int=Decimal, parse_float=Decimal)
