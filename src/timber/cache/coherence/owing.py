"""Owed invalidations: a row in PostgreSQL, written by the transaction that changes a cached model, says what Redis has yet
to drop. Whoever comes first clears it: the writer after its COMMIT, or, had it crashed, any process.
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol
from uuid import UUID

from uuid_utils.compat import uuid7

from timber.cache.coherence.store import UnreachableError
from timber.database.statements import Statement
from timber.models.owed_table import OWED_TABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from timber.cache.coherence.changes import Changes
    from timber.cache.coherence.levels import Levels
    from timber.database.manager import AsyncDatabaseManager

TABLE: Final = OWED_TABLE
BATCH: Final = 500

INSERT: Final = f"INSERT INTO {TABLE} (id, names) VALUES ($1, $2)"  # noqa: S608  # fixed names
_INSERT = Statement(INSERT, label="insert owed")
_DUE = Statement(
    f"SELECT id, names FROM {TABLE} WHERE made_at < clock_timestamp() - $1::interval LIMIT {BATCH}",  # noqa: S608
    label="background: find owed",
)
_WAITING = Statement(
    "SELECT count(*) AS number, "  # noqa: S608
    "coalesce(extract(epoch FROM clock_timestamp() - min(made_at)), 0)::float AS seconds "
    f"FROM {TABLE}",
    label="count owed",
)
_DELETE = Statement(
    # Nothing is lost if a crash brings some back: they are paid once more. So nobody's COMMIT waits for this one's.
    "WITH quick AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true)) "  # noqa: S608
    f"DELETE FROM {TABLE} WHERE id = ANY($1::uuid[]) AND EXISTS (SELECT FROM quick)",
    label="background: delete owed",
)


def owed_statement(changes: Changes) -> tuple[str, list[object]]:
    """The owed row of a transaction: SQL and arguments, to be sent in it before its COMMIT."""
    changes.owed = uuid7()
    return INSERT, [changes.owed, list(changes.names)]


def owed_text(changes: Changes) -> str:
    """The same as SQL without parameters, to be sent with the COMMIT."""
    changes.owed = uuid7()
    listed = ",".join(_quoted(name) for name in changes.names)
    mark = f"$owed{secrets.token_hex(8)}$"  # nobody who makes up a name knows it
    return f"INSERT INTO {TABLE} (id, names) VALUES ('{changes.owed}', {mark}{{{listed}}}{mark}::text[])"  # noqa: S608


def _quoted(name: str) -> str:
    """An element of an array's text."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def new_owed_id() -> UUID:
    """An id for an owed row."""
    return uuid7()


def row_name_sql(model: str, key: str, row: str = "written") -> str:
    """The SQL expression of the name of a row, as ``row_name`` makes it."""
    return f"concat('{model}:', {row}.\"{key}\"::text)"


class Waiting(NamedTuple):
    """How many owed rows there are, and the age of the oldest in seconds."""

    number: int
    seconds: float


class OwedRows(Protocol):
    """The table of owed rows."""

    async def add(self, id: UUID, names: Sequence[str]) -> None:
        """Write one outside of any transaction."""
        raise NotImplementedError

    async def due(self) -> list[tuple[UUID, Sequence[str]]]:
        """Rows whose writer should have cleared by now."""
        raise NotImplementedError

    async def delete(self, ids: Sequence[UUID]) -> None: ...

    async def waiting(self) -> Waiting:
        """What has not been paid yet."""
        raise NotImplementedError


class StoredOwedRows:
    """The table on a database.

    Args:
        age: seconds that a writer has for its own clear before another process repeats it.
    """

    def __init__(self, db: AsyncDatabaseManager, *, age: float = 0.25) -> None:
        self._db = db
        self._age = timedelta(seconds=age)

    async def add(self, id: UUID, names: Sequence[str]) -> None:
        await self._db.execute(_INSERT, [id, list(names)])

    async def due(self) -> list[tuple[UUID, Sequence[str]]]:
        return [(row["id"], row["names"]) for row in await self._db.fetch(_DUE, [self._age])]

    async def delete(self, ids: Sequence[UUID]) -> None:
        await self._db.execute(_DELETE, [list(ids)])

    async def waiting(self) -> Waiting:
        row = (await self._db.fetch(_WAITING))[0]
        return Waiting(row["number"], round(row["seconds"], 3))


class Owing:
    """What this process does about owed rows: it deletes its own, and clears what others could not."""

    def __init__(self, levels: Levels, rows: OwedRows) -> None:
        self.rows = rows
        self._levels = levels
        self._settled: list[UUID] = []

    def settle(self, id: UUID) -> None:
        """Redis has confirmed what this row owes: delete it with the next batch."""
        self._settled.append(id)

    @property
    def settled(self) -> int:
        """How many rows wait to be deleted."""
        return len(self._settled)

    async def delete_settled(self) -> None:
        """Delete the rows whose clears are confirmed."""
        while self._settled:
            ids = self._settled[:BATCH]
            await self.rows.delete(ids)
            del self._settled[: len(ids)]

    async def replay(self) -> int:
        """Clear what is owed, by whomever; the number of rows. What Redis does not confirm stays owed."""
        store = self._levels.store
        assert store is not None
        settled = set(self._settled)
        due = [(id_, names) for id_, names in await self.rows.due() if id_ not in settled]
        if not due:
            return 0
        names = tuple(dict.fromkeys(name for _, owed in due for name in owed))
        self._levels.drop(names)
        try:
            await store.clear(names)
        except UnreachableError:
            return 0
        await self.rows.delete([id_ for id_, _ in due])
        self._levels.stats.replayed += len(due)
        return len(due)
