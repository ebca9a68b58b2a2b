"""Sealing as work beside requests, for ``timber worker``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from timber.database.statements import Statement
from timber.features.audit.sealing import BATCH, Sealer, read_head
from timber.models.audit_tables import ROWS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from timber.database.manager import AsyncDatabaseManager

_UNSEALED: Final = Statement(
    f"SELECT count(*) AS rows, min(made_at) AS oldest FROM {ROWS}"  # noqa: S608  # fixed names
    " WHERE transaction_id >= $1 AND id >= $2",
    label="count audit",
)


class SealingWork:
    """Seals what has finished, a part at a time.

    Args:
        every: seconds from one sealing to the next, so that seals do not become many and small.
    """

    name = "audit"

    def __init__(self, db: AsyncDatabaseManager, sealer: Sealer, *, every: float = 5.0) -> None:
        self._db = db
        self._sealer = sealer
        self._every = every
        self._next = 0.0

    async def step(self) -> int:
        """Seal the next part, unless it is too early; how many rows it has."""
        if time.monotonic() < self._next:
            return 0
        sealed = await self._sealer.seal_once()
        if sealed < BATCH:
            self._next = time.monotonic() + self._every
        return sealed

    async def figures(self) -> Mapping[str, float]:
        """How many rows are not sealed yet, and how old the oldest of them is."""
        head = await read_head(self._db)
        args = (head.to_transaction, head.first_id) if head is not None else (0, 0)
        found = (await self._db.fetch(_UNSEALED, args))[0]
        oldest = found["oldest"]
        age = (self._db.clock() - oldest).total_seconds() if oldest is not None else 0.0
        return {"unsealed_rows": found["rows"], "oldest_seconds": max(0.0, age)}
