"""What a rule for values demands, held against its column's type: read once, so that a mistake shows at the start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pydantic

from timber.models.column_types import INTEGER_KINDS, JSON_KINDS, TEXT_KINDS
from timber.models.messages import explain
from timber.models.patterns import Pattern
from timber.models.values import type_adapter

if TYPE_CHECKING:
    from timber.models.column_types import ColumnType
    from timber.models.columns import ColumnConfig
    from timber.models.config import ModelConfig
    from timber.models.feature_configs import RuleConfig

Problem = tuple[str, tuple[str | int, ...]]
"""A sentence about a rule, and the key of it that it is about."""

CROSS_FIELD: Final = ("less_than", "less_or_equal", "required_with")

_NUMBERS: Final = INTEGER_KINDS | {"Float", "Numeric"}
_ORDERED: Final = _NUMBERS | {"Date", "Time", "DateTime", "Interval"}
_MEASURED: Final = TEXT_KINDS | JSON_KINDS | {"Binary", "Array"}
_TEXTUAL: Final = TEXT_KINDS | {"Enum"}


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule whose values have the type of its column.

    Attributes:
        of_items: whether ``pattern`` and ``choices`` are about the items of a list.
    """

    config: RuleConfig
    field: str
    minimum: Any
    maximum: Any
    choices: tuple[Any, ...] | None
    pattern: Pattern | None
    of_items: bool

    @property
    def others(self) -> tuple[str, ...]:
        """The other columns that it looks at."""
        names = (getattr(self.config, key) for key in CROSS_FIELD)
        return tuple(name for name in names if name is not None)


def read_rule(rule: RuleConfig, model: ModelConfig) -> tuple[Rule | None, list[Problem]]:
    """The rule, or what does not fit its columns, which are all there."""
    reading = _Reading(rule, model)
    read = reading.rule()
    return (None, reading.problems) if reading.problems else (read, [])


class _Reading:
    def __init__(self, rule: RuleConfig, model: ModelConfig) -> None:
        assert rule.field is not None
        self._rule = rule
        self._model = model
        self._column = model.column(rule.field)
        self._item = self._column.type.item or self._column.type
        self.problems: list[Problem] = []

    def _wrong(self, message: str, *below: str | int) -> None:
        self.problems.append((message, below))

    def rule(self) -> Rule:
        rule, column = self._rule, self._column
        if column.generated is not None:
            message = f"{column.name} is generated: PostgreSQL makes it after the rules"
            self._wrong(message, "field")
        self._lengths()
        bounds = [self._bound(key) for key in ("min", "max")]
        if None not in bounds and bounds[0] > bounds[1] and not self.problems:
            self._wrong("min is above max", "min")
        for key in CROSS_FIELD:
            self._other(key)
        return Rule(
            config=rule,
            field=column.name,
            minimum=bounds[0],
            maximum=bounds[1],
            choices=self._choices(),
            pattern=self._pattern(),
            of_items=column.type.item is not None,
        )

    def _lengths(self) -> None:
        rule, column = self._rule, self._column
        for key in ("min_length", "max_length"):
            if getattr(rule, key) is not None and column.type.kind not in _MEASURED:
                self._wrong(f"{column.name} is {column.type}, which has no length", key)
        if rule.max_length is not None and (rule.min_length or 0) > rule.max_length:
            self._wrong("min_length is above max_length", "min_length")

    def _bound(self, key: str) -> Any:
        value = getattr(self._rule, key)
        if value is None:
            return None
        column = self._column
        if column.type.kind not in _ORDERED:
            self._wrong(f"{column.name} is {column.type}: {key} is about numbers and times", key)
            return None
        try:
            return _typed(value, column.type)
        except ValueError as error:
            self._wrong(f"{key} does not fit {column.type}: {error}", key)
            return None

    def _choices(self) -> tuple[Any, ...] | None:
        if self._rule.choices is None:
            return None
        read = []
        for position, choice in enumerate(self._rule.choices):
            try:
                read.append(_typed(choice, self._item))
            except ValueError as error:
                message = f"a choice does not fit {self._item}: {error}"
                self._wrong(message, "choices", position)
        return tuple(read)

    def _pattern(self) -> Pattern | None:
        if self._rule.pattern is None:
            return None
        column = self._column
        if self._item.kind not in _TEXTUAL:
            self._wrong(f"{column.name} is {column.type}: a pattern is about text", "pattern")
            return None
        try:
            return Pattern(self._rule.pattern)
        except ValueError as error:
            self._wrong(f"not a regular expression: {error}", "pattern")
            return None

    def _other(self, key: str) -> None:
        name = getattr(self._rule, key)
        if name is None:
            return
        column, other = self._column, self._model.column(name)
        if name == column.name:
            self._wrong(f"{name} is held against itself", key)
        elif made := _made_by_postgresql(column, other):
            self._wrong(f"{made}: PostgreSQL makes it after the rules", key)
        elif key != "required_with" and not _comparable(column.type, other.type):
            message = (
                f"{column.name} is {column.type} and {name} is {other.type}: they have no order"
            )
            self._wrong(message, key)


def _made_by_postgresql(*columns: ColumnConfig) -> str | None:
    for column in columns:
        if column.generated is not None:
            return f"{column.name} is generated"
        if column.identity:
            return f"{column.name} is an identity"
        if column.server_default is not None and column.default is None:
            return f"{column.name} has only a server_default"
    return None


def _comparable(one: ColumnType, other: ColumnType) -> bool:
    if one.kind in _NUMBERS:
        return other.kind in _NUMBERS
    if one.kind in TEXT_KINDS:
        return other.kind in TEXT_KINDS
    return one.kind in _ORDERED and one.kind == other.kind


def _typed(value: Any, column_type: ColumnType) -> Any:
    """A value of a model file as its column would hold it.

    Raises:
        ValueError: it does not fit.
    """
    if column_type.kind == "Numeric" and isinstance(value, float):
        value = str(value)  # YAML has no decimal numbers; its shortest text is what was written
    try:
        return type_adapter(column_type, nullable=False).validate_python(value)
    except pydantic.ValidationError as error:
        raise ValueError(explain(error.errors()[0])) from None
