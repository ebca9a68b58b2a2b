"""What each rule says about rows, in memory."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from timber.errors import ConfigurationError, ValidationError
from timber.features.feature import FeatureModel, Write
from timber.features.validation import Validation, ValidationProvider
from timber.models import ModelRegistry
from timber.models.columns import ColumnConfig
from timber.models.config import FeaturesConfig, ModelConfig
from timber.models.feature_configs import RuleConfig, ValidationConfig

COLUMNS = {
    "title": "String(200)",
    "code": "Text",
    "status": "Enum[draft, sent, paid]",
    "amount": "Numeric(12, 2)",
    "count": "Integer",
    "limit": "Integer",
    "ratio": "Float",
    "starts_on": "Date",
    "ends_on": "Date",
    "made_at": "DateTime",
    "tags": "Array[String(20)]",
    "data": "JSONB",
}


def rules(*declared: dict[str, Any]) -> Validation:
    columns = [ColumnConfig.model_validate({"name": n, "type": t}) for n, t in COLUMNS.items()]
    validation = ValidationConfig(rules=tuple(RuleConfig(**rule) for rule in declared))
    config = ModelConfig(
        name="Bill",
        table="bills",
        columns=tuple(columns),
        features=FeaturesConfig(validation=validation),
    )
    registry = ModelRegistry(models=[config], built_in=False)
    model = FeatureModel(registry.model_config("Bill"), registry.table("Bill"), None)  # type: ignore[arg-type]
    feature = ValidationProvider().feature(model)
    assert isinstance(feature, Validation)
    return feature


async def problems(feature: Validation, write: Write) -> list[tuple[str, str]]:
    hook = feature.before_insert if write.verb == "insert" else feature.before_update
    try:
        await hook(write)
    except ValidationError as error:
        return [tuple(problem) for problem in error.errors]
    return []


async def of_row(rule: dict[str, Any], **row: Any) -> str | None:
    found = await problems(rules(rule), Write("insert", [row], [1]))
    assert len(found) < 2
    assert all(name == rule["field"] for name, _ in found)
    return found[0][1] if found else None


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        ({"field": "title", "min_length": 2}, "ab", "a"),
        ({"field": "title", "max_length": 2}, "ab", "abc"),
        ({"field": "tags", "min_length": 1}, ["a"], []),
        ({"field": "data", "max_length": 1}, {"a": 1}, {"a": 1, "b": 2}),
        ({"field": "data", "min_length": 1}, [0], 7),
        ({"field": "count", "min": 1}, 1, 0),
        ({"field": "count", "max": 9}, 9, 10),
        ({"field": "amount", "min": 0.1}, Decimal("0.1"), Decimal("0.09")),
        ({"field": "amount", "max": "99.99"}, Decimal("99.99"), Decimal(100)),
        ({"field": "ratio", "min": 0}, 0.0, float("nan")),
        ({"field": "ratio", "max": 1}, 1.0, float("nan")),
        ({"field": "starts_on", "min": "2020-01-01"}, date(2020, 1, 1), date(2019, 12, 31)),
        (
            {"field": "made_at", "max": "2026-01-01T00:00:00Z"},
            datetime(2026, 1, 1, tzinfo=UTC),
            datetime(2026, 1, 1, 1, tzinfo=UTC),
        ),
        ({"field": "code", "pattern": "[A-Z]{2}[0-9]+"}, "AB12", "AB12 "),
        ({"field": "tags", "pattern": "[a-z]+"}, ["a", "b"], ["a", "B"]),
        ({"field": "status", "choices": ["draft", "sent"]}, "sent", "paid"),
        ({"field": "amount", "choices": [1, "2.50"]}, Decimal("2.5"), Decimal(2)),
        ({"field": "tags", "choices": ["a", "b"]}, ["b", "a"], ["a", "c"]),
        ({"field": "data", "choices": [1, "x"]}, 1, True),
    ],
)
async def test_a_rule_lets_good_values_pass_and_names_bad_ones(
    rule: dict[str, Any], good: Any, bad: Any
) -> None:
    assert await of_row(rule, **{rule["field"]: good}) is None
    assert await of_row(rule, **{rule["field"]: bad})
    assert await of_row(rule, **{rule["field"]: None}) is None
    assert await of_row(rule) is None, "left out"


async def test_rules_across_fields_look_at_both() -> None:
    less = {"field": "starts_on", "less_than": "ends_on"}
    day, next_day = date(2026, 1, 1), date(2026, 1, 2)
    assert await of_row(less, starts_on=day, ends_on=next_day) is None
    assert await of_row(less, starts_on=day, ends_on=day) == "is to be less than ends_on"
    assert await of_row(less, starts_on=None, ends_on=day) is None
    assert await of_row(less, starts_on=day, ends_on=None) is None
    equal = {"field": "count", "less_or_equal": "limit"}
    assert await of_row(equal, count=2, limit=2) is None
    assert await of_row(equal, count=3, limit=2) == "is to be at most limit"
    required = {"field": "code", "required_with": "amount"}
    assert await of_row(required, code="x", amount=Decimal(1)) is None
    assert await of_row(required, code=None, amount=None) is None
    assert await of_row(required, code=None, amount=Decimal(1)) == "is required with amount"


async def test_every_failure_of_every_row_is_in_one_error() -> None:
    feature = rules(
        {"field": "title", "min_length": 3, "pattern": "[a-z]*"},
        {"field": "count", "min": 1},
        {"field": "starts_on", "less_than": "ends_on"},
    )
    good = {"title": "abc", "count": 1, "starts_on": None, "ends_on": None}
    bad = {"title": "A", "count": 0, "starts_on": date(2026, 1, 2), "ends_on": date(2026, 1, 1)}
    found = await problems(feature, Write("insert", [good, bad, good, bad], None, single=False))
    assert [name for name, _ in found] == [
        *("1.title", "1.title", "1.count", "1.starts_on"),
        *("3.title", "3.title", "3.count", "3.starts_on"),
    ]


async def test_a_message_of_its_own_is_said_once_and_no_value_is_shown() -> None:
    rule = {"field": "code", "min_length": 9, "pattern": "[0-9]+", "message": "is no customer code"}
    assert await of_row(rule, code="secret") == "is no customer code"
    for declared in ({"pattern": "[0-9]+"}, {"max_length": 2}, {"choices": ["a"]}):
        problem = await of_row({"field": "code", **declared}, code="secret")
        assert problem is not None
        assert "secret" not in problem


async def test_an_update_is_judged_by_the_row_as_it_will_be() -> None:
    feature = rules(
        {"field": "starts_on", "less_than": "ends_on"},
        {"field": "title", "min_length": 3},
    )
    assert feature.needs_current({"title"}, ()) == set()
    assert feature.needs_current({"starts_on", "ends_on"}, ()) == set()
    assert feature.needs_current({"ends_on"}, ()) == {"starts_on"}
    current = [{"starts_on": date(2026, 1, 5)}]
    early = Write("update", [{"ends_on": date(2026, 1, 4)}], [1], current=current)
    assert await problems(feature, early) == [("starts_on", "is to be less than ends_on")]
    late = Write("update", [{"ends_on": date(2026, 1, 6)}], [1], current=current)
    assert await problems(feature, late) == []


async def test_an_update_is_not_blamed_for_what_it_leaves_alone() -> None:
    feature = rules({"field": "title", "min_length": 3}, {"field": "count", "min": 1})
    write = Write("update", [{"count": 5}], [1], current=[{"title": "x"}])
    assert await problems(feature, write) == []


def test_a_merged_column_is_asked_for_only_where_a_rule_is_about_it() -> None:
    feature = rules({"field": "data", "max_length": 3})
    assert feature.needs_current({"data"}, ()) == set()
    assert feature.needs_current({"data"}, {"data"}) == {"data"}
    assert feature.needs_current({"title"}, ()) == set()


async def test_a_text_too_long_for_its_pattern_is_refused_at_once() -> None:
    assert await of_row({"field": "code", "pattern": "(a+)+"}, code="a" * 2_000_001) == (
        "is longer than the 2000000 characters that its pattern is tried on"
    )


async def test_hostile_texts_do_not_keep_the_event_loop_from_others() -> None:
    feature = rules({"field": "code", "pattern": r"(\w*\d\w*){50}"})
    rows = [{"code": "1a" * 5000 + "!"} for _ in range(12)]
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    found = await problems(feature, Write("insert", rows, None, single=False))
    task.cancel()
    assert len(found) == 12
    assert turns > 5


def test_a_rule_that_does_not_fit_stops_the_start() -> None:
    with pytest.raises(ConfigurationError, match="not a regular expression"):
        rules({"field": "code", "pattern": "["})
