"""What stands under the key of an entry: a lease, or a value with the epoch and the stamps it was read under."""

from __future__ import annotations

from hashlib import sha1
from typing import TYPE_CHECKING, Final

from timber.cache.coherence.clock import TOKEN_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

LEASE: Final = b"L"
VALUE: Final = b"V"
HEAD_BYTES: Final = 1 + TOKEN_BYTES
"""The kind and the token: enough to tell whether an entry is still what was seen."""
STAMP_BYTES: Final = TOKEN_BYTES
EPOCH_BYTES: Final = 20

_STAMPS_AT = HEAD_BYTES + EPOCH_BYTES


def seal(token: bytes, epoch: bytes, stamps: Sequence[bytes], payload: bytes) -> bytes:
    """A value as it is stored."""
    return b"".join((VALUE, token, epoch, *stamps, payload))


def open_seal(
    blob: bytes | None, epoch: bytes | None, stamps: Sequence[bytes | None]
) -> bytes | None:
    """The payload, if it was stored in this epoch under these stamps; None if it does not count."""
    if blob is None or epoch is None or blob[:1] != VALUE or None in stamps:
        return None
    end = _STAMPS_AT + STAMP_BYTES * len(stamps)
    if blob[HEAD_BYTES:_STAMPS_AT] != epoch or blob[_STAMPS_AT:end] != b"".join(stamps):  # type: ignore[arg-type]
        return None
    return blob[end:]


def epoch_of(replication_id: str) -> bytes:
    """The epoch out of a ``master_replid``: it changes when a replica is promoted and when Redis restarts."""
    return sha1(replication_id.encode(), usedforsecurity=False).digest()
