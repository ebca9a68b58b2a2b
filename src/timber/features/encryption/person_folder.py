"""Persons' data keys in a folder."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from timber.errors import EncryptionError
from timber.features.encryption.durable import alone, create_file, overwrite_file
from timber.features.encryption.person_records import NO_KEY, PersonRecord

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Mapping

    from timber.database.manager import AsyncDatabaseManager

T = TypeVar("T")

_VERSION: Final = 1
_ATTEMPTS: Final = 5


class PersonKeyFolder:
    """A folder with a file for each person, shared by all processes that see it.

    Files are written as a whole, to the disk, and can be read by their owner only. Leave it out of backups, or keep those
    for a short time: what a backup brings back is a destroyed key.
    """

    def __init__(self, path: str | Path) -> None:
        self.path: Path = Path(path)

    async def check(self, db: AsyncDatabaseManager) -> None:  # noqa: ARG002  # a folder is in no database
        """Make the folder if it is not there.

        Raises:
            EncryptionError: that cannot be done.
        """
        await self._run(self._make)

    async def read(self, persons: Collection[str]) -> Mapping[str, PersonRecord]:
        """What there is of these persons."""
        return await self._run(lambda: self._read_all(persons))

    async def add(self, person: str, record: PersonRecord) -> PersonRecord:
        """Keep a record unless there is one; the answer is the one that is there then."""
        return await self._run(lambda: self._add(person, record))

    async def destroy(self, person: str) -> PersonRecord:
        """Put a tombstone in the place of a person's record, whose bytes on the disk are overwritten."""
        return await self._run(lambda: self._destroy(person))

    async def rewrap(self, person: str, old: PersonRecord, new: PersonRecord) -> bool:
        """Put one record in place of another; whether that one was still there."""
        return await self._run(lambda: self._rewrap(person, old, new))

    async def records(self) -> AsyncIterator[tuple[str, PersonRecord]]:
        """All persons and their records."""
        for folder in await self._run(lambda: sorted(self.path.glob("[0-9a-f][0-9a-f]"))):
            for person, record in (await self._run(partial(self._in, folder))).items():
                yield person, record

    async def close(self) -> None:
        """Nothing is held."""

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(work)
        except OSError as error:
            raise EncryptionError(
                f"The folder of persons' keys {self.path} cannot be used: {error.strerror}."
            ) from None

    # In a thread

    def _make(self) -> None:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _read_all(self, persons: Collection[str]) -> dict[str, PersonRecord]:
        found = ((person, self._read(person)) for person in persons)
        return {person: record for person, record in found if record is not None}

    def _in(self, folder: Path) -> dict[str, PersonRecord]:
        return self._read_all(sorted(path.stem for path in folder.glob("[0-9a-f]*.json")))

    def _add(self, person: str, record: PersonRecord) -> PersonRecord:
        path = self._path(person)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for _ in range(_ATTEMPTS):
            with suppress(FileNotFoundError):  # what is half written goes when the person does
                if create_file(path, _content(record)):
                    return record
            found = self._read(person)
            if found is not None:
                return found
        raise EncryptionError(f"The folder of persons' keys {self.path} is being changed.")

    def _destroy(self, person: str) -> PersonRecord:
        path = self._path(person)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with alone(self.path / ".lock"):
            if create_file(path, _content(PersonRecord(NO_KEY, NO_KEY, None))):
                return PersonRecord(NO_KEY, NO_KEY, None)
            found = self._read(person)
            assert found is not None  # nobody else destroys, and nothing removes one
            if found.wrapped is not None:
                overwrite_file(path, _content(found.tombstone))
            for rest in path.parent.glob(f".{path.name}.*"):  # of a process that was killed
                rest.unlink(missing_ok=True)
            return found.tombstone

    def _rewrap(self, person: str, old: PersonRecord, new: PersonRecord) -> bool:
        with alone(self.path / ".lock"):
            if self._read(person) != old:
                return False
            overwrite_file(self._path(person), _content(new))
            return True

    def _read(self, person: str) -> PersonRecord | None:
        path = self._path(person)
        for _ in range(_ATTEMPTS):
            try:
                content = path.read_bytes()
            except FileNotFoundError:
                return None
            with suppress(ValueError, KeyError, TypeError, AttributeError, binascii.Error):
                # What was overwritten while it was read is another file by now.
                return _record(json.loads(content))
        raise EncryptionError(f"A file in the folder of persons' keys {self.path} is malformed.")

    def _path(self, person: str) -> Path:
        return self.path / person[:2] / f"{person}.json"


def _content(record: PersonRecord) -> bytes:
    wrapped = record.wrapped
    data = {
        "version": _VERSION,
        "key_id": record.key_id,
        "master": record.master,
        "wrapped": None if wrapped is None else base64.b64encode(wrapped).decode(),
    }
    return json.dumps(data).encode() + b"\n"


def _record(data: dict[str, Any]) -> PersonRecord:
    if data["version"] != _VERSION:
        raise ValueError("another version")
    wrapped = data["wrapped"]
    return PersonRecord(
        str(data["key_id"]),
        str(data["master"]),
        None if wrapped is None else base64.b64decode(wrapped, validate=True),
    )
