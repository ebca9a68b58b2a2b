"""Values that fit a column, made up from nothing but the number of the row: the same in every run."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
from uuid import NAMESPACE_OID, uuid5

from timber.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from timber.models.column_types import ColumnType
    from timber.models.config import ColumnConfig, ModelConfig
    from timber.models.feature_configs import RuleConfig

_FIRST_DAY: Final = date(2024, 1, 1)
_FIRST_MOMENT: Final = datetime(2024, 1, 1, 12, tzinfo=UTC)
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


def invent(config: ModelConfig, column: ColumnConfig, number: int) -> Any:
    """A value for a column of row ``number``, from 1; two rows have different ones where the type has room for that.

    Raises:
        UsageError: a rule of the model demands what cannot be made up.
    """
    if column.name == config.owner and not column.unique and column.type.kind in ("String", "Text"):
        return _text("user-1", column.type.length)
    rules = [
        rule
        for rule in (config.features.validation.rules if config.features.validation else ())
        if rule.field == column.name
    ]
    choices = next((rule.choices for rule in rules if rule.choices), None)
    if choices:
        return choices[(number - 1) % len(choices)]
    if any(rule.pattern is not None for rule in rules):
        raise UsageError(
            f"{config.name}.{column.name} has to match a pattern, and nothing is made up for that: give a value for it."
        )
    value = _of_type(column.type, column.name, number)
    for rule in rules:
        value = _within(value, rule)
    return value


def _of_type(kind: ColumnType, name: str, number: int) -> Any:
    if kind.kind == "Enum":
        return kind.labels[(number - 1) % len(kind.labels)]
    if kind.item is not None:
        return [_of_type(kind.item, name, number)]
    if kind.kind in ("String", "Text"):
        return _text(f"{name}-{number}", kind.length, number)
    if kind.kind == "Numeric":
        return _numeric(kind, number)
    if kind.kind == "Vector":
        return _vector(kind.length or 1, number)
    return _MAKERS[kind.kind](name, number)


def _text(text: str, length: int | None, number: int = 0) -> str:
    """The text, or where it is too long the number in as few letters as can be."""
    if length is None or len(text) <= length:
        return text
    letters = ""
    while number:
        number, digit = divmod(number, len(_DIGITS))
        letters = _DIGITS[digit] + letters
    return (letters or text)[-length:]


def _numeric(kind: ColumnType, number: int) -> Decimal:
    if kind.precision is None:
        return Decimal(number)
    whole = kind.precision - (kind.scale or 0)
    if whole > 0:
        return Decimal(number % 10**whole)
    return Decimal(number % 10**kind.precision).scaleb(-(kind.scale or 0))


def _vector(length: int, number: int) -> list[float]:
    """A direction of its own, of length 1."""
    parts = [math.sin(number * (place + 1)) for place in range(length)]
    size = math.sqrt(sum(part * part for part in parts)) or 1.0
    return [part / size for part in parts]


_MAKERS: Final[dict[str, Callable[[str, int], Any]]] = {
    "Integer": lambda _, number: number,
    "BigInteger": lambda _, number: number,
    "SmallInteger": lambda _, number: number % 32_768,
    "Float": lambda _, number: float(number),
    "Boolean": lambda _, number: number % 2 == 0,
    "Date": lambda _, number: _FIRST_DAY + timedelta(days=number),
    "Time": lambda _, number: time(number // 3600 % 24, number // 60 % 60, number % 60),
    "DateTime": lambda _, number: _FIRST_MOMENT + timedelta(minutes=number),
    "Interval": lambda _, number: timedelta(minutes=number),
    "UUID": lambda name, number: uuid5(NAMESPACE_OID, f"{name}-{number}"),
    "Binary": lambda name, number: f"{name}-{number}".encode(),
    "JSON": lambda name, number: {name: number},
    "JSONB": lambda name, number: {name: number},
}


def _within(value: Any, rule: RuleConfig) -> Any:
    """The value, moved to where the rule lets it be."""
    if isinstance(value, str) and rule.min_length is not None:
        value = value.ljust(rule.min_length, "x")
    if isinstance(value, str) and rule.max_length is not None:
        value = value[-rule.max_length :] if rule.max_length else ""
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        kind = type(value)
        if rule.min is not None and value < rule.min:
            value = kind(rule.min)
        if rule.max is not None and value > rule.max:
            value = kind(rule.max)
    return value
