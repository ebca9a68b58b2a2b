"""A filter that cannot be meant is refused by name, before any SQL."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from tests.repository.models import ThingDTO
from timber.errors import UsageError, ValidationError
from timber.repository import Condition, Repository, Where

Bad = Callable[[Where], Condition]
BAD: list[tuple[str, Bad, str]] = [
    ("unknown column", lambda w: w.nope == 1, "nope"),
    ("unknown column by index", lambda w: w["nope"] == 1, "nope"),
    ("wrong type", lambda w: w.number == "5", "number"),
    ("a flag is no number", lambda w: w.number == True, "number"),  # noqa: E712
    ("a fraction is no integer", lambda w: w.number > 1.5, "number"),
    ("out of range", lambda w: w.number < 2**31, "number"),
    ("wrong type in a list", lambda w: w.number.in_([1, "x"]), "number"),
    ("None in a list", lambda w: w.number.in_([1, None]), "number"),
    ("text is no list", lambda w: w.word.in_("abc"), "word"),
    ("text is no list either way", lambda w: w.word.not_in("abc"), "word"),
    ("a number is no list", lambda w: w.number.in_(5), "number"),  # type: ignore[arg-type]
    ("compared with None", lambda w: w.number < None, "number"),
    ("between None", lambda w: w.number.between(None, 1), "number"),
    ("unknown label", lambda w: w.label == "nope", "label"),
    ("too long", lambda w: w.word == "x" * 21, "word"),
    ("NUL", lambda w: w.word == "\0", "word"),
    ("half a surrogate", lambda w: w.word == "\ud800", "word"),
    ("naive", lambda w: w.moment > datetime(2026, 1, 1), "moment"),  # noqa: DTZ001
    ("a moment is no day", lambda w: w.day == datetime(2026, 1, 1, tzinfo=UTC), "day"),
    ("no uuid", lambda w: w.code == "x", "code"),
    ("like on a number", lambda w: w.number.like("5%"), "number"),
    ("like without text", lambda w: w.word.like(5), "word"),  # type: ignore[arg-type]
    ("like with None", lambda w: w.word.like(None), "word"),  # type: ignore[arg-type]
    ("like with NUL", lambda w: w.word.like("\0"), "word"),
    ("like with half a surrogate", lambda w: w.word.ilike("\udfff"), "word"),
    ("like that ends in its escape", lambda w: w.word.like("x\\"), "word"),
    ("ilike that ends in its escape", lambda w: w.data["s"].ilike("\\\\\\"), "data"),
    ("contains on text", lambda w: w.word.contains("a"), "word"),
    ("an array contains a list", lambda w: w.numbers.contains(1), "numbers"),
    ("an array contains None", lambda w: w.numbers.contains(None), "numbers"),
    ("arrays in a list", lambda w: w.numbers.in_([[1], [2]]), "numbers"),
    ("a path in text", lambda w: w.word["a"] == 1, "word"),
    ("a path with NUL", lambda w: w.data["a\0"] == 1, "data"),
    ("a path with half a surrogate", lambda w: w.data["\ud800"].is_null(), "data"),
    ("a path of something else", lambda w: w.data[1.5] == 1, "data"),  # type: ignore[index]
    ("a path of a flag", lambda w: w.data[True] == 1, "data"),
    ("a slice", lambda w: w.data[1:2] == 1, "data"),  # type: ignore[index]
    ("json NaN", lambda w: w.data.eq(math.nan), "data"),
    ("json of something else", lambda w: w.data["a"] == object(), "data"),
    ("json key that is no text", lambda w: w.data.contains({1: 2}), "data"),
    ("json compared with None", lambda w: w.data["a"] > None, "data"),
    ("json None in a list", lambda w: w.data["a"].in_([None]), "data"),
    ("json too big", lambda w: w.data["a"] == 2**70, "data"),
    ("json naive", lambda w: w.data["a"] == datetime(2026, 1, 1), "data"),  # noqa: DTZ001
]


@pytest.mark.parametrize(("make", "field"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
async def test_a_bad_filter_is_refused_by_name_before_any_sql(
    things: Repository[ThingDTO], sent: list[str], make: Bad, field: str
) -> None:
    for verb in (
        things.find,
        things.find_one,
        things.count,
        things.exists,
        things.page,
        things.scroll,
        things.delete_where,
        lambda condition: things.update_where({"number": 1}, condition),
        lambda condition: things.count_by("number", condition),
        lambda condition: _stream(things, condition),
    ):
        with pytest.raises(ValidationError) as refused:
            await verb(make(things.where))
        assert refused.value.errors[0].field.split(".")[0] == field
    assert sent == []


async def _stream(things: Repository[ThingDTO], condition: Condition) -> None:
    async with things.stream(condition):
        pass


@pytest.mark.parametrize(
    "bad", ["number = 5", 5, None, True, object(), {"number": 5}, ("number", 5)]
)
async def test_what_is_no_condition_is_refused(
    things: Repository[ThingDTO], sent: list[str], bad: object
) -> None:
    with pytest.raises(ValidationError, match="filters"):
        await things.find(bad)
    with pytest.raises(ValidationError, match="filters"):
        _ = (things.where.number == 5) & bad  # type: ignore[operator]
    assert sent == []


async def test_unknown_names_are_refused_with_the_nearest_known_one(
    things: Repository[ThingDTO], sent: list[str]
) -> None:
    with pytest.raises(ValidationError, match=r"nummer.*number") as refused:
        await things.find(nummer=5)
    assert refused.value.errors[0].field == "nummer"
    with pytest.raises(ValidationError, match=r"number__in.*where\.number"):
        await things.find(number__in=[5])
    assert sent == []


def test_conditions_have_no_truth_value(things: Repository[ThingDTO]) -> None:
    condition = things.where.number == 5
    with pytest.raises(UsageError, match="&"):
        bool(condition)
    with pytest.raises(UsageError, match="&"):
        _ = condition and things.where.word == "x"
    with pytest.raises(UsageError, match="&"):
        assert 3 < things.where.number < 5


def test_fields_are_no_collections(things: Repository[ThingDTO]) -> None:
    with pytest.raises(TypeError):
        list(things.where.data)  # type: ignore[call-overload]
    with pytest.raises(TypeError):
        assert 1 in things.where.data  # type: ignore[operator]
    with pytest.raises(TypeError):
        hash(things.where.data)
