"""What JSON holds comes back as it was; what it cannot hold is refused with the path to it."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timber.dto import JSON_DEPTH_LIMIT, encode_json
from timber.errors import ValidationError

_texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
_keys = _texts | st.sampled_from(["null", "\\u0000", "a.b", ""])
_leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _texts
    | st.just("\\u0000")  # six characters, and no NUL
)
_values = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_keys, inner, max_size=4),
    max_leaves=15,
)
_zones = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
_moments = st.datetimes(timezones=st.just(UTC) | _zones)


class Bad(NamedTuple):
    """A value that JSON cannot hold, and a word of what is said about it."""

    value: Any
    why: str


BAD = [
    Bad(math.nan, "NaN"),
    Bad(math.inf, "infinite"),
    Bad(-math.inf, "infinite"),
    Bad(2**64, "64 bits"),
    Bad(-(2**63) - 1, "64 bits"),
    Bad("a\0b", "NUL"),
    Bad("\0", "NUL"),
    Bad("\ud800", "surrogate"),
    Bad(datetime(2026, 1, 1), "time zone"),  # noqa: DTZ001
    Bad(date(2026, 1, 1), "date"),
    Bad(time(1), "time"),
    Bad(timedelta(1), "timedelta"),
    Bad(Decimal(1), "Decimal"),
    Bad(b"x", "bytes"),
    Bad({1}, "set"),
    Bad(object(), "object"),
    Bad(1j, "complex"),
    Bad({1: 2}, "key"),
    Bad({None: 2}, "key"),
    Bad({True: 2}, "key"),
]
BAD_KEYS = [Bad("\0", "NUL"), Bad("\udfff", "surrogate")]


def _plain(value: Any) -> Any:
    """Tuples as the lists that they become."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


@given(_values)
def test_what_json_holds_comes_back_as_it_was(value: Any) -> None:
    assert json.loads(encode_json(value)) == value
    assert encode_json(value).encode()


@given(st.lists(_values, max_size=3).map(tuple))
def test_tuples_are_lists(value: Any) -> None:
    assert json.loads(encode_json({"a": value})) == {"a": _plain(value)}


@given(_moments, _values)
def test_aware_moments_become_their_iso_text(moment: datetime, beside: Any) -> None:
    back = json.loads(encode_json({"at": moment, "beside": beside}))["at"]
    assert back == moment.isoformat()
    assert datetime.fromisoformat(back) == moment


@st.composite
def _with_a_bad_leaf(draw: st.DrawFn) -> tuple[Any, str, str]:
    """A value with one thing in it that cannot be, the path to it, and why."""
    bad = draw(st.sampled_from(BAD))
    value, path = bad.value, ""
    for _ in range(draw(st.integers(0, 4))):
        if draw(st.booleans()):
            key = draw(_keys)
            others = draw(st.dictionaries(_keys, _values, max_size=2))
            value, path = {**others, key: value}, f".{key}{path}"
        else:
            before = draw(st.lists(_values, max_size=2))
            value, path = [*before, value], f".{len(before)}{path}"
    return value, f"field{path}", bad.why


@given(_with_a_bad_leaf())
def test_what_json_cannot_hold_is_refused_with_its_path(case: tuple[Any, str, str]) -> None:
    value, path, why = case
    with pytest.raises(ValidationError) as refused:
        encode_json(value, "field")
    (problem,) = refused.value.errors
    assert problem.field == path
    assert why in problem.problem


@pytest.mark.parametrize("bad", BAD_KEYS, ids=["NUL", "surrogate"])
def test_a_key_that_is_no_text_is_refused(bad: Bad) -> None:
    with pytest.raises(ValidationError, match=bad.why) as refused:
        encode_json({"a": [{bad.value: 1}]}, "field")
    assert refused.value.errors[0].field.startswith("field.a.0.")
    assert refused.value.errors[0].field.isprintable()


def test_no_message_shows_the_value() -> None:
    for value in ("a secret\0", "a secret\ud800", {"a": datetime(2026, 1, 1)}, Decimal(4711)):  # noqa: DTZ001
        with pytest.raises(ValidationError) as refused:
            encode_json(value)
        for secret in ("secret", "2026", "4711"):
            assert secret not in str(refused.value)


@pytest.mark.parametrize("leaf", [None, 1, "\\u0000", datetime(2026, 1, 1, tzinfo=UTC)])
@pytest.mark.parametrize("in_lists", [True, False])
def test_the_limit_of_nesting_is_the_same_for_everything(leaf: Any, in_lists: bool) -> None:
    def nested(depth: int) -> Any:
        value = leaf
        for _ in range(depth):
            value = [value] if in_lists else {"a": value}
        return value

    assert encode_json(nested(JSON_DEPTH_LIMIT))
    for depth in (JSON_DEPTH_LIMIT + 1, JSON_DEPTH_LIMIT + 2, 900):
        with pytest.raises(ValidationError, match="nested deeper"):
            encode_json(nested(depth))


def test_what_contains_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(ValidationError, match="nested deeper") as refused:
        encode_json({"a": value})
    assert len(str(refused.value)) < 120
