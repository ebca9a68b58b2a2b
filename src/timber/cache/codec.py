"""Rows as they are stored, frozen for the memory and packed for Redis.

Frozen, a row consists of values that cannot be changed, JSON among them as bytes; thawed, it is a dictionary of the
reader's own. Packed, it is JSON behind a version, the schema's fingerprint and a checksum. There is no pickle: a payload
can hold nothing but values.
"""

from __future__ import annotations

import math
from base64 import b64decode, b64encode
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar
from uuid import UUID
from zlib import crc32

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from timber.models.column_types import ColumnType

F = TypeVar("F")
Frozen = tuple[Any, ...]

_VERSION: Final = b"\x01"
_FINGERPRINT_BYTES: Final = 6
_HEAD: Final = 1 + _FINGERPRINT_BYTES + 4
_BROKEN: Final = (ValueError, TypeError, KeyError, IndexError, ArithmeticError, AttributeError)


class PayloadError(Exception):
    """The payload is corrupted, truncated, or was not written for this schema."""


class Codec(Protocol[F]):
    """How one kind of value is frozen and packed."""

    fingerprint: str

    def freeze(self, value: Any) -> F:
        """What a load gave, as something that nobody can change."""
        raise NotImplementedError

    def encode(self, frozen: F) -> bytes:
        """The payload for Redis."""
        raise NotImplementedError

    def decode(self, payload: bytes) -> F:
        """The frozen value out of a payload."""
        raise NotImplementedError

    def thaw(self, frozen: F) -> Any:
        """A value of the reader's own."""
        raise NotImplementedError


class _Sealed(Generic[F]):
    """What every payload begins with."""

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint
        digits = (fingerprint + "0" * 2 * _FINGERPRINT_BYTES)[: 2 * _FINGERPRINT_BYTES]
        self._mark = _VERSION + bytes.fromhex(digits)

    def encode(self, frozen: F) -> bytes:
        body = orjson.dumps(self._pack(frozen))
        return b"%b%b%b" % (self._mark, crc32(body).to_bytes(4, "big"), body)

    def decode(self, payload: bytes) -> F:
        """The frozen value.

        Raises:
            PayloadError: it is not what :meth:`encode` of the same schema made.
        """
        body = payload[_HEAD:]
        checksum = payload[_HEAD - 4 : _HEAD]
        if payload[: _HEAD - 4] != self._mark or crc32(body).to_bytes(4, "big") != checksum:
            raise PayloadError
        try:
            return self._unpack(orjson.loads(body))
        except _BROKEN as error:
            raise PayloadError from error

    def _pack(self, frozen: F) -> Any:
        raise NotImplementedError

    def _unpack(self, packed: Any) -> F:
        raise NotImplementedError


class RowsCodec(_Sealed["tuple[Frozen, ...]"]):
    """A list of rows.

    Args:
        columns: names and types, in the order of the columns in a payload.
        fingerprint: hexadecimal digits that change with the columns.
    """

    def __init__(self, columns: Sequence[tuple[str, ColumnType]], fingerprint: str) -> None:
        super().__init__(fingerprint)
        self.names: tuple[str, ...] = tuple(name for name, _ in columns)
        values = [_value_codec(column_type) for _, column_type in columns]
        self._freezers = [(name, v.freeze) for name, v in zip(self.names, values, strict=True)]
        self._packers = _where(v.pack for v in values)
        self._unpackers = _where(v.unpack for v in values)
        self.thawers: tuple[tuple[int, Callable[[Any], Any]], ...] = tuple(
            _where(v.thaw for v in values)
        )
        """What makes a value of the reader's own, and where."""

    def freeze_row(self, row: Mapping[str, Any]) -> Frozen:
        """One row that cannot be changed."""
        return tuple(
            [
                value if (value := row[name]) is None or freeze is None else freeze(value)
                for name, freeze in self._freezers
            ]
        )

    def values_of(self, frozen: Frozen) -> list[Any]:
        """The values of one row, of the reader's own."""
        return _applied(frozen, self.thawers)

    def thaw_row(self, frozen: Frozen) -> dict[str, Any]:
        """One row as a dictionary of the reader's own."""
        return dict(zip(self.names, self.values_of(frozen), strict=True))

    def freeze(self, value: Iterable[Mapping[str, Any]]) -> tuple[Frozen, ...]:
        """The rows of a load."""
        return tuple([self.freeze_row(row) for row in value])

    def thaw(self, frozen: tuple[Frozen, ...]) -> list[dict[str, Any]]:
        """The rows, each of the reader's own."""
        return [self.thaw_row(row) for row in frozen]

    def _pack(self, frozen: tuple[Frozen, ...]) -> Any:
        return [self.pack_row(row) for row in frozen]

    def _unpack(self, packed: Any) -> tuple[Frozen, ...]:
        return tuple([self.unpack_row(row) for row in packed])

    def pack_row(self, frozen: Frozen) -> list[Any]:
        """One row as plain JSON values."""
        return _applied(frozen, self._packers)

    def unpack_row(self, packed: Any) -> Frozen:
        """One row out of plain JSON values."""
        if len(packed) != len(self.names):
            raise PayloadError
        return tuple(_applied(packed, self._unpackers))


FrozenRow = dict[str, Any]
"""One row under the names of its columns. Nobody changes it: what a reader gets is made of a copy."""


class RowCodec(_Sealed["FrozenRow | None"]):
    """One row, or that there is none.

    Args:
        columns: names and types, in the order of the columns in a payload.
        fingerprint: hexadecimal digits that change with the columns.
    """

    def __init__(self, columns: Sequence[tuple[str, ColumnType]], fingerprint: str) -> None:
        super().__init__(fingerprint)
        self._rows = RowsCodec(columns, fingerprint)
        self.names: tuple[str, ...] = self._rows.names
        self.thawers: tuple[tuple[str, Callable[[Any], Any]], ...] = tuple(
            (self.names[place], thaw) for place, thaw in self._rows.thawers
        )

    def freeze(self, value: Mapping[str, Any] | None) -> FrozenRow | None:
        """The row of a load; None where there was none."""
        return None if value is None else self._named(self._rows.freeze_row(value))

    def thaw(self, frozen: FrozenRow | None) -> dict[str, Any] | None:
        """The row, of the reader's own."""
        return None if frozen is None else self._rows.thaw_row(tuple(frozen.values()))

    def _named(self, row: Frozen) -> FrozenRow:
        return dict(zip(self.names, row, strict=True))

    def _pack(self, frozen: FrozenRow | None) -> Any:
        return None if frozen is None else self._rows.pack_row(tuple(frozen.values()))

    def _unpack(self, packed: Any) -> FrozenRow | None:
        return None if packed is None else self._named(self._rows.unpack_row(packed))


class JsonCodec(_Sealed[bytes]):
    """Any JSON value: a count, a dictionary of counts, what a service's own method gives.

    Args:
        fingerprint: hexadecimal digits that change with what the value means.
    """

    def freeze(self, value: Any) -> bytes:
        """The value as JSON."""
        return orjson.dumps(value)

    def thaw(self, frozen: bytes) -> Any:
        """A fresh value."""
        return orjson.loads(frozen)

    def _pack(self, frozen: bytes) -> Any:
        return orjson.Fragment(frozen)

    def _unpack(self, packed: Any) -> bytes:
        return orjson.dumps(packed)


# Values of one column


class _Value:
    """How the values of one column are frozen, packed and taken out again; None where nothing is to be done."""

    __slots__ = ("freeze", "pack", "thaw", "unpack")

    def __init__(
        self,
        freeze: Callable[[Any], Any] | None = None,
        pack: Callable[[Any], Any] | None = None,
        unpack: Callable[[Any], Any] | None = None,
        thaw: Callable[[Any], Any] | None = None,
    ) -> None:
        self.freeze = freeze
        self.pack = pack
        self.unpack = unpack
        self.thaw = thaw


def _where(steps: Iterable[Callable[[Any], Any] | None]) -> list[tuple[int, Callable[[Any], Any]]]:
    return [(index, step) for index, step in enumerate(steps) if step is not None]


def _applied(values: Sequence[Any], steps: Iterable[tuple[int, Callable[[Any], Any]]]) -> list[Any]:
    result = list(values)
    for index, step in steps:
        if result[index] is not None:
            result[index] = step(result[index])
    return result


def _value_codec(column_type: ColumnType) -> _Value:
    if column_type.kind == "Array":
        assert column_type.item is not None
        return _array_codec(_value_codec(column_type.item))
    if column_type.kind == "Vector":
        return _array_codec(_VALUES["Float"])
    return _VALUES.get(column_type.kind, _PLAIN)


def _array_codec(item: _Value) -> _Value:
    def each(step: Callable[[Any], Any] | None, collect: Callable[[Any], Any]) -> Any:
        def apply(values: Any) -> Any:
            return collect(
                [
                    apply(value)
                    if isinstance(value, list | tuple)
                    else value
                    if step is None or value is None
                    else step(value)
                    for value in values
                ]
            )

        return apply

    return _Value(
        each(item.freeze, tuple),
        each(item.pack, list),
        each(item.unpack, tuple),
        each(item.thaw, list),
    )


def _plain_uuid(value: Any) -> UUID:
    return value if type(value) is UUID else UUID(bytes=value.bytes)


def _pack_float(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def _pack_interval(value: timedelta) -> int | str:
    microseconds = (value.days * 86_400 + value.seconds) * 1_000_000 + value.microseconds
    # The longest intervals of Python have more of them than an integer of JSON holds.
    return microseconds if -_INTEGER_END <= microseconds < _INTEGER_END else str(microseconds)


def _unpack_interval(microseconds: int | str) -> timedelta:
    return timedelta(microseconds=int(microseconds))


_INTEGER_END: Final = 2**63
_PLAIN = _Value()
_JSON = _Value(orjson.dumps, bytes.decode, str.encode, orjson.loads)
_VALUES: Final[dict[str, _Value]] = {
    "Float": _Value(None, _pack_float, float),
    "Numeric": _Value(None, str, Decimal),
    "Date": _Value(None, date.isoformat, date.fromisoformat),
    "Time": _Value(None, time.isoformat, time.fromisoformat),
    "DateTime": _Value(None, datetime.isoformat, datetime.fromisoformat),
    "Interval": _Value(None, _pack_interval, _unpack_interval),
    "UUID": _Value(_plain_uuid, str, UUID),
    "JSON": _JSON,
    "JSONB": _JSON,
    "Binary": _Value(bytes, lambda value: b64encode(value).decode(), b64decode),
}
