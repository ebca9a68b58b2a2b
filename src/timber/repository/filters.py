"""The filters of one call: what is the same in all calls of their shape, and the values of this one."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from timber.repository.comparing import Comparison
from timber.repository.conditions import Binder
from timber.repository.expressions import as_condition

if TYPE_CHECKING:
    from collections.abc import Container, Hashable, Mapping, Sequence

    from sqlalchemy.sql.elements import ColumnElement

    from timber.repository.conditions import Condition
    from timber.repository.source import Source


class Filters:
    """Conditions with their shape, and values under the names of their parameters.

    Args:
        conditions: what a caller passed: conditions, or SQLAlchemy's expressions.
        equals: columns and the values they are to have; None asks for NULL.
        owner: whose rows alone.
        include_deleted: whether soft-deleted rows are among them.

    Raises:
        ValidationError: a name or value does not fit the model.
    """

    __slots__ = ("_conditions", "_live", "_source", "fixed", "shape", "values")

    def __init__(
        self,
        source: Source,
        conditions: Sequence[object] = (),
        equals: Mapping[str, object] | None = None,
        *,
        owner: str | None = None,
        include_deleted: bool = True,
    ) -> None:
        checked: list[Condition] = [as_condition(condition) for condition in conditions]
        if equals:
            checked += [Comparison(name, "eq", value) for name, value in equals.items()]
        if owner is not None:
            checked.append(Comparison(source.owner_column(), "eq", owner))
        binder = Binder()
        self._source = source
        self._conditions = checked
        self._live = source.hides_deleted(include_deleted)
        self.shape: Hashable = (
            self._live,
            *[condition.collect(source, binder) for condition in checked],
        )
        self.values: dict[str, Any] = binder.values
        self.fixed: bool = binder.fixed
        """Whether the shape tells all; a caller's own SQL expression is compiled anew each time."""

    def fields(self) -> frozenset[str]:
        """The columns that the conditions look at; those of a caller's own SQL expression are not known."""
        return frozenset(name for condition in self._conditions for name in condition.fields())

    def equal_to(self, columns: Container[str]) -> dict[str, Any]:
        """Those of these columns that every row that is met has one value in, and that value."""
        return {
            condition.field: self._source.check(condition.field, condition.value)
            for condition in self._conditions
            if isinstance(condition, Comparison)
            and condition.operator == "eq"
            and not condition.path
            and condition.field in columns
        }

    def build(self) -> list[ColumnElement[Any]]:
        """The conditions in SQL."""
        numbers = itertools.count()
        built = [
            condition.build(self._source, lambda: f"p{next(numbers)}")
            for condition in self._conditions
        ]
        if self._live:
            built.append(self._source.table.c.deleted_at.is_(None))
        return built
