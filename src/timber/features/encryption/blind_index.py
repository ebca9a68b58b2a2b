"""Keyed digests by which encrypted values are found without being decrypted.

A digest is of one column: the same value has another one elsewhere. It begins with a number of the key that made it, so
that digests of several keys can stand side by side while keys are changed.
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import Final

from timber.features.encryption.cipher import derived

_VERSION: Final = b"\1"
_KEY_NUMBER: Final = 4  # bytes
_DIGEST: Final = 16  # bytes; two values of 2**64 would meet by chance


def prefix(key_id: str) -> bytes:
    """What all digests made with a key begin with."""
    return _VERSION + sha256(key_id.encode()).digest()[:_KEY_NUMBER]


class BlindIndex:
    """Makes the digests of one column with one key."""

    __slots__ = ("_key", "_prefix")

    def __init__(self, key_id: str, key: bytes, place: bytes) -> None:
        self._prefix = prefix(key_id)
        self._key = derived(key, b"timber blind index 1\0" + place)

    def digest(self, value: bytes) -> bytes:
        """The digest of a value's bytes."""
        return self._prefix + hmac.digest(self._key, value, "sha256")[:_DIGEST]
