"""One encrypted column: its values sealed into envelopes and opened again, bound to the place they stand in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from timber.errors import DecryptionError
from timber.features.encryption.blind_index import BlindIndex
from timber.features.encryption.cipher import Cipher, WrongKeyError, derived
from timber.features.encryption.envelopes import ID_AT, NONCE, RING, context, head, key_id_of
from timber.features.encryption.values import codec

if TYPE_CHECKING:
    from collections.abc import Callable

    from timber.features.encryption.keys import KeySet
    from timber.models.column_types import ColumnType
    from timber.models.columns import ColumnConfig
    from timber.models.config import ModelConfig

_PURPOSE: Final = b"timber values 1\0"


class Opener(NamedTuple):
    """What opens the envelopes of one column that begin with the same head."""

    decrypt: Callable[[bytes, bytes, bytes], bytes]
    context: bytes


class Sealer(NamedTuple):
    """What makes envelopes of one column with one key."""

    head: bytes
    cipher: Cipher
    context: bytes

    def seal(self, plaintext: bytes, key: bytes) -> bytes:
        """The envelope of a value in the row with this key."""
        return self.head + self.cipher.encrypt(plaintext, self.context + key)


class EncryptedColumn:
    """One encrypted column of a model.

    Attributes:
        encode: a value as bytes.
        decode: bytes as the value.
    """

    def __init__(self, config: ModelConfig, column: ColumnConfig, *, searchable: bool) -> None:
        self.name: str = column.name
        self.searchable = searchable
        self.type: ColumnType = column.type
        self.label: str = f"{config.name}.{column.name}"
        made = codec(column.type, column.name)
        self.tag: int = made.tag
        self.encode: Callable[[Any], bytes] = made.encode
        self.decode: Callable[[bytes], Any] = made.decode
        self.digested: Callable[[Any], bytes] = made.digested
        self._place = context(config.table, column.name)
        self._keys: KeySet | None = None
        self._ciphers: dict[str, Cipher] = {}
        self._indexes: dict[str, BlindIndex] = {}
        self.openers: dict[bytes, Opener] = {}
        """By the heads of envelopes; of keys of the ring only."""

    def use(self, keys: KeySet) -> None:
        """Go on with these keys of the ring; what was derived from others is dropped."""
        if keys is not self._keys:
            self._keys = keys
            self._ciphers.clear()
            self._indexes.clear()
            self.openers.clear()

    def sealer(self) -> Sealer:
        """What seals with the primary key of the ring."""
        assert self._keys is not None
        primary = self._keys.primary
        begin = head(RING, self.tag, primary)
        return Sealer(begin, self._cipher(primary), begin + self._place)

    def sealer_with(self, kind: int, key_id: str, cipher: Cipher) -> Sealer:
        """What seals with a key of somebody's own."""
        begin = head(kind, self.tag, key_id)
        return Sealer(begin, cipher, begin + self._place)

    def opener(self, begin: bytes) -> Opener:
        """What opens the envelopes with this head, made by a key of the ring that is there."""
        opener = self._opener(begin, self._cipher(begin[ID_AT:].decode()))
        self.openers[begin] = opener
        return opener

    def opener_with(self, begin: bytes, cipher: Cipher) -> Opener:
        """What opens the envelopes with this head by a key of somebody's own."""
        return self._opener(begin, cipher)

    def index(self) -> BlindIndex:
        """What makes digests with the primary key of the ring."""
        assert self._keys is not None
        return self._index(self._keys.primary)

    def indexes(self) -> list[BlindIndex]:
        """What makes digests with each key of the ring."""
        assert self._keys is not None
        return [self._index(key_id) for key_id in self._keys.keys]

    def open(self, opener: Opener, envelope: bytes, size: int, key: bytes) -> Any:
        """The value in an envelope whose head has this size.

        Raises:
            DecryptionError: it is not what was written there.
        """
        end = size + NONCE
        try:
            return self.decode(
                opener.decrypt(envelope[size:end], envelope[end:], opener.context + key)
            )
        except (WrongKeyError, ValueError):
            raise self.refusal(envelope) from None

    def head_of(self, envelope: bytes) -> bytes:
        """The head of an envelope.

        Raises:
            DecryptionError: it is no envelope, or one of another type.
        """
        if key_id_of(envelope) is None or envelope[2] != self.tag:
            raise self.refusal(envelope)
        return envelope[: ID_AT + envelope[3]]

    def refusal(self, envelope: bytes) -> DecryptionError:
        """The error of an envelope that cannot be opened."""
        key_id = key_id_of(envelope)
        if key_id is None:
            return DecryptionError(
                f"{self.label} holds something that was not encrypted by Timber, or was cut off."
            )
        if envelope[2] != self.tag:
            return DecryptionError(
                f"{self.label} holds a value of another type than {self.type}, under the key {key_id!r}: the type of an "
                "encrypted column cannot be changed in place.",
                key_id=key_id,
            )
        return DecryptionError(
            f"A value of {self.label} cannot be decrypted with the key {key_id!r}: it was changed, or moved here from "
            "another row or column, or the key of that name is another one.",
            key_id=key_id,
        )

    def _cipher(self, key_id: str) -> Cipher:
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            assert self._keys is not None
            key = derived(self._keys.keys[key_id], _PURPOSE + self._place)
            cipher = self._ciphers[key_id] = Cipher(key)
        return cipher

    def _opener(self, begin: bytes, cipher: Cipher) -> Opener:
        return Opener(cipher.decrypt, begin + self._place)

    def _index(self, key_id: str) -> BlindIndex:
        index = self._indexes.get(key_id)
        if index is None:
            assert self._keys is not None
            index = BlindIndex(key_id, self._keys.keys[key_id], self._place)
            self._indexes[key_id] = index
        return index
