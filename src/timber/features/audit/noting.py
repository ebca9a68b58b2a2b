"""The entry of an erasure: that it happened, when and by whom, and nothing of the person it was about."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from timber.context import current_actor
from timber.database.statements import Statement
from timber.features.audit.digests import SIZE, row_digest
from timber.models.audit_tables import ROWS
from timber.models.erasure_tables import ERASURES

if TYPE_CHECKING:
    from uuid import UUID

    from timber.database.manager import AsyncDatabaseManager
    from timber.features.audit.actors import Actors
    from timber.features.audit.keys import AuditKey

ERASE: Final = "erase"
"""The action of such an entry; its model is the table that keeps erasures, and its row one of that."""


async def note_erasure(
    db: AsyncDatabaseManager, key: AuditKey, actors: Actors, erasure: UUID
) -> None:
    """Add the entry, in the current transaction."""
    salt, made_at = secrets.token_bytes(SIZE), db.clock()
    mac = row_digest(
        key, model=ERASURES, action=ERASE, made_at=made_at, fields=(), digests=b"", salt=salt
    )
    args = (made_at, ERASURES, str(erasure), ERASE, salt, mac, key.id)
    who = actors.who(current_actor(), made_at, first=len(args))
    parts = ["written AS (SELECT 1)"]
    more: list[object] = [*args, *who.args]
    for number, companion in enumerate(who.companions):
        places = [f"${len(more) + n + 1}" for n in range(len(companion.args))]
        parts.append(f"beside_{number} AS ({companion.sql.format(*places)})")
        more += companion.args
    places = [f"${n + 1}" for n in range(len(more))]
    sql = (
        f"WITH {', '.join(parts)} INSERT INTO {ROWS}"  # fixed names
        " (made_at, model, row_key, action, actor, fields, digests, salt, mac, key_id)"
        f" SELECT $1::timestamptz, $2, $3, $4, {who.sql.format(*places)}, '{{}}', '', $5, $6, $7"
    )
    await db.execute(Statement(sql, label="note erasure"), more)
