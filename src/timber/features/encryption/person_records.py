"""What is kept of a person's data key, and what a place that keeps it can do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping

    from timber.database.manager import AsyncDatabaseManager

NO_KEY: Final = "none"
"""The id in the tombstone of a person who never had a key."""


@dataclass(frozen=True, slots=True)
class PersonRecord:
    """What a store keeps of one person.

    Attributes:
        key_id: the id of the data key.
        master: the id of the master key that it is wrapped with.
        wrapped: the data key as ciphertext; None once it was destroyed.
    """

    key_id: str
    master: str
    wrapped: bytes | None = field(repr=False)

    @property
    def tombstone(self) -> PersonRecord:
        """What is left of it once the key is destroyed."""
        return PersonRecord(self.key_id, self.master, None)


class PersonKeyStore(Protocol):
    """Keeps the wrapped data keys of persons outside of the database that holds their rows, and of its dumps.

    Persons are known to it by digests of 64 hexadecimal digits.
    """

    async def check(self, db: AsyncDatabaseManager) -> None:
        """Get ready.

        Args:
            db: the database that holds the rows.

        Raises:
            ConfigurationError: the store cannot be used, or is in that database.
        """

    async def read(self, persons: Collection[str]) -> Mapping[str, PersonRecord]:
        """What there is of these persons."""
        ...

    async def add(self, person: str, record: PersonRecord) -> PersonRecord:
        """Keep a record unless there is one; the answer is the one that is there then, whoever made it."""
        ...

    async def destroy(self, person: str) -> PersonRecord:
        """Put a tombstone in the place of a person's record, for good, and give it; also where there is no record."""
        ...

    async def rewrap(self, person: str, old: PersonRecord, new: PersonRecord) -> bool:
        """Put one record in place of another; whether that one was still there."""
        ...

    def records(self) -> AsyncIterator[tuple[str, PersonRecord]]:
        """All persons and their records."""
        ...

    async def close(self) -> None:
        """Let go of what is held."""
