"""Master keys in a JSON file that only its owner can read."""

from __future__ import annotations

import json
import logging
import os
import stat
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from timber.errors import ConfigurationError
from timber.features.encryption.durable import alone, replace_file
from timber.features.encryption.keys import (
    KeySet,
    check_key_id,
    decode_key,
    encode_key,
    new_key,
    new_key_id,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

logger: logging.Logger = logging.getLogger(__name__)

_Stamp = tuple[int, int, int, int]
_VERSION: Final = 1
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class FileKeyRing:
    """Keys out of a JSON file, read again when it has changed.

    The file has the mode 0600, or 0400, and looks like
    ``{"version": 1, "primary": "a", "keys": {"a": "<32 bytes in base64>"}}``.
    """

    def __init__(self, path: str | Path) -> None:
        self.path: Path = Path(path)
        self._stamp: _Stamp | None = None
        self._keys: KeySet | None = None

    def known(self) -> KeySet:
        """The keys in the file as it is now.

        A file that was good and is not any more changes nothing but the log: whoever writes it may not be done yet.

        Raises:
            ConfigurationError: it cannot be read, others can read it, or it is malformed.
        """
        stamp: _Stamp | None = None
        try:
            found = os.stat(self.path)  # noqa: PTH116  # Path.stat() takes twice as long, and this is asked at every call
            stamp = found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode
        except OSError:
            pass
        if self._keys is None or stamp != self._stamp:
            try:
                self._keys = self._read()
            except ConfigurationError as error:
                if self._keys is None:
                    raise
                logger.warning("The encryption keys known so far stay in use. %s", error)
            self._stamp = stamp
        return self._keys

    async def load(self) -> KeySet:
        """The same."""
        return self.known()

    def add(self, *, primary: bool = False) -> str:
        """Make a new key and give its id; the first key of a new file is the primary one in any case.

        Raises:
            ConfigurationError: the file cannot be written, or is malformed.
        """
        with self._changing() as current:
            key_id = new_key_id()
            keys = {**(current.keys if current else {}), key_id: new_key()}
            self._write(KeySet(key_id if primary or current is None else current.primary, keys))
        return key_id

    def promote(self, key_id: str) -> None:
        """Make a key of the file the primary one.

        Raises:
            ConfigurationError: there is no such key.
        """
        with self._changing() as current:
            self._write(KeySet(check_key_id(key_id), current.keys if current else {}))

    @contextmanager
    def _changing(self) -> Generator[KeySet | None]:
        """The keys as they are, while no other process changes them; None if there is no file."""
        folder = self.path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with alone(folder / f".{self.path.name}.lock"):
                yield self._read() if self.path.exists() else None
        except OSError as error:
            raise ConfigurationError(f"Cannot write {self.path}: {error.strerror}.") from None

    def _write(self, keys: KeySet) -> None:
        data = {
            "version": _VERSION,
            "primary": keys.primary,
            "keys": {key_id: encode_key(key) for key_id, key in keys.keys.items()},
        }
        replace_file(self.path, json.dumps(data, indent=2).encode() + b"\n")

    def _read(self) -> KeySet:
        """The keys in the file.

        Raises:
            ConfigurationError: it cannot be read, others can read it, or it is malformed.
        """
        try:
            with self.path.open("rb") as file:
                self._check_mode(os.fstat(file.fileno()).st_mode)
                content = file.read()
        except OSError as error:
            raise ConfigurationError(
                f"The encryption keys cannot be read from {self.path}: {error.strerror}. "
                "`timber keys new` makes the file."
            ) from None
        return self._parse(content)

    def _parse(self, content: bytes) -> KeySet:
        try:
            data = json.loads(content, object_pairs_hook=self._once)
        except ValueError:
            raise self._malformed("is not JSON") from None
        if not isinstance(data, dict) or data.get("version") != _VERSION:
            raise self._malformed(f"is not of version {_VERSION}")
        keys, primary = data.get("keys"), data.get("primary")
        if not isinstance(keys, dict) or not isinstance(primary, str):
            raise self._malformed("needs `keys`, an object, and `primary`, the id of one of them")
        return KeySet(primary, dict(self._keys_of(keys)))

    def _keys_of(self, keys: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
        for key_id, key in keys.items():
            yield check_key_id(key_id), decode_key(key, f"The key {key_id!r} in {self.path}")

    def _once(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            raise self._malformed("has a key twice")
        return made

    def _check_mode(self, mode: int) -> None:
        if sys.platform != "win32" and mode & _OTHERS:
            raise ConfigurationError(
                f"{self.path} holds encryption keys and can be read or written by others "
                f"({stat.filemode(mode)}): chmod 600 {self.path}"
            )

    def _malformed(self, problem: str) -> ConfigurationError:
        return ConfigurationError(f"The file of encryption keys {self.path} {problem}.")
