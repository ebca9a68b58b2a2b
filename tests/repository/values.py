"""Values of every kind of column, their extremes among them."""

from __future__ import annotations

import math
import sys
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

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
rows = st.fixed_dictionaries({}, optional={name: st.none() | v for name, v in VALUES.items()})
FLAT = ["text", "big", "money", "moment", "span", "text_data", "data", "raw", "code"]
flat_rows = st.fixed_dictionaries({}, optional={name: st.none() | VALUES[name] for name in FLAT})

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
