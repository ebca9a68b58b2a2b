"""Those who act, under random pseudonyms: the audit keeps these, and a table that erasure can cut says whose they are."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import UUID, uuid4

from timber.database.statements import Statement
from timber.features.feature import Companion
from timber.models.audit_tables import ACTORS

if TYPE_CHECKING:
    from datetime import datetime

    from timber.database.manager import AsyncDatabaseManager

KEPT: Final = 10_000
"""How many actors a process keeps the pseudonyms of."""
SECONDS: Final = 60.0
"""How long it keeps one, at most; for as long an erased actor's new rows still get the old, cut pseudonym."""

# What this transaction has made itself may still be rolled back.
_COMMITTED = Statement(
    f"SELECT pseudonym FROM {ACTORS} WHERE actor = $1"  # noqa: S608  # fixed names
    " AND transaction_id IS DISTINCT FROM pg_current_xact_id_if_assigned()::text::bigint"
    " ORDER BY made_at, pseudonym LIMIT 1",
    label="read audit actors",
)
_IF_MISSING: Final = (
    f"INSERT INTO {ACTORS} (pseudonym, actor, made_at) SELECT {{0}}::uuid, {{1}}::text, {{2}}::timestamptz"  # noqa: S608
    f" WHERE EXISTS (SELECT FROM written) AND NOT EXISTS (SELECT FROM {ACTORS} WHERE actor = {{1}}::text)"
)
_FOUND_OR_NEW: Final = (
    f"coalesce((SELECT pseudonym FROM {ACTORS} WHERE actor = {{%d}}::text"  # noqa: S608
    " ORDER BY made_at, pseudonym LIMIT 1), {%d}::uuid)"
)


class Who(NamedTuple):
    """How a statement says who acts.

    Attributes:
        sql: an expression of the pseudonym with placeholders from ``{first}`` on.
        args: their arguments.
        companions: what is to be written beside it.
    """

    sql: str
    args: tuple[object, ...]
    companions: tuple[Companion, ...] = ()


class Actors:
    """The pseudonyms that a process knows.

    Nobody waits for anybody: a transaction that knows no pseudonym of its actor looks for one, or makes one, in the
    statement that it sends anyway. Two that do so at once give that actor two pseudonyms.
    """

    def __init__(self) -> None:
        self._met: OrderedDict[str, tuple[float, UUID | None]] = OrderedDict()

    async def meet(self, db: AsyncDatabaseManager, actor: str | None) -> None:
        """Learn the pseudonym of an actor who was here before and may be here again."""
        if actor is None or self._pseudonym(actor) is not None:
            return
        if actor not in self._met:
            self._keep(actor, None)  # who comes once is not worth a round trip
            return
        rows = await db.fetch(_COMMITTED, [actor])
        self._keep(actor, rows[0]["pseudonym"] if rows else None)

    def who(self, actor: str | None, now: datetime, *, first: int) -> Who:
        """How a statement whose next placeholder is ``{first}`` says who acts."""
        pseudonym = self._pseudonym(actor) if actor is not None else None
        if actor is None or pseudonym is not None:
            return Who(f"{{{first}}}::uuid", (pseudonym,))
        new = uuid4()
        return Who(
            _FOUND_OR_NEW % (first, first + 1),
            (actor, new),
            (Companion(_IF_MISSING, (new, actor, now)),),
        )

    def forget(self, actor: str) -> None:
        """Look for this actor's pseudonym anew."""
        self._met.pop(actor, None)

    def _pseudonym(self, actor: str) -> UUID | None:
        met = self._met.get(actor)
        return met[1] if met is not None and time.monotonic() - met[0] < SECONDS else None

    def _keep(self, actor: str, pseudonym: UUID | None) -> None:
        self._met[actor] = time.monotonic(), pseudonym
        self._met.move_to_end(actor)
        if len(self._met) > KEPT:
            self._met.popitem(last=False)
