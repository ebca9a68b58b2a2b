"""Filters as data: checked against the model, and split into a shape to compile once and values to send."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from timber.database.statements import parameter
from timber.errors import ValidationError

if TYPE_CHECKING:
    from sqlalchemy.sql.elements import ColumnElement

    from timber.repository.source import Source

Operator = Literal[
    "eq",
    "ne",
    "lt",
    "lte",
    "gt",
    "gte",
    "in",
    "not_in",
    "between",
    "like",
    "ilike",
    "is_null",
    "not_null",
    "contains",
]
Element = Any  # sqlalchemy.ColumnElement[Any]: the operators below make many kinds of it


class Binder:
    """Collects the values of conditions under the names that their parameters get."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.fixed = True
        """False once a condition has no shape that tells all of it."""

    def add(self, value: object) -> str:
        name = f"p{len(self.values)}"
        self.values[name] = value
        return name


class Condition:
    """Something a row does or does not meet; combine with ``&``, ``|`` and ``~``."""

    def __and__(self, other: Condition) -> Condition:
        return Junction("and", (self, _checked(other)))

    def __or__(self, other: Condition) -> Condition:
        return Junction("or", (self, _checked(other)))

    def __invert__(self) -> Condition:
        return Negation(self)

    def __bool__(self) -> bool:
        raise TypeError(
            "a condition has no truth value: combine conditions with & | ~, not with and, or, not"
        )

    def collect(self, source: Source, binder: Binder) -> Hashable:
        """Check the condition and put its values into ``binder``; what is left is its shape."""
        raise NotImplementedError

    def build(self, source: Source, names: Callable[[], str]) -> ColumnElement[Any]:
        """The condition in SQL, with parameters in the order of :meth:`collect`."""
        raise NotImplementedError


def _checked(other: object) -> Condition:
    if not isinstance(other, Condition):
        raise ValidationError.of("filters", "a condition can only be combined with another one")
    return other


class Junction(Condition):
    """All or any of several conditions."""

    def __init__(self, word: Literal["and", "or"], parts: Sequence[Condition]) -> None:
        self.word = word
        self.parts = parts

    def collect(self, source: Source, binder: Binder) -> Hashable:
        return (self.word, *(part.collect(source, binder) for part in self.parts))

    def build(self, source: Source, names: Callable[[], str]) -> ColumnElement[Any]:
        join = sa.and_ if self.word == "and" else sa.or_
        return join(*(part.build(source, names) for part in self.parts))


class Negation(Condition):
    """What does not meet a condition; where that says NULL, neither does this."""

    def __init__(self, part: Condition) -> None:
        self.part = part

    def collect(self, source: Source, binder: Binder) -> Hashable:
        return ("not", self.part.collect(source, binder))

    def build(self, source: Source, names: Callable[[], str]) -> ColumnElement[Any]:
        return sa.not_(self.part.build(source, names))


class Comparison(Condition):
    """One field, or a path inside a JSON field, held against a value."""

    def __init__(
        self, field: str, operator: Operator, value: object = None, path: tuple[str, ...] = ()
    ) -> None:
        if value is None and operator in ("eq", "ne"):
            operator = "is_null" if operator == "eq" else "not_null"
        self.field = field
        self.operator: Operator = operator
        self.value = value
        self.path = path

    def collect(self, source: Source, binder: Binder) -> Hashable:
        column = source.column(self.field)
        if self.path:
            if not column.is_json:
                raise ValidationError.of(self.field, "is not a JSON column: it has no paths")
            binder.add(list(self.path))
        value: Any = self.value
        operator = self.operator
        if operator in ("like", "ilike"):
            if not self.path and column.type.kind not in ("String", "Text", "Enum"):
                raise ValidationError.of(self.field, f"is not text: it has no {operator}")
            binder.add(source.check_text(self.field, value))
        elif operator == "contains":
            self._collect_contained(source, binder)
        elif operator in ("in", "not_in"):
            if isinstance(value, str | bytes) or not isinstance(value, Sequence | set | frozenset):
                raise ValidationError.of(self.field, f"{operator} takes a list of values")
            binder.add([self._check(source, item) for item in value])
        elif operator == "between":
            if not isinstance(value, tuple | list) or len(value) != 2:
                raise ValidationError.of(self.field, "between takes a lower and an upper value")
            for bound in value:
                binder.add(self._check(source, bound))
        elif operator not in ("is_null", "not_null"):
            binder.add(self._check(source, value))
        return (self.field, operator, bool(self.path))

    def _collect_contained(self, source: Source, binder: Binder) -> None:
        column = source.column(self.field)
        if column.is_json:
            binder.add(source.check_json(self.field, self.value))
        elif column.type.kind == "Array":
            binder.add(source.check(self.field, self.value))
        else:
            raise ValidationError.of(
                self.field, "is neither JSON nor an array: it contains nothing"
            )

    def _check(self, source: Source, value: object) -> Any:
        if value is None:
            raise ValidationError.of(
                self.field, f"{self.operator} cannot compare with None; use is_null()"
            )
        if self.path:
            return source.check_json(self.field, value)
        return source.check(self.field, value)

    def build(self, source: Source, names: Callable[[], str]) -> ColumnElement[Any]:
        column: Element = source.table.c[self.field]
        kind: Any = column.type
        if self.path:
            arrow = "#>>" if self.operator in ("like", "ilike") else "#>"
            kind = sa.Text() if arrow == "#>>" else JSONB(none_as_null=False)
            column = sa.type_coerce(column, JSONB).op(arrow, return_type=kind)(
                parameter(names(), ARRAY(sa.Text))
            )
        if self.operator in ("is_null", "not_null"):
            return self._build_null(column)

        def value(type_: Any = None) -> Element:
            return parameter(names(), type_ if type_ is not None else kind)

        return _BUILDERS[self.operator](column, value, kind)

    def _build_null(self, column: Element) -> ColumnElement[Any]:
        missing: Element = column.is_(None)
        if self.path:  # a JSON null and a missing key are the same to a caller
            missing = sa.func.coalesce(column, sa.text("'null'::jsonb")) == sa.text("'null'::jsonb")
        return missing if self.operator == "is_null" else sa.not_(missing)


_BUILDERS: dict[str, Callable[[Element, Callable[..., Element], Any], Element]] = {
    "eq": lambda column, value, _: column == value(),
    "ne": lambda column, value, _: column != value(),
    "lt": lambda column, value, _: column < value(),
    "lte": lambda column, value, _: column <= value(),
    "gt": lambda column, value, _: column > value(),
    "gte": lambda column, value, _: column >= value(),
    # One parameter whatever the number of values, so that the text stays the same.
    "in": lambda column, value, kind: column == sa.any_(value(ARRAY(kind))),
    "not_in": lambda column, value, kind: column != sa.all_(value(ARRAY(kind))),
    "between": lambda column, value, _: column.between(value(), value()),
    "like": lambda column, value, _: column.like(value(sa.Text())),
    "ilike": lambda column, value, _: column.ilike(value(sa.Text())),
    "contains": lambda column, value, kind: column.op("@>", is_comparison=True)(
        value(kind if isinstance(kind, ARRAY) else JSONB(none_as_null=False))
    ),
}


class Expression(Condition):
    """A SQLAlchemy expression, taken as it is and compiled anew each time."""

    def __init__(self, expression: ColumnElement[Any]) -> None:
        self.expression = expression

    def collect(self, source: Source, binder: Binder) -> Hashable:
        tables = {source.table, *_tables_of(self.expression)}
        if tables != {source.table}:
            raise ValidationError.of(
                "filters", f"an expression uses columns of another table than {source.table.name}"
            )
        binder.fixed = False
        return None

    def build(self, source: Source, names: Callable[[], str]) -> ColumnElement[Any]:
        return self.expression


def _tables_of(expression: ColumnElement[Any]) -> set[Any]:
    return {
        element.table
        for element in sa.sql.visitors.iterate(expression)
        if isinstance(element, sa.Column) and element.table is not None
    }


def as_condition(condition: object) -> Condition:
    """A filter that a caller passed, as a condition.

    Raises:
        ValidationError: it is neither a condition nor an SQLAlchemy expression.
    """
    if isinstance(condition, Condition):
        return condition
    if hasattr(condition, "__clause_element__"):
        condition = condition.__clause_element__()
    if isinstance(condition, sa.ColumnElement):
        return Expression(condition)
    raise ValidationError.of(
        "filters", "a filter is an expression like repository.where.status == 'active'"
    )
