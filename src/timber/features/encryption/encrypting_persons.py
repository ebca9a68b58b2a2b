"""Encryption of one model's rows with a data key for each person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from timber.errors import DecryptionError, KeyNotFoundError
from timber.features.encryption.encrypting import RingEncryption
from timber.features.encryption.envelopes import ID_AT, PERSON
from timber.features.encryption.persons import destroyed

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from timber.features.encryption.master_keys import MasterKeys
    from timber.features.encryption.persons import PersonKey, PersonKeys
    from timber.features.encryption.sealing import EncryptedColumn, Opener, Sealer
    from timber.features.feature import Row, Write
    from timber.models.config import ModelConfig


class PersonEncryption(RingEncryption):
    """Encrypts the columns of one model with the data key of the person whose row it is.

    Values that are still under a key of the ring, from before the model had keys of persons, are decrypted, too.
    """

    def __init__(self, config: ModelConfig, keys: MasterKeys, persons: PersonKeys) -> None:
        super().__init__(config, keys)
        assert config.owner is not None
        self._owner = config.owner
        self._persons = persons
        self.support: frozenset[str] = frozenset({config.owner})

    def needs_current(self, changed: Collection[str], merged: Collection[str]) -> Collection[str]:  # noqa: ARG002  # the columns that are merged are locked in any case
        """Whose row it is; and if that changes, all that is to be encrypted for somebody else."""
        if self._owner in changed:
            return {self._owner, *self.transformed}
        return () if self.transformed.isdisjoint(changed) else {self._owner}

    async def before_update(self, write: Write) -> None:
        """Encrypt changes for the person whose row it is or becomes."""
        current = write.current
        if current is not None and any(
            self._owner in row and row[self._owner] != before[self._owner]
            for row, before in zip(write.rows, current, strict=True)
        ):
            for row, before in zip(write.rows, current, strict=True):
                for name in self.transformed:
                    row.setdefault(name, before[name])
        await super().before_update(write)

    async def _encrypt(self, write: Write, keys: Sequence[Any]) -> None:
        plain = self._plain(write)
        owners = self._owners(write, {position for _, values in plain for position, _ in values})
        persons = await self._persons.obtain(owners.values())
        for column, values in plain:
            sealers: dict[Any, Sealer] = {}
            for position, data in values:
                owner = owners[position]
                sealer = sealers.get(owner)
                if sealer is None:
                    person = persons[owner]
                    assert person.cipher is not None
                    sealer = column.sealer_with(PERSON, person.key_id, person.cipher)
                    sealers[owner] = sealer
                row = write.rows[position]
                row[column.name] = sealer.seal(data, self._key_bytes(keys[position]))

    def _owners(self, write: Write, positions: Collection[int]) -> dict[int, Any]:
        rows, current = write.rows, write.current
        return {
            position: rows[position][self._owner]
            if self._owner in rows[position] or current is None
            else current[position][self._owner]
            for position in positions
        }

    async def after_query(self, rows: Sequence[Row]) -> None:
        """Decrypt what was read.

        Raises:
            KeyDestroyedError: the key of one of the persons was destroyed.
            KeyNotFoundError: a key is not there.
            DecryptionError: a value is not what was written there.
        """
        columns = self._among(rows)
        names = [column.name for column in columns]
        owners = {row[self._owner] for row in rows if any(row[name] is not None for name in names)}
        if owners:
            keys = self._keys.known() or await self._keys.get()
            persons = await self._persons.find(owners)
            for column in columns:
                column.use(keys)
                await self._open_theirs(column, rows, persons)

    async def _open_theirs(
        self, column: EncryptedColumn, rows: Sequence[Row], persons: Mapping[Any, PersonKey]
    ) -> None:
        name, key, key_bytes = column.name, self._key, self._key_bytes
        theirs: dict[Any, tuple[bytes, Opener]] = {}
        for row in rows:
            envelope = row[name]
            if envelope is None:
                continue
            owner = row[self._owner]
            size = ID_AT + envelope[3] if len(envelope) > ID_AT else 0
            known = theirs.get(owner)
            if known is None or known[0] != envelope[:size]:
                begin = column.head_of(envelope)
                if begin[1] != PERSON:
                    opener = column.openers.get(begin) or await self._opener(column, envelope)
                else:
                    opener = self._opener_of(column, begin, persons.get(owner))
                known = theirs[owner] = begin, opener
            row[name] = column.open(known[1], envelope, size, key_bytes(row[key]))

    def _opener_of(self, column: EncryptedColumn, begin: bytes, person: PersonKey | None) -> Opener:
        key_id = begin[ID_AT:].decode()
        if person is None:
            raise KeyNotFoundError(
                f"{column.label} needs the data key {key_id} of a person, which is not among the keys of persons. Put it "
                "back.",
                key_id=key_id,
            )
        if person.cipher is None:
            raise destroyed(key_id)
        if person.key_id != key_id:
            raise DecryptionError(
                f"A value of {column.label} was encrypted with the data key {key_id}, which is another one than that of "
                "the person whose row it is in: it was moved here, or its row was given to somebody else past Timber.",
                key_id=key_id,
            )
        return column.opener_with(begin, person.cipher)
