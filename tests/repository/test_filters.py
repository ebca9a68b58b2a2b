"""Each filter finds the rows that it says, in the database and beside NULL."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from tests.repository.models import ThingDTO
from timber.repository import Condition, Repository, Where

CODE = UUID(int=7)
ROWS: list[dict[str, Any]] = [
    {"id": 1},
    {
        "id": 2,
        "number": 5,
        "ratio": 0.5,
        "price": "1.50",
        "word": "Apple",
        "label": "low",
        "flag": True,
        "day": date(2026, 1, 1),
        "clock": time(12, 30),
        "moment": datetime(2026, 1, 1, tzinfo=UTC),
        "span": timedelta(hours=1),
        "code": CODE,
        "raw": b"\x00\xff",
        "numbers": [1, 2],
        "data": {"a": 1, "b": {"c": ["x", 2.5]}, "n": None, "s": "Hello", "t": True},
        "text_data": {"a": 1, "s": "Hello"},
    },
    {
        "id": 3,
        "number": 7,
        "ratio": float("nan"),
        "price": "-2",
        "word": "apple pie",
        "label": "high",
        "flag": False,
        "day": date(2026, 2, 1),
        "clock": time(23, 59, 59, 999999),
        "moment": datetime(2026, 2, 1, tzinfo=UTC),
        "span": timedelta(days=-1),
        "code": UUID(int=8),
        "raw": b"",
        "numbers": [],
        "data": {"a": 2, "b": {}, "s": "10%"},
        "text_data": [1, 2],
    },
    {"id": 4, "number": -5, "word": "100%_\\", "data": [1, 2], "text_data": "text"},
    {"id": 5, "number": 5, "word": "", "data": "just text", "numbers": [2, 3]},
    {"id": 6, "word": "ÄPFEL", "data": {"a": "1", "b": [{"c": 1}]}},
]

FOUND: list[tuple[str, Callable[[Where], Condition], set[int]]] = [
    ("eq", lambda w: w.number == 5, {2, 5}),
    ("eq by name", lambda w: w.number.eq(5), {2, 5}),
    ("eq none", lambda w: w.number == None, {1, 6}),  # noqa: E711
    ("ne leaves NULL out", lambda w: w.number != 5, {3, 4}),
    ("ne by name", lambda w: w.number.ne(5), {3, 4}),
    ("ne none", lambda w: w.number != None, {2, 3, 4, 5}),  # noqa: E711
    ("lt", lambda w: w.number < 5, {4}),
    ("lte", lambda w: w.number <= 5, {2, 4, 5}),
    ("gt", lambda w: w.number > 5, {3}),
    ("gte", lambda w: w.number >= 5, {2, 3, 5}),
    ("lt by name", lambda w: w.number.lt(5) & w.number.gt(-6), {4}),
    ("lte by name", lambda w: w.number.lte(5) & w.number.gte(5), {2, 5}),
    ("in", lambda w: w.number.in_([5, -5]), {2, 4, 5}),
    ("in a generator", lambda w: w.number.in_(n for n in (7, 8)), {3}),
    ("in a set", lambda w: w.number.in_({7}), {3}),
    ("in nothing", lambda w: w.number.in_([]), set()),
    ("not in leaves NULL out", lambda w: w.number.not_in([5]), {3, 4}),
    ("between", lambda w: w.number.between(-5, 5), {2, 4, 5}),
    ("between nothing", lambda w: w.number.between(5, -5), set()),
    ("is null", lambda w: w.number.is_null(), {1, 6}),
    ("not null", lambda w: w.number.not_null(), {2, 3, 4, 5}),
    ("by index", lambda w: w["number"] == 7, {3}),
    ("like", lambda w: w.word.like("%pple%"), {2, 3}),
    ("like minds case", lambda w: w.word.like("apple%"), {3}),
    ("like escaped", lambda w: w.word.like(r"100\%\_\\"), {4}),
    ("like one character", lambda w: w.word.like("A____"), {2}),
    ("like the empty text", lambda w: w.word.like(""), {5}),
    ("ilike", lambda w: w.word.ilike("APPLE%"), {2, 3}),
    ("like on an enum", lambda w: w.label.like("l%"), {2}),
    ("float", lambda w: w.ratio < 1, {2}),
    ("float from an int", lambda w: w.ratio.in_([1, 0.5]), {2}),
    ("NaN equals itself", lambda w: w.ratio.eq(math.nan), {3}),
    ("numeric", lambda w: w.price == Decimal("1.5"), {2}),
    ("numeric in text", lambda w: w.price < "0", {3}),
    ("enum", lambda w: w.label.in_(["low", "middle"]), {2}),
    ("flag", lambda w: w.flag == True, {2}),  # noqa: E712
    ("not flag", lambda w: w.flag != True, {3}),  # noqa: E712
    ("day", lambda w: w.day >= date(2026, 2, 1), {3}),
    ("clock", lambda w: w.clock > time(12, 30), {3}),
    (
        "moment in another zone",
        lambda w: w.moment == datetime.fromisoformat("2026-01-01T02:00+02:00"),
        {2},
    ),
    (
        "moment between",
        lambda w: w.moment.between(
            datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 31, tzinfo=UTC)
        ),
        {2},
    ),
    ("span", lambda w: w.span < timedelta(), {3}),
    ("code", lambda w: w.code == CODE, {2}),
    ("code in text", lambda w: w.code.in_([str(CODE)]), {2}),
    ("raw", lambda w: w.raw == b"\x00\xff", {2}),
    ("raw in", lambda w: w.raw.in_([b"", b"x"]), {3}),
    ("array", lambda w: w.numbers == [1, 2], {2}),
    ("array, empty", lambda w: w.numbers == [], {3}),
    ("array contains", lambda w: w.numbers.contains([2]), {2, 5}),
    ("array contains all", lambda w: w.numbers.contains([3, 2]), {5}),
    ("and", lambda w: (w.number == 5) & (w.word == ""), {5}),
    ("or", lambda w: (w.number == 7) | (w.word == ""), {3, 5}),
    ("not", lambda w: ~(w.number == 5), {3, 4}),
    ("not null by not", lambda w: ~w.number.is_null(), {2, 3, 4, 5}),
    ("tree", lambda w: ~((w.number == 5) | (w.word == "apple pie")) & w.number.not_null(), {4}),
    # JSON
    ("json equals", lambda w: w.data == {"a": 2, "s": "10%", "b": {}}, {3}),
    ("json equals a list", lambda w: w.data == [1, 2], {4}),
    ("json in, lists among them", lambda w: w.data.in_([[1, 2], "just text", {"z": 1}]), {4, 5}),
    ("json not in", lambda w: w.data.not_in([[1, 2], "just text"]), {2, 3, 6}),
    ("json contains", lambda w: w.data.contains({"a": 1}), {2}),
    ("json contains, deep", lambda w: w.data.contains({"b": {"c": ["x"]}}), {2}),
    ("json contains, in a list", lambda w: w.data.contains([2]), {4}),
    ("json contains below a path", lambda w: w.data["b"].contains({"c": [2.5]}), {2}),
    ("json contains null below a path", lambda w: w.data["n"].contains(None), {2, 3, 4, 5, 6}),
    (
        "json contains below a path: a list contains its items",
        lambda w: w.data["b"]["c"].contains("x"),
        {2},
    ),
    ("json contains below a path into a list", lambda w: w.data["b"][0].contains({"c": 1}), {6}),
    ("json does not contain", lambda w: ~w.data["b"].contains({"c": [2.5]}), {3, 4, 5, 6}),
    ("json does not contain an item", lambda w: ~w.data["b"]["c"].contains("x"), {3, 4, 5, 6}),
    ("json is null", lambda w: w.data.is_null(), {1}),
    ("path", lambda w: w.data["a"] == 1, {2}),
    ("path: 1 is not '1'", lambda w: w.data["a"] == "1", {6}),
    ("path: true is not 1", lambda w: w.data["t"] == 1, set()),
    ("path: true", lambda w: w.data["t"] == True, {2}),  # noqa: E712
    ("path, deep", lambda w: w.data["b"]["c"][1] == 2.5, {2}),
    ("path into a list of objects", lambda w: w.data["b"][0]["c"] == 1, {6}),
    ("path at the end of a list", lambda w: w.data[-1] == 2, {4}),
    ("path: an object", lambda w: w.data["b"] == {}, {3}),
    ("path ne leaves missing ones out", lambda w: w.data["a"] != 1, {3, 6}),
    ("path ne leaves null out", lambda w: w.data["n"] != 1, set()),
    ("path in", lambda w: w.data["a"].in_([1, "1", [1]]), {2, 6}),
    ("path not in", lambda w: w.data["a"].not_in([1]), {3, 6}),
    ("path lt compares numbers with numbers only", lambda w: w.data["a"] < 2, {2}),
    ("path gte", lambda w: w.data["a"] >= 1, {2, 3}),
    ("path gt on text", lambda w: w.data["s"] > "2", {2}),
    ("path between", lambda w: w.data["a"].between(1, 2), {2, 3}),
    ("path is null: missing or null", lambda w: w.data["n"].is_null(), {1, 2, 3, 4, 5, 6}),
    ("path eq none", lambda w: w.data["a"] == None, {1, 4, 5}),  # noqa: E711
    ("path not null", lambda w: w.data["a"].not_null(), {2, 3, 6}),
    ("path not", lambda w: ~(w.data["a"] == 1), {3, 6}),
    ("path like", lambda w: w.data["s"].like("H%"), {2}),
    ("path like, escaped", lambda w: w.data["s"].like(r"10\%"), {3}),
    ("path ilike", lambda w: w.data["s"].ilike("hello"), {2}),
    # JSON kept as text
    ("text json equals", lambda w: w.text_data == {"s": "Hello", "a": 1}, {2}),
    ("text json in", lambda w: w.text_data.in_([[1, 2], "text"]), {3, 4}),
    ("text json contains", lambda w: w.text_data.contains({"a": 1}), {2}),
    ("text json path", lambda w: w.text_data["a"] == 1, {2}),
    ("text json path like", lambda w: w.text_data["s"].like("%llo"), {2}),
    ("text json path is null", lambda w: w.text_data["a"].is_null(), {1, 3, 4, 5, 6}),
]


@pytest.fixture
async def filled(things: Repository[ThingDTO]) -> Repository[ThingDTO]:
    await things.insert_many(ROWS)
    return things


@pytest.mark.parametrize(("make", "ids"), [f[1:] for f in FOUND], ids=[f[0] for f in FOUND])
async def test_a_filter_finds_its_rows(
    filled: Repository[ThingDTO], make: Callable[[Where], Condition], ids: set[int]
) -> None:
    condition = make(filled.where)
    assert {thing.id for thing in await filled.find(condition)} == ids
    assert await filled.count(condition) == len(ids)
    assert await filled.exists(condition) is bool(ids)
    # What it rejects is rejected together with what is undecided, and never found by both.
    rejected = {thing.id for thing in await filled.find(~condition)}
    assert not rejected & ids


async def test_filters_side_by_side_are_all_to_be_met(filled: Repository[ThingDTO]) -> None:
    where = filled.where
    found = await filled.find(where.number.not_null(), where.number < 7, word="", order_by="id")
    assert [thing.id for thing in found] == [5]
    assert await filled.find_one(number=None, word=None) == ThingDTO(id=1, number=None, word=None)


async def test_many_conditions_can_be_joined(filled: Repository[ThingDTO]) -> None:
    condition = filled.where.number == 0
    for number in range(2000):
        condition = condition | (filled.where.number == number)
    assert {thing.id for thing in await filled.find(condition)} == {2, 3, 5}


async def test_a_list_of_any_length_is_one_parameter(filled: Repository[ThingDTO]) -> None:
    assert await filled.count(filled.where.number.in_(range(100_000))) == 3
