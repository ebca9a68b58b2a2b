"""What encryption does to the rows of one model, whosever keys it uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from timber.errors import DecryptionError, FieldProblem, ValidationError
from timber.features.encryption.envelopes import ID_AT, RING
from timber.features.encryption.sealing import EncryptedColumn
from timber.features.encryption.values import codec
from timber.features.feature import Feature
from timber.models.stored import blind_index

if TYPE_CHECKING:
    from collections.abc import Sequence

    from timber.features.encryption.master_keys import MasterKeys
    from timber.features.encryption.sealing import Opener
    from timber.features.feature import Row, Write
    from timber.models.config import ModelConfig

Plain = list[tuple[EncryptedColumn, list[tuple[int, bytes]]]]
"""For each column the bytes to encrypt, each with the position of its row."""


class RingEncryption(Feature):
    """Encrypts the columns of one model with keys of the key ring."""

    def __init__(self, config: ModelConfig, keys: MasterKeys) -> None:
        declared = config.features.encryption
        assert declared is not None
        self.columns: tuple[EncryptedColumn, ...] = tuple(
            EncryptedColumn(config, config.column(name), searchable=name in declared.searchable)
            for name in declared.columns
        )
        self.transformed: frozenset[str] = frozenset(declared.columns)
        self._by_name = {column.name: column for column in self.columns}
        self._keys = keys
        self._key = config.primary_key
        self._key_bytes = codec(config.column(self._key).type, self._key).digested

    # On the way in

    async def before_insert(self, write: Write) -> None:
        """Encrypt new rows."""
        await self._encrypt(write, [row[self._key] for row in write.rows])

    async def before_update(self, write: Write) -> None:
        """Encrypt changes."""
        if write.keys is not None and not all(map(self.transformed.isdisjoint, write.rows)):
            await self._encrypt(write, write.keys)

    async def _encrypt(self, write: Write, keys: Sequence[Any]) -> None:
        known = self._keys.known() or await self._keys.get()
        for column, values in self._plain(write):
            column.use(known)
            sealer = column.sealer()
            index = column.index() if column.searchable else None
            for position, data in values:
                row = write.rows[position]
                if index is not None:
                    row[blind_index(column.name)] = index.digest(column.digested(row[column.name]))
                row[column.name] = sealer.seal(data, self._key_bytes(keys[position]))

    def _plain(self, write: Write) -> Plain:
        """The values to encrypt.

        Raises:
            ValidationError: a JSON value cannot be stored; of all rows.
        """
        problems: list[FieldProblem] = []
        plain: Plain = []
        for column in self.columns:
            name, values = column.name, []
            for position, row in enumerate(write.rows):
                value = row.get(name)
                if value is not None:
                    try:
                        values.append((position, column.encode(value)))
                    except ValidationError as error:
                        before = "" if write.single else f"{position}."
                        problems += [FieldProblem(before + e[0], e[1]) for e in error.errors]
                elif column.searchable and name in row:
                    row[blind_index(name)] = None
            plain.append((column, values))
        if problems:
            raise ValidationError(errors=problems)
        return plain

    # On the way out

    async def after_query(self, rows: Sequence[Row]) -> None:
        """Decrypt what was read.

        Raises:
            KeyNotFoundError: a key is not there.
            DecryptionError: a value is not what was written there.
        """
        columns = self._among(rows)
        if columns:
            keys = self._keys.known() or await self._keys.get()
            for column in columns:
                column.use(keys)
                await self._open(column, rows)

    async def _open(self, column: EncryptedColumn, rows: Sequence[Row]) -> None:
        # Twenty rows have to be through in less than 100 us: nothing is awaited and little is called for each of them.
        name, key, key_bytes = column.name, self._key, self._key_bytes
        openers = column.openers
        for row in rows:
            envelope = row[name]
            if envelope is None:
                continue
            size = ID_AT + envelope[3] if len(envelope) > ID_AT else 0
            opener = openers.get(envelope[:size]) or await self._opener(column, envelope)
            row[name] = column.open(opener, envelope, size, key_bytes(row[key]))

    async def _opener(self, column: EncryptedColumn, envelope: bytes) -> Opener:
        """What opens an envelope whose like has not been seen yet."""
        begin = column.head_of(envelope)
        key_id = begin[ID_AT:].decode()
        if begin[1] != RING:
            raise DecryptionError(
                f"{column.label} holds a value that was encrypted with the data key {key_id} of a person, and the model has "
                "no keys of persons: declare per_person again.",
                key_id=key_id,
            )
        column.use(await self._keys.having(key_id, column.label))
        return column.opener(begin)

    def _among(self, rows: Sequence[Row]) -> list[EncryptedColumn]:
        """The encrypted columns that were read."""
        return [column for column in self.columns if column.name in rows[0]] if rows else []

    # Looking for values

    def stored_forms(self, column: str, values: Sequence[Any]) -> tuple[str, Sequence[Any]] | None:
        """The digests that a value may have in the hidden column: one of each key."""
        encrypted = self._by_name[column]
        if not encrypted.searchable:
            return None
        encrypted.use(self._keys.last())
        plain = [encrypted.digested(value) for value in values]
        return blind_index(column), [
            index.digest(value) for index in encrypted.indexes() for value in plain
        ]
