"""Order of rows, and opaque cursors into it (keyset pagination)."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import orjson
import sqlalchemy as sa

from timber.database.statements import parameter
from timber.dto import encode_json
from timber.errors import ValidationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.sql.elements import ColumnElement

    from timber.repository.source import Source

Direction = Literal["next", "previous"]
OrderBy = str | tuple[str, ...] | list[str] | None


class Order(NamedTuple):
    """Columns with whether each descends; the key is the last, so that no two rows are equal in it."""

    parts: tuple[tuple[str, bool], ...]

    @classmethod
    def of(cls, source: Source, order_by: OrderBy) -> Order:
        """The order that a caller names: columns, ``-`` for descending.

        Raises:
            ValidationError: an unknown column.
        """
        if order_by is None:
            order_by = ("-created_at",) if "created_at" in source.config.column_names else ()
        names = (order_by,) if isinstance(order_by, str) else tuple(order_by)
        parts: list[tuple[str, bool]] = []
        for name in names:
            if not isinstance(name, str):
                raise ValidationError.of("order_by", "takes names of columns, - for descending")
            descending, name = name.startswith("-"), name.removeprefix("-")
            if name not in source.config.column_names:
                raise ValidationError.of("order_by", f"{name!r} is not a column of {source.name}")
            parts.append((name, descending))
        if source.key not in [name for name, _ in parts]:
            parts.append((source.key, bool(parts) and parts[-1][1]))
        return cls(tuple(parts))

    def clauses(self, source: Source, *, backwards: bool = False) -> list[ColumnElement[Any]]:
        """ORDER BY."""
        return [
            source.table.c[name].desc() if descending != backwards else source.table.c[name].asc()
            for name, descending in self.parts
        ]

    def beyond(
        self, source: Source, direction: Direction, names: Callable[[], str]
    ) -> ColumnElement[Any]:
        """The rows behind a cursor, in the direction; one comparison of rows where all columns go the same way."""
        columns = [source.table.c[name] for name, _ in self.parts]
        marks = [parameter(names(), column.type) for column in columns]
        downwards = [descending == (direction == "next") for _, descending in self.parts]
        if len(set(downwards)) == 1:
            left, right = sa.tuple_(*columns), sa.tuple_(*marks)
            return left < right if downwards[0] else left > right
        alternatives: list[ColumnElement[Any]] = []
        for index, (column, mark) in enumerate(zip(columns, marks, strict=True)):
            ahead = column < mark if downwards[index] else column > mark
            same = [columns[i] == marks[i] for i in range(index)]
            alternatives.append(sa.and_(*same, ahead))
        return sa.or_(*alternatives)

    def check_for_cursor(self, source: Source) -> None:
        """A cursor cannot pass rows that are NULL in the order."""
        for name, _ in self.parts:
            if source.column(name).nullable:
                raise ValidationError.of(
                    "order_by", f"{name!r} may be NULL, and a cursor cannot pass NULL; use page()"
                )

    def fingerprint(self, source: Source) -> str:
        text = f"{source.config.table}:{self.parts}"
        return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def encode_cursor(source: Source, order: Order, direction: Direction, record: Any) -> str:
    """An opaque cursor at this row."""
    values = [_json_value(record[name]) for name, _ in order.parts]
    text = encode_json([order.fingerprint(source), direction, values])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(source: Source, order: Order, cursor: object) -> tuple[Direction, list[Any]]:
    """The direction of a cursor and the row it stands at.

    Raises:
        ValidationError: it is damaged, or belongs to another order or table.
    """
    problem = "is not a cursor of this list: use next_cursor or previous_cursor as it was given"
    if not isinstance(cursor, str) or len(cursor) > 4096:
        raise ValidationError.of("cursor", problem)
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        content = orjson.loads(text)
    except (binascii.Error, ValueError):
        raise ValidationError.of("cursor", problem) from None
    match content:
        case [str(mark), "next" | "previous" as direction, list(values)] if (
            mark == order.fingerprint(source) and len(values) == len(order.parts)
        ):
            pass
        case _:
            raise ValidationError.of("cursor", problem)
    try:
        return direction, [
            source.check(name, value) for (name, _), value in zip(order.parts, values, strict=True)
        ]
    except ValidationError:
        raise ValidationError.of("cursor", problem) from None


def _json_value(value: Any) -> Any:
    """A key value as JSON that the column's own check reads back exactly."""
    if isinstance(value, str | int | float | bool):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def check_limit(value: object, name: str, highest: int) -> int:
    """A limit within its range.

    Raises:
        ValidationError: it is not an integer from 1 to ``highest``.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= highest:
        raise ValidationError.of(name, f"is to be a whole number from 1 to {highest}")
    return value
