"""The key ring in use: its keys found by id, and one value sealed or opened with them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from timber.errors import ConfigurationError, KeyNotFoundError
from timber.features.encryption.cipher import Cipher, derived

if TYPE_CHECKING:
    from timber.features.encryption.keys import KeyRing, KeySet

_LOAD_AGAIN: Final = 5.0  # seconds between two questions for a key that is not there


class MasterKeys:
    """Asks a key ring, and remembers its last answer."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring
        self._last: KeySet | None = None
        self._asked_at = -_LOAD_AGAIN

    def known(self) -> KeySet | None:
        """The keys without waiting; None where they are to be asked for by :meth:`get`."""
        keys = self._ring.known()
        if keys is not None:
            self._last = keys
        return keys

    async def get(self) -> KeySet:
        """The keys.

        Raises:
            ConfigurationError: there are none.
        """
        keys = self.known()
        if keys is None:
            keys = self._last = await self._ring.load()
        return keys

    def last(self) -> KeySet:
        """The keys as they are known without waiting, even if they are to be asked for again.

        Raises:
            ConfigurationError: nothing is known of them yet.
        """
        keys = self.known() or self._last
        if keys is None:
            raise ConfigurationError(
                "The encryption keys have not been loaded: start the Timber, or `await provider.start(...)`."
            )
        return keys

    async def having(self, key_id: str, what: str) -> KeySet:
        """The keys, this one among them: a ring that does not know it is asked once more.

        Args:
            what: what it is needed for.

        Raises:
            KeyNotFoundError: it is not there.
        """
        keys = await self.get()
        if key_id not in keys.keys and time.monotonic() >= self._asked_at + _LOAD_AGAIN:
            self._asked_at = time.monotonic()
            keys = self._last = await self._ring.load()
        if key_id not in keys.keys:
            raise KeyNotFoundError(
                f"{what} needs the encryption key {key_id!r}, which the key ring does not have (it has "
                f"{', '.join(map(repr, sorted(keys.keys)))}). Put it back.",
                key_id=key_id,
            )
        return keys


class Wrapping:
    """Keys that are encrypted with master keys."""

    def __init__(self, keys: MasterKeys) -> None:
        self._keys = keys
        self._of: KeySet | None = None
        self._ciphers: dict[str, Cipher] = {}

    async def primary(self) -> tuple[str, Cipher]:
        """The id of the primary key, and what wraps with it."""
        keys = await self._keys.get()
        return keys.primary, self._cipher(keys, keys.primary)

    async def by(self, key_id: str) -> Cipher:
        """What unwraps with this key.

        Raises:
            KeyNotFoundError: it is not there.
        """
        return self._cipher(await self._keys.having(key_id, "A person's data key"), key_id)

    def _cipher(self, keys: KeySet, key_id: str) -> Cipher:
        if keys is not self._of:
            self._of = keys
            self._ciphers.clear()
        if key_id not in self._ciphers:
            self._ciphers[key_id] = Cipher(derived(keys.keys[key_id], b"timber person keys 1"))
        return self._ciphers[key_id]
