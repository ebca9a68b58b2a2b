"""Opaque cursors into an ordered list (keyset pagination): where a row stands, and which way to go on from it."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import orjson
import sqlalchemy as sa

from timber.database.statements import parameter
from timber.errors import ValidationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.sql.elements import ColumnElement

    from timber.repository.ordering import Order
    from timber.repository.source import Source

Direction = Literal["next", "previous"]

_DIGEST_BYTES = 8


class Mark(NamedTuple):
    """A place in a list.

    ``inclusive`` says that the row that stood there is itself among those to come.
    """

    direction: Direction
    inclusive: bool
    values: tuple[Any, ...]


class _Codec(NamedTuple):
    """A key value as JSON and back, exactly."""

    write: Callable[[Any], Any]
    read: Callable[[Any], Any]


def _same(value: Any) -> Any:
    return value


_PLAIN: Final = _Codec(_same, _same)
_CODECS: Final[dict[str, _Codec]] = {
    # JSON knows neither NaN nor infinity.
    "Float": _Codec(repr, float),
    "Numeric": _Codec(str, Decimal),
    "UUID": _Codec(str, _same),
    "Date": _Codec(date.isoformat, date.fromisoformat),
    "Time": _Codec(time.isoformat, time.fromisoformat),
    "DateTime": _Codec(datetime.isoformat, datetime.fromisoformat),
    "Interval": _Codec(
        lambda span: [span.days, span.seconds, span.microseconds], lambda parts: timedelta(*parts)
    ),
    "Binary": _Codec(bytes.hex, bytes.fromhex),
}
_WITHOUT_PLACE: Final = frozenset({"JSON", "JSONB", "Array", "Vector"})


def check_for_cursor(source: Source, order: Order) -> None:
    """Refuse an order that a cursor cannot follow.

    Raises:
        ValidationError: a column of it may be NULL, or holds JSON or a list.
    """
    for name in order.names:
        column = source.column(name)
        if column.nullable:
            raise ValidationError.of(
                "order_by", f"{name!r} may be NULL, and a cursor cannot pass NULL; use page()"
            )
        if column.type.kind in _WITHOUT_PLACE:
            raise ValidationError.of(
                "order_by", f"{name!r} is {column.type}, which a cursor cannot hold; use page()"
            )


def encode_cursor(source: Source, order: Order, direction: Direction, record: Any) -> str:
    """An opaque cursor at this row."""
    return write_mark(
        source,
        order,
        Mark(direction, inclusive=False, values=tuple(record[name] for name in order.names)),
    )


def write_mark(source: Source, order: Order, mark: Mark) -> str:
    """A place as an opaque cursor."""
    values = [
        _codec(source, name).write(value)
        for name, value in zip(order.names, mark.values, strict=True)
    ]
    content = orjson.dumps([mark.direction == "next", mark.inclusive, values])
    digest = _digest(source, order, content)
    return base64.urlsafe_b64encode(digest + content).decode().rstrip("=")


def decode_cursor(source: Source, order: Order, cursor: object) -> Mark:
    """The place that a cursor tells.

    Raises:
        ValidationError: it is damaged, or belongs to another order or table.
    """
    problem = ValidationError.of(
        "cursor", "is not one of this list: use next_cursor or previous_cursor as it was given"
    )
    if not isinstance(cursor, str):
        raise problem
    try:
        data = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise problem from None
    digest, content = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    if digest != _digest(source, order, content):
        raise problem
    # From here on it is what this repository wrote, or what somebody made on purpose.
    try:
        onwards, inclusive, values = orjson.loads(content)
        read = [
            source.check(name, _codec(source, name).read(value))
            for name, value in zip(order.names, values, strict=True)
        ]
    except (ValueError, TypeError, ArithmeticError, ValidationError):
        raise problem from None
    return Mark("next" if onwards else "previous", inclusive=bool(inclusive), values=tuple(read))


def _codec(source: Source, name: str) -> _Codec:
    return _CODECS.get(source.column(name).type.kind, _PLAIN)


def _digest(source: Source, order: Order, content: bytes) -> bytes:
    """It tells damage, and another list; it keeps no secret: a cursor opens nothing that its list does not."""
    of = f"{source.config.table}:{order.parts}".encode()
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES, key=_key_of(of)).digest()


def _key_of(text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=32).digest()


def beyond(
    source: Source, order: Order, mark: Mark, names: Callable[[], str]
) -> ColumnElement[Any]:
    """The rows behind a place, in its direction; one comparison of rows where all columns go the same way."""
    columns = [source.table.c[name] for name in order.names]
    values = [parameter(names(), column.type) for column in columns]
    falling = [descending == (mark.direction == "next") for _, descending in order.parts]
    if len(set(falling)) == 1:
        whole: ColumnElement[Any] = _past(
            sa.tuple_(*columns), sa.tuple_(*values), falling[0], mark.inclusive
        )
        return whole
    alternatives: list[ColumnElement[Any]] = []
    for index, column in enumerate(columns):
        # Only in the last column, the key, may a row be the one that the place was taken at.
        inclusive = mark.inclusive and index == len(columns) - 1
        same = [columns[i] == values[i] for i in range(index)]
        alternatives.append(sa.and_(*same, _past(column, values[index], falling[index], inclusive)))
    return sa.or_(*alternatives)


def _past(left: Any, right: Any, falling: bool, inclusive: bool) -> Any:  # noqa: FBT001  # one of four signs
    if inclusive:
        return left <= right if falling else left >= right
    return left < right if falling else left > right


def turned(mark: Mark) -> Mark:
    """The same place looked at the other way, so that nothing is left out between the two."""
    return mark._replace(
        direction="previous" if mark.direction == "next" else "next", inclusive=not mark.inclusive
    )


def page_cursors(
    source: Source, order: Order, mark: Mark | None, rows: Sequence[Any], *, more: bool
) -> tuple[str | None, str | None]:
    """The cursors after and before the rows of a page in their order; ``more`` says that the list goes on behind them.

    Where the rows around a cursor have been deleted, the page is empty and its one cursor leads back.
    """
    direction = mark.direction if mark is not None else "next"
    back = write_mark(source, order, turned(mark)) if mark is not None else None
    if direction == "next":
        ahead = encode_cursor(source, order, "next", rows[-1]) if more else None
        behind = encode_cursor(source, order, "previous", rows[0]) if rows and mark else back
        return ahead, behind
    behind = encode_cursor(source, order, "previous", rows[0]) if more else None
    return encode_cursor(source, order, "next", rows[-1]) if rows else back, behind
