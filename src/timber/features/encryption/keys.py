"""Master keys: what a set of them is, and where it comes from."""

from __future__ import annotations

import base64
import binascii
import inspect
import logging
import os
import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

from timber.errors import ConfigurationError, ServiceError
from timber.features.encryption.envelopes import KEY_ID

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

logger: logging.Logger = logging.getLogger(__name__)

KEY_BYTES: Final = 32
_RETRY_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class KeySet:
    """Master keys of 32 bytes by their ids; new values are encrypted with the primary one.

    Raises:
        ConfigurationError: an id or a key is malformed, or there is no primary key.
    """

    primary: str
    keys: Mapping[str, bytes] = field(repr=False)

    def __post_init__(self) -> None:
        for key_id, key in self.keys.items():
            check_key_id(key_id)
            if len(key) != KEY_BYTES:
                raise ConfigurationError(f"The key {key_id!r} is not {KEY_BYTES} bytes long.")
        if self.primary not in self.keys:
            raise ConfigurationError(f"There is no key {self.primary!r}, which is the primary one.")
        object.__setattr__(self, "keys", MappingProxyType(dict(self.keys)))


class KeyRing(Protocol):
    """Where master keys come from."""

    def known(self) -> KeySet | None:
        """The keys as far as they are known without waiting; None if they are to be loaded first."""

    async def load(self) -> KeySet:
        """The keys, asked for anew.

        Raises:
            ConfigurationError: there are none.
        """
        ...


class EnvironmentKeyRing:
    """Keys out of an environment variable: ``id:key`` in base64, separated by commas, the primary one first."""

    def __init__(self, variable: str) -> None:
        self.variable = variable
        self._read: tuple[str, KeySet] | None = None

    def known(self) -> KeySet:
        """The keys in the variable as it is now."""
        text = os.environ.get(self.variable, "")
        if self._read is None or self._read[0] != text:
            self._read = text, self._parse(text)
        return self._read[1]

    async def load(self) -> KeySet:
        """The same."""
        return self.known()

    def _parse(self, text: str) -> KeySet:
        keys: dict[str, bytes] = {}
        for part in filter(None, map(str.strip, text.split(","))):
            key_id, _, key = part.partition(":")
            keys[key_id.strip()] = decode_key(key, f"Key {len(keys) + 1} in {self.variable}")
        if not keys:
            raise ConfigurationError(
                f"There are no encryption keys in the environment variable {self.variable}. "
                "`timber keys new` makes one."
            )
        return KeySet(next(iter(keys)), keys)


class CallableKeyRing:
    """Keys that a function gives, out of a KMS for instance; it may be a coroutine function.

    Args:
        fetch: gives all keys.
        seconds: how long they are good; then they are asked for again. Where that fails, the known ones stay in use and it
            is tried again a little later.
    """

    def __init__(
        self, fetch: Callable[[], KeySet | Awaitable[KeySet]], *, seconds: float = 300.0
    ) -> None:
        self._fetch = fetch
        self._seconds = seconds
        self._keys: KeySet | None = None
        self._until = 0.0

    def known(self) -> KeySet | None:
        """The keys that were fetched, while they are good."""
        return self._keys if time.monotonic() < self._until else None

    async def load(self) -> KeySet:
        """The keys, fetched anew.

        Raises:
            ConfigurationError: the function failed, and no keys are known from before.
        """
        try:
            fetched = self._fetch()
            keys = await fetched if inspect.isawaitable(fetched) else fetched
        except ServiceError:
            raise
        except Exception as error:  # noqa: BLE001  # the function is the application's own
            # What its error says may hold anything: it is neither shown nor kept.
            if self._keys is None:
                raise ConfigurationError(
                    f"The function that gives the encryption keys failed ({type(error).__name__})."
                ) from None
            logger.warning("Encryption keys were not refreshed: %s", type(error).__name__)
            self._until = time.monotonic() + min(self._seconds, _RETRY_SECONDS)
            return self._keys
        if not isinstance(keys, KeySet):
            raise ConfigurationError("The function that gives the encryption keys gave no KeySet.")
        self._keys = keys
        self._until = time.monotonic() + self._seconds
        return keys


def check_key_id(key_id: object) -> str:
    """The id itself if it can be one.

    Raises:
        ConfigurationError: it cannot.
    """
    known = isinstance(key_id, str) and key_id.isascii() and KEY_ID.fullmatch(key_id.encode())
    if not known:
        raise ConfigurationError(
            "The id of a key is 1 to 64 letters, digits, dots, dashes or underscores and begins with a letter or digit."
        )
    assert isinstance(key_id, str)
    return key_id


def new_key_id() -> str:
    """An id that says when the key was made."""
    return f"{datetime.now(UTC):%Y-%m-%d}-{secrets.token_hex(3)}"


def new_key() -> bytes:
    """A key from the system's source of randomness."""
    return secrets.token_bytes(KEY_BYTES)


def encode_key(key: bytes) -> str:
    """A key as text."""
    return base64.b64encode(key).decode()


def decode_key(text: object, what: str) -> bytes:
    """A key out of its text.

    Raises:
        ConfigurationError: naming it as ``what``, without the text.
    """
    try:
        key = base64.b64decode(text if isinstance(text, str) else "", validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigurationError(f"{what} is not {KEY_BYTES} bytes in base64.")
    return key
