"""The filter language: ``where.status.in_(["active"]) & (where.metadata["symbol"] == "AAPL")``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from timber.repository.conditions import Comparison, Condition, Operator

if TYPE_CHECKING:
    from collections.abc import Iterable

    from timber.repository.source import Source


class Where:
    """The columns of one model, to build conditions from.

    Raises:
        ValidationError: the model has no column of that name.
    """

    def __init__(self, source: Source) -> None:
        self._source = source

    def __getattr__(self, name: str) -> Field:
        if name.startswith("__"):
            raise AttributeError(name)
        self._source.column(name)
        return Field(name)

    def __getitem__(self, name: str) -> Field:
        self._source.column(name)
        return Field(name)


class Field:
    """A column, or with ``[key]`` a path inside a JSON column.

    Values are checked against the column's type when the filter is used. Inside JSON, values are compared as JSON: the
    number 1 is not the string "1".
    """

    __slots__ = ("_name", "_path")

    def __init__(self, name: str, path: tuple[str, ...] = ()) -> None:
        self._name = name
        self._path = path

    def __getitem__(self, key: str | int) -> Field:
        return Field(self._name, (*self._path, str(key)))

    def __eq__(self, value: object) -> Condition:  # type: ignore[override]
        return self._compare("eq", value)

    def __ne__(self, value: object) -> Condition:  # type: ignore[override]
        return self._compare("ne", value)

    def __lt__(self, value: object) -> Condition:
        return self._compare("lt", value)

    def __le__(self, value: object) -> Condition:
        return self._compare("lte", value)

    def __gt__(self, value: object) -> Condition:
        return self._compare("gt", value)

    def __ge__(self, value: object) -> Condition:
        return self._compare("gte", value)

    __hash__ = None  # type: ignore[assignment]

    def eq(self, value: object) -> Condition:
        """Equal; None asks for NULL."""
        return self._compare("eq", value)

    def ne(self, value: object) -> Condition:
        """Different, and not NULL; None asks for anything but NULL."""
        return self._compare("ne", value)

    def lt(self, value: object) -> Condition:
        """Less."""
        return self._compare("lt", value)

    def lte(self, value: object) -> Condition:
        """Less or equal."""
        return self._compare("lte", value)

    def gt(self, value: object) -> Condition:
        """Greater."""
        return self._compare("gt", value)

    def gte(self, value: object) -> Condition:
        """Greater or equal."""
        return self._compare("gte", value)

    def in_(self, values: Iterable[object]) -> Condition:
        """One of the values."""
        return self._compare("in", values if isinstance(values, str) else list(values))

    def not_in(self, values: Iterable[object]) -> Condition:
        """None of the values, and not NULL."""
        return self._compare("not_in", values if isinstance(values, str) else list(values))

    def between(self, lower: object, upper: object) -> Condition:
        """From ``lower`` to ``upper``, both included."""
        return self._compare("between", (lower, upper))

    def like(self, pattern: str) -> Condition:
        """Text that matches the SQL pattern (``%`` any run, ``_`` any character)."""
        return self._compare("like", pattern)

    def ilike(self, pattern: str) -> Condition:
        """Like :meth:`like`, upper and lower case being the same."""
        return self._compare("ilike", pattern)

    def is_null(self) -> Condition:
        """NULL, or in JSON a missing or null key."""
        return self._compare("is_null")

    def not_null(self) -> Condition:
        """Anything but NULL."""
        return self._compare("not_null")

    def contains(self, value: object) -> Condition:
        """JSON that contains this JSON (``@>``), or an array with all these items."""
        if self._path:
            for key in reversed(self._path):
                value = {key: value}
        return Comparison(self._name, "contains", value)

    def _compare(self, operator: Operator, value: object = None) -> Condition:
        return Comparison(self._name, operator, value, self._path)
