"""AES-256-GCM and the keys that are derived for it; the one file that knows the library ``cryptography``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from timber.features.encryption.envelopes import NONCE
from timber.features.encryption.keys import KEY_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

WrongKeyError: Final = InvalidTag
"""What :attr:`Cipher.decrypt` raises if anything is not as it was: key, nonce, ciphertext or context."""


class Cipher:
    """AES-256-GCM with one key.

    A nonce of 12 random bytes may meet itself after 2**32 values under one key; a key of the ring is therefore never used
    itself: each column has another one, derived from it.

    Attributes:
        decrypt: takes nonce, ciphertext and context.
    """

    __slots__ = ("_encrypt", "decrypt")

    def __init__(self, key: bytes) -> None:
        cipher = AESGCM(key)
        self._encrypt = cipher.encrypt
        self.decrypt: Callable[[bytes, bytes, bytes], bytes] = cipher.decrypt

    def encrypt(self, plaintext: bytes, context: bytes) -> bytes:
        """A nonce and the ciphertext."""
        nonce = os.urandom(NONCE)
        return nonce + self._encrypt(nonce, plaintext, context)


def derived(key: bytes, purpose: bytes) -> bytes:
    """A key for one purpose, from which neither the other one nor those for other purposes can be found."""
    return HKDFExpand(SHA256(), KEY_BYTES, purpose).derive(key)
