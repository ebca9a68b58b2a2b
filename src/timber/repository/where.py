"""The filter language: ``where.status.in_(["active"]) & (where.metadata["symbol"] == "AAPL")``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from timber.repository.comparing import Comparison
from timber.repository.conditions import Condition

if TYPE_CHECKING:
    from collections.abc import Iterable

    from timber.repository.comparing import Operator
    from timber.repository.source import Source


class Where:
    """The columns of one model, to build conditions from.

    Raises:
        ValidationError: the model has no column of that name.
    """

    def __init__(self, source: Source) -> None:
        self._source = source

    def __getattr__(self, name: str) -> Field:
        if name.startswith("_"):  # as copy and pickle ask for; no column begins so
            raise AttributeError(name)
        self._source.column(name)
        return Field(name)

    def __getitem__(self, name: str) -> Field:
        self._source.column(name)
        return Field(name)


class Field:
    """A column, or with ``[key]`` a path inside a JSON column.

    Values are checked against the column's type when the filter is used. Inside JSON, values are compared as JSON: the
    number 1 is not the string "1", and ``<`` and its like compare values of the same type only.
    """

    __slots__ = ("_name", "_path")

    def __init__(self, name: str, path: tuple[str | int, ...] = ()) -> None:
        self._name = name
        self._path = path

    def __getitem__(self, key: str | int) -> Field:
        return Field(self._name, (*self._path, key))

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

    __hash__: ClassVar[None] = None  # type: ignore[assignment]
    # With [] alone Python would take a field for a sequence without an end.
    __iter__: ClassVar[None] = None
    __contains__: ClassVar[None] = None

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
        return self._compare("in", _kept(values))

    def not_in(self, values: Iterable[object]) -> Condition:
        """None of the values; NULL is left out, as it may be any of them."""
        return self._compare("not_in", _kept(values))

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
        return self._compare("contains", value)

    def _compare(self, operator: Operator, value: object = None) -> Condition:
        return Comparison(self._name, operator, value, self._path)


def _kept(values: Any) -> Any:
    """An iterator can be gone through once; what cannot at all is refused when the filter is used."""
    return list(values) if isinstance(values, Iterator) else values
