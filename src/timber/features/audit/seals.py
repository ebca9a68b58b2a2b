"""Seals: what a stretch of finished rows was, chained to the seal before, under a key that the database does not have."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from timber.features.audit.digests import framed, moment
from timber.models.audit_tables import ROWS, SEALS

if TYPE_CHECKING:
    from datetime import datetime

    from timber.features.audit.keys import AuditKey

END: Final = 2**63 - 1
"""A transaction after all others."""

SEALED_COLUMNS: Final = (
    *("transaction_id", "id", "made_at", "model", "row_key", "action"),
    *("actor", "fields", "digests", "mac", "key_id"),
)
"""What a seal covers of a row: all but the salt, which an erasure takes away."""

_SIZE: Final = 32

READ_ROWS: Final = (
    f"SELECT {', '.join(SEALED_COLUMNS)}, salt FROM {ROWS}"  # noqa: S608  # fixed names
    " WHERE id >= $1 AND id < $2 AND transaction_id >= $3 AND transaction_id < $4"
    " ORDER BY transaction_id, id"
)

READ_HEAD: Final = f"SELECT * FROM {SEALS} ORDER BY number DESC LIMIT 1"  # noqa: S608


@dataclass(frozen=True, slots=True)
class Seal:
    """One link of the chain, over all rows of the transactions from one up to, but not with, another.

    Attributes:
        era: counts the servers that the table has lived on, whose transaction ids do not follow one another.
        first_id: the id of the era's first row.
        row_count: how many rows it covers.
        last_id: the highest id of a row under this seal or one before it.
        rows_digest: over the rows in their order.
        previous: the seal before; empty for the first.
    """

    number: int
    era: int
    first_id: int
    from_transaction: int
    to_transaction: int
    row_count: int
    last_id: int
    rows_digest: bytes
    previous: bytes
    key_id: str
    sealed_at: datetime
    seal: bytes = b""

    @classmethod
    def of_record(cls, record: Any) -> Seal:
        """A seal as it is stored."""
        return cls(**{name: record[name] for name in cls.__slots__})

    def made_with(self, key: AuditKey) -> bytes:
        """The seal that this key makes of the rest."""
        numbers = (
            *(self.number, self.era, self.first_id, self.from_transaction),
            *(self.to_transaction, self.row_count, self.last_id),
        )
        parts = [
            *(number.to_bytes(8, "big", signed=True) for number in numbers),
            self.rows_digest,
            self.previous,
            self.key_id.encode(),
            moment(self.sealed_at),
        ]
        return hashlib.blake2b(framed(parts), key=key.seals, digest_size=_SIZE).digest()


class RowsDigest:
    """The digest of rows that come one after the other."""

    __slots__ = ("_hash", "count", "last_id")

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=_SIZE)
        self.count: int = 0
        self.last_id: int = 0

    def add(self, row: Any) -> None:
        """Put one more row in."""
        self._hash.update(canonical(row))
        self.count += 1
        self.last_id = max(self.last_id, row["id"])

    def digest(self) -> bytes:
        """The digest of all so far."""
        return self._hash.digest()


def canonical(row: Any) -> bytes:
    """A row of the audit as bytes: the same wherever and whenever it is read."""
    actor = row["actor"]
    return framed(
        (
            row["transaction_id"].to_bytes(8, "big", signed=True),
            row["id"].to_bytes(8, "big", signed=True),
            moment(row["made_at"]),
            row["model"].encode(),
            row["row_key"].encode(),
            row["action"].encode(),
            b"" if actor is None else actor.bytes,
            framed([name.encode() for name in row["fields"]]),
            row["digests"],
            row["mac"],
            row["key_id"].encode(),
        )
    )
