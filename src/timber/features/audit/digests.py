"""Digests of values: they prove what was written to whoever knows it and holds the key, and tell nobody else anything.

Each row has a random salt of its own, so that equal values of two rows, or of two columns, cannot be told to be equal.
Without its salt, which an erasure takes away, no value can be held against a digest any more.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import orjson

from timber.dto import encode_json
from timber.errors import ValidationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from timber.features.audit.keys import AuditKey
    from timber.models.column_types import ColumnType
    from timber.models.columns import ColumnConfig

SIZE: Final = 16
"""Bytes of a digest and of a salt."""

_JSON: Final = (
    orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
)


class Digester:
    """Makes the digests of one model's rows.

    Args:
        model: its name, which is part of every digest.
        columns: those whose values are digested.
    """

    def __init__(self, model: str, columns: Iterable[ColumnConfig], key: AuditKey) -> None:
        self._key = key
        self._columns = {
            column.name: (_keyed(key.values, model, column.name), encoder(column.type))
            for column in columns
        }

    @property
    def columns(self) -> Iterable[str]:
        """The columns that it knows."""
        return self._columns.keys()

    def digest(self, column: str, value: Any, salt: bytes) -> bytes:
        """The digest of a column's value.

        Raises:
            ValidationError: it is JSON that cannot be stored.
        """
        state, encode = self._columns[column]
        made = state.copy()
        made.update(salt)
        if value is not None:
            try:
                made.update(b"\1" + encode(value))
            except (TypeError, RecursionError):
                encode_json(value, column)
                raise ValidationError.of(column, "is not a JSON value") from None
        digest: bytes = made.digest()
        return digest

    def digests(self, fields: Sequence[str], row: Mapping[str, Any], salt: bytes) -> bytes:
        """The digests of some columns of a row, one after the other."""
        return b"".join([self.digest(name, row.get(name), salt) for name in fields])


def row_digest(
    key: AuditKey,
    *,
    model: str,
    action: str,
    made_at: datetime,
    fields: Sequence[str],
    digests: bytes,
    salt: bytes,
) -> bytes:
    """The digest by which a row of the audit is known to come from somebody who has the key.

    Who acted is not in it, nor the row's key: these may be known to the statement alone. The seals have them.
    """
    parts = (
        model.encode(),
        action.encode(),
        moment(made_at),
        "\0".join(fields).encode(),
        digests,
        salt,
    )
    return hashlib.blake2b(framed(parts), key=key.rows, digest_size=SIZE).digest()


def framed(parts: Iterable[bytes]) -> bytes:
    """Parts so put together that they can be told apart, whatever is in them."""
    return b"".join([len(part).to_bytes(8, "big") + part for part in parts])


def same(one: bytes, other: bytes) -> bool:
    """Whether two digests are equal, in a time that tells nothing."""
    return hmac.compare_digest(one, other)


def moment(value: datetime) -> bytes:
    """A time as bytes that are the same in every time zone."""
    return value.astimezone(UTC).isoformat(timespec="microseconds").encode()


def _keyed(key: bytes, model: str, column: str) -> Any:
    state = hashlib.blake2b(key=key, digest_size=SIZE)
    state.update(framed((model.encode(), column.encode())))
    return state


def encoder(column_type: ColumnType) -> Callable[[Any], bytes]:
    """What makes bytes of a column's values: the same of what PostgreSQL holds to be equal, as far as that is plain."""
    if column_type.kind == "Array" and column_type.item is not None:
        item = encoder(column_type.item)
        return lambda values: framed([b"" if v is None else b"\1" + item(v) for v in values])
    return _ENCODERS[column_type.kind]


def _json(value: Any) -> bytes:
    return orjson.dumps(value, _aware, _JSON)


def _aware(value: object) -> str:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.isoformat()
    raise TypeError


def _number(value: Any) -> bytes:
    exact = Decimal(value)
    return f"{exact.normalize():f}".encode() if exact else b"0"


def _span(value: timedelta) -> bytes:
    return b"%d" % (value // timedelta(microseconds=1))


_ENCODERS: Final[dict[str, Callable[[Any], bytes]]] = {
    **dict.fromkeys(("String", "Text", "Enum"), str.encode),
    **dict.fromkeys(("SmallInteger", "Integer", "BigInteger"), lambda value: b"%d" % value),
    **dict.fromkeys(("Date", "Time"), lambda value: value.isoformat().encode()),
    **dict.fromkeys(("JSON", "JSONB"), _json),
    "Float": lambda value: repr(float(value)).encode(),
    "Numeric": _number,
    "Boolean": lambda value: b"1" if value else b"0",
    "DateTime": moment,
    "Interval": _span,
    "UUID": lambda value: value.bytes,
    "Binary": bytes,
    "Vector": lambda value: repr([float(item) for item in value]).encode(),
}
