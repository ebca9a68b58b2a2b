"""The order of rows, which always ends with their key so that no two of them are equal in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from timber.errors import ValidationError

if TYPE_CHECKING:
    from sqlalchemy.sql.elements import ColumnElement

    from timber.repository.source import Source

OrderBy = str | tuple[str, ...] | list[str] | None
"""Names of columns, ``-`` before one for descending; None is newest first where rows know when they were made."""

_KNOWN_LIMIT = 256
_UNORDERED = frozenset({"JSON", "Vector"})


class Order(NamedTuple):
    """Columns, each with whether it descends; the key is the last."""

    parts: tuple[tuple[str, bool], ...]

    @classmethod
    def of(
        cls, source: Source, order_by: OrderBy, *, default: tuple[str, ...] | None = None
    ) -> Order:
        """The order that a caller names.

        Args:
            default: the order where nothing is said, instead of newest first; unknown columns in it are passed over.

        Raises:
            ValidationError: an unknown column, or one without an order.
        """
        known = source.orders
        asked = (tuple(order_by) if isinstance(order_by, list) else order_by, default)
        try:
            found: Order | None = known.get(asked)
        except TypeError:  # no name of a column cannot be hashed
            found = None
        if found is None:
            found = cls._checked(source, order_by, default)
            if len(known) >= _KNOWN_LIMIT:
                known.clear()
            known[asked] = found
        return found

    @classmethod
    def _checked(cls, source: Source, order_by: OrderBy, default: tuple[str, ...] | None) -> Order:
        if order_by is None:
            wanted = ("-created_at",) if default is None else default
            order_by = tuple(name for name in wanted if name.removeprefix("-") in source.columns)
        names = (order_by,) if isinstance(order_by, str) else order_by
        if not isinstance(names, tuple | list):
            raise ValidationError.of("order_by", "takes names of columns, - for descending")
        parts: dict[str, bool] = {}
        for name in names:
            if not isinstance(name, str):
                raise ValidationError.of("order_by", "takes names of columns, - for descending")
            column = source.plain_column(name.removeprefix("-"), "order rows", "order_by")
            if column.type.kind in _UNORDERED:
                raise ValidationError.of(
                    "order_by", f"{column.name!r} is {column.type}, which has no order"
                )
            # A column that is there twice has nothing left to say the second time.
            parts.setdefault(column.name, name.startswith("-"))
        if source.key not in parts:
            parts[source.key] = bool(parts) and list(parts.values())[-1]
        return cls(tuple(parts.items()))

    @property
    def names(self) -> tuple[str, ...]:
        """Its columns."""
        return tuple(name for name, _ in self.parts)

    def text(self, rows: str) -> str:
        """ORDER BY over rows that are called so; columns have plain names."""
        return ", ".join(f'{rows}."{name}"{" DESC" if down else ""}' for name, down in self.parts)

    def clauses(self, source: Source, *, backwards: bool = False) -> list[ColumnElement[Any]]:
        """ORDER BY."""
        return [
            source.table.c[name].desc() if descending != backwards else source.table.c[name].asc()
            for name, descending in self.parts
        ]


def check_limit(value: object, name: str, highest: int) -> int:
    """A limit within its range.

    Raises:
        ValidationError: it is not an integer from 1 to ``highest``.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= highest:
        raise ValidationError.of(name, f"is to be a whole number from 1 to {highest}")
    return value
