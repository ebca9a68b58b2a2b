"""Values as bytes, so that each comes back as the type it went in; equal values have equal bytes, JSON and arrays apart."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import orjson

from timber.dto import encode_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from timber.models.column_types import ColumnType


@dataclass(frozen=True, slots=True)
class Codec:
    """How the values of one column become bytes and come back.

    Attributes:
        tag: the number of the type; part of what is authenticated.
        digested: the bytes that a keyed digest is made of: the same for values that PostgreSQL takes for equal.
    """

    tag: int
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]
    digested: Callable[[Any], bytes]


def codec(column_type: ColumnType, field: str) -> Codec:
    """The codec of a column's type.

    Args:
        field: the name of the column, for what is wrong inside JSON.

    Raises:
        KeyError: there is none.
    """
    kind = column_type.kind
    tag = _TAGS[kind]
    if kind in ("JSON", "JSONB"):

        def encode(value: Any) -> bytes:
            return encode_json(value, field).encode()

        return Codec(tag, encode, orjson.loads, encode)
    if kind == "Numeric":
        return Codec(tag, _decimal_text, _decimal_of(column_type.scale), _shortest_decimal)
    if column_type.item is not None:
        item = codec(column_type.item, field)
        return Codec(tag + item.tag, _array(item), _array_back(item), _array(item))
    encode_, decode = _PLAIN[kind]
    return Codec(tag, encode_, decode, encode_)


_TAGS: Final = {
    "String": 1,  # a text column may grow without its values being written anew
    "Text": 1,
    "Enum": 1,
    "JSON": 2,
    "JSONB": 2,
    "Binary": 3,
    "SmallInteger": 4,
    "Integer": 4,
    "BigInteger": 4,
    "Numeric": 5,
    "Float": 6,
    "Boolean": 7,
    "Date": 8,
    "Time": 9,
    "DateTime": 10,
    "Interval": 11,
    "UUID": 12,
    "Array": 64,  # and the tag of its items
}

SEARCHABLE: Final = frozenset(_TAGS) - {"JSON", "JSONB", "Array", "Float"}
"""The kinds of columns whose values are equal exactly when their bytes are."""
ENCRYPTED: Final = frozenset(_TAGS)
"""The kinds of columns that can be encrypted."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_LONG: Final = struct.Struct(">q")
_DOUBLE: Final = struct.Struct(">d")
_DAY: Final = struct.Struct(">i")
_SPAN: Final = struct.Struct(">iii")
_LENGTH: Final = struct.Struct(">i")
_NULL: Final = -1
_EXACT: Final = Context(prec=200_000)  # more digits than PostgreSQL's numeric has


def _time_bytes(value: time) -> bytes:
    seconds = (value.hour * 60 + value.minute) * 60 + value.second
    return _LONG.pack(seconds * 1_000_000 + value.microsecond)


def _time_back(data: bytes) -> time:
    return (_EPOCH + timedelta(microseconds=_LONG.unpack(data)[0])).time()


def _moment_bytes(value: datetime) -> bytes:
    return _LONG.pack((value - _EPOCH) // _MICROSECOND)


def _moment_back(data: bytes) -> datetime:
    return _EPOCH + timedelta(microseconds=_LONG.unpack(data)[0])


def _span_back(data: bytes) -> timedelta:
    return timedelta(*_SPAN.unpack(data))


_PLAIN: Final[dict[str, tuple[Callable[[Any], bytes], Callable[[bytes], Any]]]] = {
    "String": (str.encode, bytes.decode),
    "Text": (str.encode, bytes.decode),
    "Enum": (str.encode, bytes.decode),
    "Binary": (bytes, bytes),
    "SmallInteger": (_LONG.pack, lambda data: _LONG.unpack(data)[0]),
    "Integer": (_LONG.pack, lambda data: _LONG.unpack(data)[0]),
    "BigInteger": (_LONG.pack, lambda data: _LONG.unpack(data)[0]),
    "Float": (_DOUBLE.pack, lambda data: _DOUBLE.unpack(data)[0]),
    "Boolean": (lambda value: b"\1" if value else b"\0", lambda data: data == b"\1"),
    "Date": (
        lambda value: _DAY.pack(value.toordinal()),
        lambda data: date.fromordinal(_DAY.unpack(data)[0]),
    ),
    "Time": (_time_bytes, _time_back),
    "DateTime": (_moment_bytes, _moment_back),
    "Interval": (
        lambda value: _SPAN.pack(value.days, value.seconds, value.microseconds),
        _span_back,
    ),
    "UUID": (attrgetter("bytes"), lambda data: UUID(bytes=data)),
}


def _decimal_text(value: Decimal | int) -> bytes:
    value = Decimal(value)  # a default of the application's own may be an integer
    return str(value or value.copy_abs()).encode()


def _decimal_of(scale: int | None) -> Callable[[bytes], Decimal]:
    """A number with as many places as its column has, as PostgreSQL gives it."""
    if scale is None:
        return lambda data: Decimal(data.decode())
    places = Decimal(1).scaleb(-scale)
    return lambda data: Decimal(data.decode()).quantize(places, context=_EXACT)


def _shortest_decimal(value: Decimal | int) -> bytes:
    return _decimal_text(Decimal(value).normalize(_EXACT))


def _array(item: Codec) -> Callable[[Any], bytes]:
    def encode(values: Any) -> bytes:
        parts = []
        for value in values:
            data = None if value is None else item.encode(value)
            parts += [_LENGTH.pack(_NULL)] if data is None else [_LENGTH.pack(len(data)), data]
        return b"".join(parts)

    return encode


def _array_back(item: Codec) -> Callable[[bytes], list[Any]]:
    def decode(data: bytes) -> list[Any]:
        return list(_items(data, item))

    return decode


def _items(data: bytes, item: Codec) -> Iterator[Any]:
    at = 0
    while at < len(data):
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        if length == _NULL:
            yield None
            continue
        yield item.decode(data[at : at + length])
        at += length
