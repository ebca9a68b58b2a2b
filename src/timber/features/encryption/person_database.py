"""Persons' data keys in another PostgreSQL than the one that holds their rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from timber.database.manager import AsyncDatabaseManager
from timber.database.statements import Statement
from timber.errors import ConfigurationError
from timber.features.encryption.person_records import NO_KEY, PersonRecord
from timber.settings import TimberSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping

_METADATA: Final = sa.MetaData()
sa.Table(
    "timber_person_keys",
    _METADATA,
    sa.Column("person", sa.String(64), primary_key=True, comment="A digest of the person's id."),
    sa.Column("key_id", sa.String(64), nullable=False, comment="The id of the data key."),
    sa.Column("master", sa.String(64), nullable=False, comment="The master key that wraps it."),
    sa.Column("wrapped", sa.LargeBinary, comment="The data key; NULL once it was destroyed."),
    sa.Column("made_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    sa.Column("destroyed_at", sa.DateTime(timezone=True)),
    comment="Data keys of persons, each wrapped with a master key.",
)


def _statement(label: str, sql: str) -> Statement:
    return Statement(sql, label=f"{label} person keys")


_READ: Final = _statement(
    "read", "SELECT person, key_id, master, wrapped FROM timber_person_keys WHERE person = ANY($1)"
)
_ADD: Final = _statement(
    "add",
    "INSERT INTO timber_person_keys (person, key_id, master, wrapped) VALUES ($1, $2, $3, $4) "
    "ON CONFLICT (person) DO NOTHING RETURNING person, key_id, master, wrapped",
)
_DESTROY: Final = _statement(
    "destroy",
    "INSERT INTO timber_person_keys (person, key_id, master, wrapped, destroyed_at) VALUES ($1, $2, $2, NULL, now()) "
    "ON CONFLICT (person) DO UPDATE SET wrapped = NULL, "
    "destroyed_at = coalesce(timber_person_keys.destroyed_at, now()) "
    "RETURNING person, key_id, master, wrapped",
)
_REWRAP: Final = _statement(
    "rewrap",
    "UPDATE timber_person_keys SET key_id = $3, master = $4, wrapped = $5 "
    "WHERE person = $1 AND wrapped = $2 RETURNING person, key_id, master, wrapped",
)
_NEXT: Final = _statement(
    "list",
    "SELECT person, key_id, master, wrapped FROM timber_person_keys WHERE person > $1 ORDER BY person LIMIT $2",
)
_WHERE: Final = _statement(
    "locate",
    "SELECT system_identifier::text || '/' || current_database() AS place FROM pg_control_system()",
)
_BATCH: Final = 500


class PersonKeyDatabase:
    """A table in a PostgreSQL database of its own, shared by all processes that reach it.

    Leave that database out of backups, or keep those, and its archived write-ahead log, for a short time: what they bring
    back is a destroyed key.

    Args:
        url: ``postgresql://user:password@host:port/name``.
    """

    def __init__(self, url: str) -> None:
        settings = TimberSettings(
            database_url=url, pool_size=2, max_overflow=4, application_name="timber-person-keys"
        )
        self._db = AsyncDatabaseManager(settings=settings, metadata=_METADATA)
        self._made = False

    async def check(self, db: AsyncDatabaseManager) -> None:
        """Make the table if it is not there.

        Raises:
            ConfigurationError: it would be in the database that holds the rows.
        """
        here, there = await self._db.fetch(_WHERE), await db.fetch(_WHERE)
        if here[0]["place"] == there[0]["place"]:
            raise ConfigurationError(
                f"person_keys is the database that holds the rows ({self._db.target}): a dump of it would hold the keys "
                "too. Name another one, or a folder."
            )
        await self._make()

    async def read(self, persons: Collection[str]) -> Mapping[str, PersonRecord]:
        """What there is of these persons."""
        await self._make()
        rows = await self._db.fetch(_READ, [list(persons)])
        return dict(map(_record, rows))

    async def add(self, person: str, record: PersonRecord) -> PersonRecord:
        """Keep a record unless there is one; the answer is the one that is there then."""
        await self._make()
        args = [person, record.key_id, record.master, record.wrapped]
        rows = await self._db.write(_ADD, args) or await self._db.fetch(_READ, [[person]])
        return _record(rows[0])[1]

    async def destroy(self, person: str) -> PersonRecord:
        """Put a tombstone in the place of a person's record."""
        await self._make()
        rows = await self._db.write(_DESTROY, [person, NO_KEY])
        return _record(rows[0])[1]

    async def rewrap(self, person: str, old: PersonRecord, new: PersonRecord) -> bool:
        """Put one record in place of another; whether that one was still there."""
        args = [person, old.wrapped, new.key_id, new.master, new.wrapped]
        return bool(await self._db.write(_REWRAP, args))

    async def records(self) -> AsyncIterator[tuple[str, PersonRecord]]:
        """All persons and their records."""
        await self._make()
        last = ""
        while rows := await self._db.fetch(_NEXT, [last, _BATCH]):
            for row in rows:
                yield _record(row)
            last = rows[-1]["person"]

    async def close(self) -> None:
        """Close the connections."""
        await self._db.dispose()

    async def _make(self) -> None:
        if not self._made:
            await self._db.create_all_tables()
            self._made = True


def _record(row: Any) -> tuple[str, PersonRecord]:
    return row["person"], PersonRecord(row["key_id"], row["master"], row["wrapped"])
