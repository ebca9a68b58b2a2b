"""Proof that nothing was changed, put in, taken out or cut off since it was sealed."""

from __future__ import annotations

from bisect import bisect_left
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, Literal

from timber.database.statements import Statement
from timber.features.audit.digests import row_digest, same
from timber.features.audit.reports import Anchor, AuditProblem, AuditReport
from timber.features.audit.sealing import read_head, stretches, upcoming
from timber.features.audit.seals import END, READ_ROWS, RowsDigest, Seal
from timber.models.audit_tables import SEALS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence
    from datetime import datetime

    from timber.database.manager import AsyncDatabaseManager
    from timber.features.audit.keys import AuditKey, AuditKeys
    from timber.features.audit.reports import Kind

BEGINNING: Final = -(2**63)
"""What is before all rows and transactions."""
SHOWN: Final = 100
"""How many problems are told one by one."""

_ROWS = Statement(READ_ROWS, label="read audit rows")
_SEALS = Statement(f"SELECT * FROM {SEALS} ORDER BY number", label="read audit seals")  # noqa: S608
_SEALS_OF = Statement(
    f"SELECT * FROM {SEALS} WHERE era = $1 ORDER BY number",  # noqa: S608
    label="read audit seals",
)

Rest = Literal["closed", "open", "last"]
"""What may be left of an era when its seals are through: nothing, rows of another server, or rows of this one."""

_transaction = itemgetter("transaction_id")


async def read_anchor(db: AsyncDatabaseManager) -> Anchor | None:
    """The end of the chain as it is now; None if nothing was sealed yet."""
    head = await read_head(db)
    return _anchor(head) if head is not None else None


async def verify(
    db: AsyncDatabaseManager,
    keys: AuditKeys,
    anchors: Iterable[Anchor] = (),
    *,
    on_rows: Callable[[int], None] | None = None,
) -> AuditReport:
    """Read all of the audit, in one snapshot and in bounded memory, and hold it against its seals.

    Args:
        anchors: ends of the chain from earlier times. Without one, what was cut off the end leaves no trace.
        on_rows: is told how many more rows have been read.
    """
    async with db.unit_of_work(isolation="repeatable read", read_only=True):
        return await _Verification(db, keys, anchors, on_rows or _nobody).report()


class _Verification:
    def __init__(
        self,
        db: AsyncDatabaseManager,
        keys: AuditKeys,
        anchors: Iterable[Anchor],
        on_rows: Callable[[int], None],
    ) -> None:
        self._on_rows = on_rows
        self._db = db
        self._keys = keys
        self._anchors = {anchor.number: anchor for anchor in anchors}
        self._problems: list[AuditProblem] = []
        self._problem_count = 0
        self._head: Seal | None = None
        self._eras: dict[int, int] = {}
        self._sealed = self._unsealed = self._without_salt = 0
        self._oldest: datetime | None = None

    async def report(self) -> AuditReport:
        number = await self._chain()
        self._upcoming = await upcoming(self._db)
        # What is left of an era whose end was not sealed yet is as good as what is left of the last one.
        left = {stretch.era: stretch.first_id for stretch in await stretches(self._db, self._head)}
        firsts = {**self._eras, **left}
        eras = sorted(firsts)
        for era, following in zip(eras, [*eras[1:], None], strict=True):
            begin = BEGINNING if era == eras[0] else firsts[era]
            end = END if following is None else firsts[following]
            rest: Rest = "last" if following is None else "open" if era in left else "closed"
            await self._era(era, begin, end, rest)
        age = self._db.clock() - self._oldest if self._oldest is not None else None
        return AuditReport(
            problems=tuple(self._problems),
            problem_count=self._problem_count,
            seals=number,
            sealed_rows=self._sealed,
            unsealed_rows=self._unsealed,
            unsealed_seconds=max(0.0, age.total_seconds()) if age is not None else 0.0,
            without_salt=self._without_salt,
            head=_anchor(self._head) if self._head is not None else None,
        )

    def _wrong(self, kind: Kind, message: str, seal: int | None = None) -> None:
        self._problem_count += 1
        if len(self._problems) < SHOWN:
            self._problems.append(AuditProblem(kind=kind, message=message, seal=seal))

    def _key(self, id: str, what: str, seal: int | None = None) -> AuditKey | None:
        key = self._keys.find(id)
        if key is None:
            message = f"{what} is under the key {id}, which is not among those of audit_key: add it, or it was forged"
            self._wrong("unknown_key", message, seal)
        return key

    # The chain

    async def _chain(self) -> int:
        """Hold each seal against the one before; how many they are."""
        number = 0
        async with self._db.cursor(_SEALS) as batches:
            async for records in batches:
                for record in records:
                    seal = Seal.of_record(record)
                    self._link(seal, self._head)
                    self._eras.setdefault(seal.era, seal.first_id)
                    self._head = seal
                    number += 1
        for anchor in self._anchors.values():
            self._wrong("cut_off", f"seal {anchor.number}, which an anchor names, is gone")
        return number

    def _link(self, seal: Seal, before: Seal | None) -> None:
        number = seal.number
        expected = before.number + 1 if before is not None else 1
        if number != expected:
            missing = f"seals {expected} to {number - 1} are gone"
            self._wrong("chain", missing, number)
        elif not _follows(seal, before):
            self._wrong("chain", f"seal {number} does not follow the one before it", number)
        key = self._key(seal.key_id, f"seal {number}", number)
        if key is not None and not same(seal.seal, seal.made_with(key)):
            self._wrong("chain", f"seal {number} is not as it was made", number)
        anchor = self._anchors.pop(number, None)
        if anchor is not None and anchor.seal != seal.seal.hex():
            self._wrong("chain", f"seal {number} is not the one that an anchor names", number)

    # The rows

    async def _era(self, era: int, begin: int, end: int, rest: Rest) -> None:
        async with self._db.cursor(_ROWS, [begin, end, BEGINNING, END]) as batches:
            rows = _Rows(batches, self._on_rows)
            async with self._db.cursor(_SEALS_OF, [era]) as records:
                async for batch in records:
                    for record in batch:
                        await self._stretch(Seal.of_record(record), rows)
            while part := await rows.before(END):
                for row in part:
                    self._left(row, rest)

    async def _stretch(self, seal: Seal, rows: _Rows) -> None:
        digest = RowsDigest()
        while part := await rows.before(seal.to_transaction):
            for row in part:
                digest.add(row)
                self._check(row, "changed", seal.number)
        self._sealed += digest.count
        where = f"under seal {seal.number} (transactions {seal.from_transaction} to {seal.to_transaction - 1})"
        more = digest.count - seal.row_count
        if more:
            kind: Kind = "inserted" if more > 0 else "removed"
            what = "too many" if more > 0 else "missing"
            self._wrong(kind, f"{where}: {abs(more)} of {seal.row_count} rows {what}", seal.number)
        elif not same(digest.digest(), seal.rows_digest):
            self._wrong("changed", f"{where}: a row is not as it was", seal.number)

    def _left(self, row: Any, rest: Rest) -> None:
        self._check(row, "forged", None)
        if rest == "closed" or (rest == "last" and row["transaction_id"] >= self._upcoming):
            message = f"row {row['id']} belongs to a transaction that cannot have written it"
            self._wrong("forged", message)
        self._unsealed += 1
        if self._oldest is None or row["made_at"] < self._oldest:
            self._oldest = row["made_at"]

    def _check(self, row: Any, kind: Kind, seal: int | None) -> None:
        """Hold a row against the digest that its writer has made of it."""
        if row["salt"] is None:
            self._without_salt += 1
            return
        key = self._key(row["key_id"], f"row {row['id']}", seal)
        if key is not None and not same(row["mac"], _mac(row, key)):
            self._wrong(kind, f"row {row['id']} is not as its writer has made it", seal)


class _Rows:
    """Rows in the order of their transactions, taken a part at a time."""

    def __init__(self, batches: AsyncIterator[list[Any]], on_rows: Callable[[int], None]) -> None:
        self._on_rows = on_rows
        self._batches = batches
        self._batch: list[Any] = []
        self._at = 0

    async def before(self, transaction: int) -> Sequence[Any]:
        """Some of the next rows of transactions before one; none if there are no more."""
        if self._at == len(self._batch):
            self._batch, self._at = await anext(self._batches, []), 0
            self._on_rows(len(self._batch))
        end = bisect_left(self._batch, transaction, self._at, key=_transaction)
        part = self._batch[self._at : end]
        self._at = end
        return part


def _follows(seal: Seal, before: Seal | None) -> bool:
    if before is None:
        return seal.previous == b"" and seal.from_transaction == 0
    if seal.era != before.era:
        return seal.previous == before.seal and seal.from_transaction == 0
    gap = seal.from_transaction != before.to_transaction or seal.first_id != before.first_id
    return seal.previous == before.seal and not gap


def _anchor(seal: Seal) -> Anchor:
    return Anchor(number=seal.number, seal=seal.seal.hex(), sealed_at=seal.sealed_at)


def _mac(row: Any, key: AuditKey) -> bytes:
    return row_digest(
        key,
        model=row["model"],
        action=row["action"],
        made_at=row["made_at"],
        fields=row["fields"],
        digests=row["digests"],
        salt=row["salt"],
    )


def _nobody(_rows: int) -> None:
    """Nobody wants to know how far it has come."""
