"""How far each erasure has come, kept in the database so that any process can go on with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

from timber.database.statements import Statement
from timber.dto import encode_json
from timber.models.erasure_tables import ERASURES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from timber.database.manager import AsyncDatabaseManager
    from timber.privacy.people import Person

Done = dict[str, dict[str, int]]
"""How many rows have been ``deleted``, ``anonymised`` or ``emptied``, by model or association table."""

# The name of the table is fixed, and what is asked for goes as parameters.
# ruff: noqa: S608
_BEGIN: Final = Statement(
    f"INSERT INTO {ERASURES} (id, person, stand_in, done, started_at, updated_at)"
    " VALUES ($1, $2, $3, '{}', $4, $4)"
    " ON CONFLICT (person) WHERE finished_at IS NULL DO NOTHING",
    label="begin erasure",
)
_FIND: Final = Statement(
    f"SELECT id, stand_in, done, started_at FROM {ERASURES}"
    " WHERE person = $1 AND finished_at IS NULL",
    label="find erasure",
)
_LOCK: Final = Statement(
    f"SELECT finished_at, done FROM {ERASURES} WHERE id = $1 FOR UPDATE", label="lock erasure"
)
_SAVE: Final = Statement(
    f"UPDATE {ERASURES} SET done = $2, updated_at = $3 WHERE id = $1", label="save erasure"
)
_FINISH: Final = Statement(
    f"UPDATE {ERASURES} SET person = NULL, stand_in = NULL, updated_at = $2, finished_at = $2"
    " WHERE id = $1 AND finished_at IS NULL",
    label="finish erasure",
)
_OPEN: Final = Statement(
    f"SELECT person FROM {ERASURES} WHERE finished_at IS NULL ORDER BY started_at, id",
    label="open erasures",
)


@dataclass(slots=True)
class Erasure:
    """One erasure of a person, begun here or by another process.

    Attributes:
        token: what stands in for the person in rows that stay.
        resumed: whether it had been begun before.
        finished: whether another process has ended it meanwhile.
    """

    id: UUID
    token: UUID
    started_at: datetime
    resumed: bool
    done: Done = field(default_factory=dict)
    finished: bool = False

    def count(self, name: str, what: str, number: int) -> None:
        """Note that something has been done to rows."""
        if number:
            counts = self.done.setdefault(name, {})
            counts[what] = counts.get(what, 0) + number

    @property
    def rows(self) -> int:
        """How many rows have been dealt with in all."""
        return sum(number for counts in self.done.values() for number in counts.values())


class Journal:
    """The table of erasures."""

    def __init__(self, db: AsyncDatabaseManager) -> None:
        self._db = db

    async def begin(self, person: Person) -> Erasure:
        """The erasure of this person that is not finished yet, or a new one."""
        new = uuid4()
        args: Sequence[Any] = (new, person.text, uuid4(), self._db.clock())
        while True:
            await self._db.execute(_BEGIN, args)
            rows = await self._db.fetch(_FIND, (person.text,))
            if rows:  # else another process has finished its own just now
                break
        row = rows[0]
        return Erasure(
            row["id"],
            row["stand_in"],
            row["started_at"],
            resumed=row["id"] != new,
            done=row["done"],
        )

    async def lock(self, erasure: Erasure) -> bool:
        """Keep other processes from this erasure until the transaction ends; False if it is finished."""
        rows = await self._db.fetch(_LOCK, (erasure.id,))
        erasure.finished = not rows or rows[0]["finished_at"] is not None
        if rows:
            erasure.done = rows[0]["done"]
        return not erasure.finished

    async def save(self, erasure: Erasure) -> None:
        """Keep what has been done, in the transaction that did it."""
        args = (erasure.id, encode_json(erasure.done), self._db.clock())
        await self._db.execute(_SAVE, args)

    async def finish(self, erasure: Erasure) -> None:
        """Note that the erasure is done, and forget whose it was."""
        await self._db.execute(_FINISH, (erasure.id, self._db.clock()))
        erasure.finished = True

    async def unfinished(self) -> list[str]:
        """The ids of the persons whose erasure has been begun and not ended, the oldest first."""
        return [row["person"] for row in await self._db.fetch(_OPEN)]
