"""Everything that is not under the primary key encrypted anew, while the application goes on.

Rows are taken in the order of their keys, a batch in a transaction, and only those that nobody holds: readers are never
kept waiting, and writers for a batch at most. What is to be done is found by looking at what is stored, so that a run that
was broken off is simply begun again.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from timber.database.statements import Statement
from timber.errors import EncryptionError
from timber.features.encryption.reporting import SCAN_SECONDS, encrypted_models
from timber.features.encryption.rotating import RotatedTable
from timber.features.feature import FeatureModel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from timber.database.manager import AsyncDatabaseManager
    from timber.features.encryption.provider import EncryptionProvider
    from timber.models.registry import ModelRegistry

_POLL: Final = 0.2  # seconds

# Whoever has written to a table holds this lock to the end of the transaction, and everybody may know of it.
_WRITERS: Final = Statement(
    "SELECT DISTINCT virtualtransaction AS id FROM pg_locks"
    " WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND granted"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND relation IN (SELECT to_regclass(quote_ident(name)) FROM unnest($1::text[]) AS name)",
    label="writers",
)


@dataclass(slots=True)
class Rotated:
    """What came of a rotation.

    Attributes:
        primary: the key that values are under now.
        rows: how many rows were encrypted anew.
        persons: how many data keys of persons were wrapped anew.
        left: how many rows are still under other keys although they could be read: somebody held them all the time.
        failed: how many rows, or keys of persons, could not be decrypted, by the ids of their keys.
        settled: whether all transactions that had written before have ended, so that nothing of theirs can come up.
    """

    primary: str
    rows: int = 0
    persons: int = 0
    left: int = 0
    failed: Mapping[str, int] = field(default_factory=dict)
    settled: bool = False

    @property
    def complete(self) -> bool:
        """Whether nothing is left under another key."""
        return self.settled and not self.left and not self.failed


class Rotation:
    """Encrypts anew what is not under the primary key: rows, their blind indexes, and the keys of persons.

    Every process is to know the primary key before this begins.

    Args:
        batch: rows in one transaction.
        patience: seconds to wait for rows and transactions that others hold, without getting any further.
        grace: seconds within which what was encrypted before this began has reached the database.
    """

    def __init__(
        self,
        db: AsyncDatabaseManager,
        registry: ModelRegistry,
        provider: EncryptionProvider,
        *,
        batch: int = 200,
        patience: float = 30.0,
        grace: float = 1.0,
    ) -> None:
        self._db = db
        self._provider = provider
        self._patience = patience
        self._grace = grace
        self._tables = [
            RotatedTable(
                FeatureModel(config, registry.table(config.name), db), provider, batch=batch
            )
            for config in encrypted_models(registry)
        ]

    async def to_do(self) -> int:
        """How many rows are not under the primary key."""
        keys = await self._provider.keys.get()
        return sum([await self._counted(table, keys.primary) for table in self._tables])

    async def run(self, advance: Callable[[int], Any] = lambda _: None) -> Rotated:
        """Do it.

        Args:
            advance: is told of each batch how many rows were encrypted anew.
        """
        keys = await self._provider.keys.get()
        done = Rotated(keys.primary)
        failed = await self._rewrap(done)
        before: frozenset[str] | None = None
        settles_at = time.monotonic() + self._grace
        patient_until = settles_at + self._patience
        while True:
            if time.monotonic() >= settles_at:
                writers = await self._writers()
                before = writers if before is None else before & writers
            done.settled = before is not None and not before
            rows, unread = await self._once(keys.primary, advance)
            done.rows += rows
            done.failed = dict(failed + unread)
            left = sum([await self._counted(table, keys.primary) for table in self._tables])
            done.left = max(0, left - unread.total())
            if done.settled and not done.left:
                return done
            if rows:
                patient_until = time.monotonic() + self._patience
            elif time.monotonic() > patient_until:
                return done
            await asyncio.sleep(_POLL)

    async def _writers(self) -> frozenset[str]:
        """The open transactions that have written to the tables."""
        rows = await self._db.fetch(_WRITERS, [[table.name for table in self._tables]])
        return frozenset(row["id"] for row in rows)

    async def _once(self, primary: str, advance: Callable[[int], Any]) -> tuple[int, Counter[str]]:
        """Go through all tables once."""
        rows, unread = 0, Counter[str]()
        for table in self._tables:
            async for number, failed in table.batches(primary):
                rows += number
                unread += failed
                advance(number)
        return rows, unread

    async def _counted(self, table: RotatedTable, primary: str) -> int:
        async with self._db.unit_of_work(read_only=True, statement_timeout=SCAN_SECONDS):
            return await table.count(primary)

    async def _rewrap(self, done: Rotated) -> Counter[str]:
        failed = Counter[str]()
        if self._provider.has_persons:
            persons = self._provider.persons
            async for person, record in persons.store.records():
                try:
                    done.persons += await persons.rewrap(person, record)
                except EncryptionError as error:
                    failed[error.key_id or record.master] += 1
        return failed
