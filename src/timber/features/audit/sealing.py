"""The sealer: chains the rows of finished transactions in batches, while nobody who writes waits for it."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from timber.database.statements import Statement
from timber.errors import ServiceError, UnavailableError
from timber.features.audit.seals import END, READ_HEAD, READ_ROWS, RowsDigest, Seal
from timber.models.audit_tables import ROWS, SEALS

if TYPE_CHECKING:
    from timber.database.manager import AsyncDatabaseManager
    from timber.features.audit.keys import AuditKeys

logger: logging.Logger = logging.getLogger(__name__)

BATCH: Final = 10_000
"""Rows under one seal, more only where a single transaction has written more."""
SEALS_AT_ONCE: Final = 10
"""Seals of one transaction of the sealer."""

_NO_TABLE: Final = "42P01"
_LOCK: Final = 0x74696D626572_5EA1  # "timber", seal
_TRY_LOCK = Statement("SELECT pg_try_advisory_xact_lock($1) AS is_ours", label="lock audit seals")
_HEAD = Statement(READ_HEAD, label="read audit seals")
_ROWS = Statement(READ_ROWS, label="read audit rows")
_HORIZON = Statement(
    "SELECT pg_snapshot_xmin(s)::text::bigint AS finished, pg_snapshot_xmax(s)::text::bigint AS next"
    " FROM pg_current_snapshot() AS s",
    label="read transactions",
)
_LAST_OLD = Statement(
    f"SELECT max(id) AS id FROM {ROWS} WHERE transaction_id >= $1 AND id >= $2",  # noqa: S608
    label="read audit rows",
)
_NAMES: Final = tuple(Seal.__slots__)
_INSERT = Statement(
    f"INSERT INTO {SEALS} ({', '.join(_NAMES)})"  # noqa: S608  # fixed names
    f" VALUES ({', '.join(f'${n + 1}' for n in range(len(_NAMES)))})",
    label="insert audit seals",
)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Rows that are to be sealed: those of an era from one transaction up to, but not with, another."""

    era: int
    first_id: int
    end_id: int
    from_transaction: int
    to_transaction: int


class Sealer:
    """Seals what has finished. One at a time does so, in whatever process; the others have nothing to do meanwhile.

    Rows count as finished when their transaction is older than every one that is still running: a transaction that stays
    open keeps the sealer from all that began after it, and nothing else.

    Args:
        keys: seals are made with the current one.
        batch: rows under one seal.
    """

    def __init__(self, db: AsyncDatabaseManager, keys: AuditKeys, *, batch: int = BATCH) -> None:
        self._db = db
        self._keys = keys
        self._batch = batch

    async def run(self, every: float = 5.0) -> None:
        """Seal again and again, until cancelled or the way to the database is closed.

        Args:
            every: seconds from one time to the next.
        """
        while True:
            try:
                await self.seal_all()
            except ServiceError as error:
                if self._is_closed():
                    return
                # Tables that are not made yet hold nothing to seal; whoever writes is told of them.
                missing = getattr(error, "sqlstate", None) == _NO_TABLE
                level = logging.DEBUG if missing else logging.WARNING
                logger.log(level, "The audit could not be sealed: %s", error)
            await asyncio.sleep(every)

    def _is_closed(self) -> bool:
        try:
            with self._db.door:
                return False
        except UnavailableError:
            return True

    async def seal_all(self) -> int:
        """Seal what has finished by now; the number of rows."""
        total = sealed = await self.seal_once()
        while sealed >= self._batch:
            sealed = await self.seal_once()
            total += sealed
        return total

    async def seal_once(self) -> int:
        """Seal the next batches of finished rows; how many they were. 0: nothing is left, or somebody else is at it."""
        async with self._db.unit_of_work():
            if not (await self._db.fetch(_TRY_LOCK, [_LOCK]))[0]["is_ours"]:
                return 0
            # Read after the lock is held: what the sealer before has left is there.
            head = await read_head(self._db)
            made: list[Seal] = []
            for stretch in await stretches(self._db, head):
                if len(made) < SEALS_AT_ONCE:
                    made += await self._seals(stretch, made[-1] if made else head)
            for seal in made:
                await self._db.execute(_INSERT, [getattr(seal, name) for name in _NAMES])
        return sum(seal.row_count for seal in made)

    async def _seals(self, stretch: Stretch, head: Seal | None) -> list[Seal]:
        """The next seals of a stretch; the last of them ends where it does, if there are fewer than can be at once."""
        args = [stretch.first_id, stretch.end_id, stretch.from_transaction, stretch.to_transaction]
        begin, last, digest = stretch.from_transaction, None, RowsDigest()
        made: list[Seal] = []
        async with self._db.cursor(_ROWS, args) as batches:
            async for rows in batches:
                for row in rows:
                    transaction = row["transaction_id"]
                    if digest.count >= self._batch and transaction != last:
                        head = self._made(stretch, head, begin, transaction, digest)
                        made.append(head)
                        begin, digest = transaction, RowsDigest()
                        if len(made) == SEALS_AT_ONCE:
                            return made
                    digest.add(row)
                    last = transaction
        if digest.count:
            made.append(self._made(stretch, head, begin, stretch.to_transaction, digest))
        return made

    def _made(
        self, stretch: Stretch, previous: Seal | None, begin: int, end: int, digest: RowsDigest
    ) -> Seal:
        key = self._keys.current
        seal = Seal(
            number=previous.number + 1 if previous is not None else 1,
            era=stretch.era,
            first_id=stretch.first_id,
            from_transaction=begin,
            to_transaction=end,
            row_count=digest.count,
            last_id=max(digest.last_id, previous.last_id if previous is not None else 0),
            rows_digest=digest.digest(),
            previous=previous.seal if previous is not None else b"",
            key_id=key.id,
            sealed_at=self._db.clock(),
        )
        return replace(seal, seal=seal.made_with(key))


async def read_head(db: AsyncDatabaseManager) -> Seal | None:
    """The last seal; None if nothing was sealed yet."""
    found = await db.fetch(_HEAD)
    return Seal.of_record(found[0]) if found else None


async def stretches(db: AsyncDatabaseManager, head: Seal | None) -> list[Stretch]:
    """What is there to be sealed after a seal.

    A table that was dumped and restored on another server begins a new era there, for that server counts its transactions
    anew: what is left of the old one comes first.
    """
    horizon: Any = (await db.fetch(_HORIZON))[0]
    finished = horizon["finished"]
    if head is None:
        return [Stretch(1, 0, END, 0, finished)]
    begin = head.to_transaction
    if horizon["next"] >= begin:
        return [Stretch(head.era, head.first_id, END, begin, finished)]
    left: int | None = (await db.fetch(_LAST_OLD, [begin, head.first_id]))[0]["id"]
    first = max(head.last_id, left or 0) + 1
    return [
        Stretch(head.era, head.first_id, first, begin, END),
        Stretch(head.era + 1, first, END, 0, finished),
    ]


async def upcoming(db: AsyncDatabaseManager) -> int:
    """The id of the next transaction that begins."""
    horizon: Any = (await db.fetch(_HORIZON))[0]
    following: int = horizon["next"]
    return following
