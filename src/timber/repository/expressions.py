"""SQLAlchemy expressions as filters."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeGuard

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnClause
from sqlalchemy.sql.selectable import ReturnsRows
from sqlalchemy.sql.visitors import replacement_traverse

from timber.errors import ValidationError
from timber.repository.conditions import Binder, Condition

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from sqlalchemy.sql.elements import ColumnElement
    from sqlalchemy.sql.visitors import ExternallyTraversible

    from timber.repository.source import Source


_SYSTEM_COLUMNS: Final = ("tableoid", "xmin", "cmin", "xmax", "cmax", "ctid")


class Expression(Condition):
    """A SQLAlchemy expression, taken as it is and compiled anew each time."""

    __slots__ = ("expression",)

    def __init__(self, expression: ColumnElement[Any]) -> None:
        self.expression: ColumnElement[Any] = expression

    def collect(self, source: Source, binder: Binder) -> Hashable:
        for element in _outside_subqueries(self.expression):
            if isinstance(element, sa.Column) and element.table not in (source.table, None):
                raise ValidationError.of(
                    "filters",
                    f"an expression uses columns of another table than {source.table.name}; put them into a subquery",
                )
            if isinstance(element, sa.Column) and element.name in source.transformed:
                raise ValidationError.of(
                    "filters",
                    f"an expression reads {element.name}, which is encrypted; compare it with repository.where.{element.name}",
                )
            if _is_unknown(element, source.table):
                raise ValidationError.of(
                    "filters",
                    f"an expression names the column {element.name!r}, which {source.table.name} does not have",
                )
        for element in sa.sql.visitors.iterate(self.expression):
            if isinstance(element, sa.BindParameter) and element.required:
                raise ValidationError.of("filters", "an expression has a parameter without a value")
            if isinstance(element, sa.BindParameter) and _is_naive(element):
                raise ValidationError.of(
                    "filters",
                    "an expression has a datetime without a timezone, which is another moment in each place; take an aware "
                    "one, such as datetime.now(UTC)",
                )
        binder.fixed = False
        return None

    def fields(self) -> Iterator[str]:
        yield from ()

    def build(self, source: Source, names: Callable[[], str]) -> ColumnElement[Any]:  # noqa: ARG002  # it has its own
        if not any(_is_named(element) for element in sa.sql.visitors.iterate(self.expression)):
            return self.expression
        renamed: ColumnElement[Any] = replacement_traverse(self.expression, {}, _with_own_name)
        return renamed


def _is_unknown(element: object, table: sa.Table) -> TypeGuard[ColumnClause[Any]]:
    """Whether it is a column by its name alone, and no row of the table has one of that name."""
    return (
        isinstance(element, ColumnClause)
        and not element.is_literal
        and element.table is None
        and element.name not in table.columns
        and element.name not in (table.name, *_SYSTEM_COLUMNS)
    )


def _is_naive(parameter: sa.BindParameter[Any]) -> bool:
    """Whether a column that holds moments is compared with a reading of some clock."""
    if not (isinstance(parameter.type, sa.DateTime) and parameter.type.timezone):
        return False
    value: object = parameter.value
    values = value if isinstance(value, list | tuple | set) else (value,)
    return any(isinstance(one, datetime) and one.tzinfo is None for one in values)


def _is_named(element: object) -> bool:
    return isinstance(element, sa.BindParameter) and not element.unique


def _with_own_name(element: Any, **_: Any) -> Any:
    """A parameter that a caller has named, under a name that no other has: ours would share its value."""
    if not _is_named(element):
        return None
    return sa.bindparam(
        element.key,
        element.value,
        type_=element.type,
        unique=True,
        callable_=element.callable,
        expanding=element.expanding,
        literal_execute=element.literal_execute,
    )


def _outside_subqueries(expression: ColumnElement[Any]) -> Iterator[ExternallyTraversible]:
    """The parts of an expression that the statement around it has to have tables for."""
    pending: list[ExternallyTraversible] = [expression]
    while pending:
        element = pending.pop()
        yield element
        pending += [child for child in element.get_children() if not isinstance(child, ReturnsRows)]


def as_condition(condition: object) -> Condition:
    """A filter that a caller passed, as a condition.

    Raises:
        ValidationError: it is neither a condition nor a SQLAlchemy expression.
    """
    if isinstance(condition, Condition):
        return condition
    element = getattr(condition, "__clause_element__", None)
    if element is not None:
        condition = element()
    if isinstance(condition, sa.ColumnElement):
        return Expression(condition)
    raise ValidationError.of(
        "filters", "a filter is an expression like repository.where.status == 'active'"
    )
