"""Asking the audit: the history of a row, what somebody did, and whether all of it is still as it was."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal
from uuid import UUID

import pydantic

from timber.database.statements import Statement
from timber.dto import DTO, CursorPage
from timber.errors import UsageError, ValidationError
from timber.features.audit.actors import Actors
from timber.features.audit.digests import SIZE, Digester, same
from timber.features.audit.noting import note_erasure
from timber.features.audit.verifying import read_anchor, verify
from timber.models.audit_tables import ACTORS, ROWS
from timber.models.erasure_tables import ERASURES
from timber.models.values import column_adapter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from timber.database.manager import AsyncDatabaseManager
    from timber.features.audit.keys import AuditKeys
    from timber.features.audit.reports import Anchor, AuditReport
    from timber.models.registry import ModelRegistry

MAX_LIMIT: Final = 1000

_ENTRY: Final = (
    f"SELECT entry.*, who.actor AS actor_name FROM {ROWS} AS entry"  # noqa: S608  # fixed names
    f" LEFT JOIN {ACTORS} AS who ON who.pseudonym = entry.actor"
)
_PAGE: Final = {
    "next": "entry.id < $1 ORDER BY entry.id DESC LIMIT $2",
    "previous": "entry.id > $1 ORDER BY entry.id LIMIT $2",
}
_HISTORY: Final = {
    way: Statement(
        f"{_ENTRY} WHERE entry.row_key = $3 AND entry.model = $4 AND {page}", label="history audit"
    )
    for way, page in _PAGE.items()
}
_ACTIONS: Final = {
    way: Statement(f"{_ENTRY} WHERE entry.actor = ANY($3::uuid[]) AND {page}", label="find audit")
    for way, page in _PAGE.items()
}
_ERASURES: Final = {
    way: Statement(f"{_ENTRY} WHERE entry.model = $3 AND {page}", label="erasures of audit")
    for way, page in _PAGE.items()
}
_PSEUDONYMS = Statement(
    f"SELECT pseudonym FROM {ACTORS} WHERE actor = $1",  # noqa: S608
    label="read audit actors",
)
_CUT = Statement(
    f"UPDATE {ACTORS} SET actor = NULL, cut_at = $2 WHERE actor = $1",  # noqa: S608
    label="cut audit actors",
)
_UNSALT = Statement(
    f"UPDATE {ROWS} SET salt = NULL WHERE row_key = ANY($1::text[]) AND model = $2 AND salt IS NOT NULL",  # noqa: S608
    label="unsalt audit",
)
_NEWEST: Final = 2**63 - 1


class AuditEntry(DTO):
    """Something that was done to a row."""

    id: int
    at: datetime
    model: str
    row_key: str
    """The row's key, as text."""
    action: Literal["insert", "update", "delete", "soft_delete", "restore", "erase"]
    fields: tuple[str, ...]
    """The columns that were written, and relationships whose links were changed."""
    actor: str | None
    """Who did it; None if nobody was named, or if an erasure has cut the pseudonym."""
    pseudonym: UUID | None
    """What stands for the actor in the audit; None if nobody was named."""
    transaction_id: int
    digests: dict[str, bytes] = pydantic.Field(repr=False)
    """Digests of the values that were written, by column."""
    salt: bytes | None = pydantic.Field(repr=False)
    """What the digests were made with; None after an erasure."""
    key_id: str


class AuditLog:
    """The audit of one database.

    Args:
        registry: the models whose rows it is about.
        keys: those that it was made with.
        actors: those whose pseudonyms this process knows.
    """

    def __init__(
        self,
        db: AsyncDatabaseManager,
        registry: ModelRegistry,
        keys: AuditKeys,
        *,
        actors: Actors | None = None,
    ) -> None:
        self._db = db
        self._registry = registry
        self._keys = keys
        self._actors = actors

    # Asking

    async def history(
        self, model: str, key: object, *, cursor: str | None = None, limit: int = 100
    ) -> CursorPage[AuditEntry]:
        """What was done to one row, the newest first.

        Args:
            limit: 1 to 1000.

        Raises:
            ValidationError: the key, the cursor or the limit does not fit.
            ConfigurationError: there is no such model.
        """
        config = self._registry.model_config(model)
        return await self._page(_HISTORY, [self._row_key(model, key), config.name], cursor, limit)

    async def actions(
        self, actor: str, *, cursor: str | None = None, limit: int = 100
    ) -> CursorPage[AuditEntry]:
        """What somebody did, the newest first; nothing after their pseudonym was cut.

        Raises:
            ValidationError: the cursor or the limit does not fit.
        """
        rows = await self._db.fetch(_PSEUDONYMS, [actor])
        return await self._page(_ACTIONS, [[row["pseudonym"] for row in rows]], cursor, limit)

    async def actions_under(
        self, pseudonym: UUID, *, cursor: str | None = None, limit: int = 100
    ) -> CursorPage[AuditEntry]:
        """What was done under a pseudonym, whether or not it can still be said whose it was."""
        return await self._page(_ACTIONS, [[pseudonym]], cursor, limit)

    async def erasures(
        self, *, cursor: str | None = None, limit: int = 100
    ) -> CursorPage[AuditEntry]:
        """The erasures of persons, the newest first: when, and by whom, but not whose.

        Raises:
            ValidationError: the cursor or the limit does not fit.
        """
        return await self._page(_ERASURES, [ERASURES], cursor, limit)

    def proves(self, entry: AuditEntry, field: str, value: object) -> bool:
        """Whether this is the value that was written to a column then. Of a merge it is what was merged in.

        Raises:
            UsageError: the entry has no digest of that column, or has lost its salt, or its key is not there.
            ValidationError: the value does not fit the column.
        """
        if field not in entry.digests:
            raise UsageError(f"This entry has no digest of {field}: nothing can be said of it.")
        if entry.salt is None:
            raise UsageError("The salt of this entry was taken by an erasure.")
        key = self._keys.find(entry.key_id)
        if key is None:
            raise UsageError(f"The key {entry.key_id} is not among those of audit_key.")
        column = self._registry.model_config(entry.model).column(field)
        try:
            plain = column_adapter(column).validate_python(value)
        except pydantic.ValidationError as error:
            raise ValidationError.from_pydantic(error).at(field) from None
        digest = Digester(entry.model, [column], key).digest(field, plain, entry.salt)
        return same(digest, entry.digests[field])

    # Proof

    async def verify(self, anchors: Iterable[Anchor] = ()) -> AuditReport:
        """Hold all of the audit against its seals.

        Args:
            anchors: ends of the chain from earlier times.
        """
        return await verify(self._db, self._keys, anchors)

    async def anchor(self) -> Anchor | None:
        """The end of the chain as it is now; None if nothing was sealed yet."""
        return await read_anchor(self._db)

    # Erasure

    async def forget_actor(self, actor: str) -> int:
        """Cut somebody's pseudonyms: nothing says any more whose they were. How many there were.

        Sealed rows stay as they are, and so does what a verification finds.
        """
        cut = await self._db.execute(_CUT, [actor, self._db.clock()])
        if self._actors is not None:
            self._actors.forget(actor)
        return cut

    async def forget_values(self, model: str, keys: Iterable[object]) -> int:
        """Take the salts of these rows' entries, so that no value can be held against their digests any more.

        Returns:
            How many entries there were.
        """
        name = self._registry.model_config(model).name
        return await self._db.execute(_UNSALT, [[self._row_key(model, k) for k in keys], name])

    async def note_erasure(self, erasure: UUID) -> None:
        """Add the entry of an erasure, in the current transaction: nothing in it is personal."""
        actors = self._actors or Actors()
        await note_erasure(self._db, self._keys.current, actors, erasure)

    # Pages

    def _row_key(self, model: str, key: object) -> str:
        config = self._registry.model_config(model)
        try:
            checked = column_adapter(config.column(config.primary_key)).validate_python(key)
        except pydantic.ValidationError:
            raise ValidationError.of("key", f"is not a key of {config.name}") from None
        return str(checked)

    async def _page(
        self,
        statements: dict[str, Statement],
        args: list[Any],
        cursor: str | None,
        limit: int,
    ) -> CursorPage[AuditEntry]:
        if not 1 <= limit <= MAX_LIMIT:
            raise ValidationError.of("limit", f"is to be from 1 to {MAX_LIMIT}")
        way, mark = _read_cursor(cursor) if cursor is not None else ("next", _NEWEST)
        rows = await self._db.fetch(statements[way], [mark, limit + 1, *args])
        more, rows = len(rows) > limit, rows[:limit]
        if way == "previous":
            rows.reverse()
        older = more if way == "next" else bool(rows)
        newer = cursor is not None and bool(rows) and (more or way == "next")
        return CursorPage(
            items=[_entry(row) for row in rows],
            next_cursor=_cursor("next", rows[-1]["id"]) if older else None,
            previous_cursor=_cursor("previous", rows[0]["id"]) if newer else None,
        )


def _entry(row: Any) -> AuditEntry:
    digests = row["digests"]
    fields = tuple(row["fields"])
    parts = [digests[start : start + SIZE] for start in range(0, len(digests), SIZE)]
    return AuditEntry(
        id=row["id"],
        at=row["made_at"],
        model=row["model"],
        row_key=row["row_key"],
        action=row["action"],
        fields=fields,
        actor=row["actor_name"],
        pseudonym=row["actor"],
        transaction_id=row["transaction_id"],
        digests=dict(zip(fields, parts, strict=False)),  # of claims and links there are none
        salt=row["salt"],
        key_id=row["key_id"],
    )


def _cursor(way: str, id: int) -> str:
    return base64.urlsafe_b64encode(f"{way[0]}{id}".encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[str, int]:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        way = {"n": "next", "p": "previous"}[text[:1]]
        mark = int(text[1:])
    except (binascii.Error, ValueError, KeyError):
        raise ValidationError.of("cursor", "is not one that was given out here") from None
    if not 0 <= mark <= _NEWEST:
        raise ValidationError.of("cursor", "is not one that was given out here")
    return way, mark
