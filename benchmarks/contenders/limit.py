"""The limit: asyncpg's own pool and nothing else, with the statements that Timber sends."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID, SafeUUID

import asyncpg
from uuid_utils.compat import uuid7

from benchmarks.contenders import POOL_SIZE
from benchmarks.database import driver_url, use_json
from benchmarks.rows import (
    RESEARCH_FIELDS,
    SESSION_FIELDS,
    Change,
    Criteria,
    Plan,
    SessionOverview,
    SessionStory,
    Values,
    Visit,
)
from timber import ResearchDTO, SessionDTO

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncpg.pool import PoolConnectionProxy
    from sqlalchemy import URL

    _Connection = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]

SESSION_COLUMNS = (
    "id",
    "user_id",
    "session_type",
    "status",
    "metadata",
    "version",
    "version_token",
    "created_at",
    "updated_at",
    "completed_at",
    "deleted_at",
)
RESEARCH_COLUMNS = (
    "id",
    "session_id",
    "user_id",
    "research_type",
    "title",
    "content",
    "metadata",
    "source_hash",
    "version",
    "version_token",
    "created_at",
    "updated_at",
    "deleted_at",
)

_SESSION = ", ".join(f"sessions.{name}" for name in SESSION_FIELDS)
_RESEARCH = ", ".join(f"research_data.{name}" for name in RESEARCH_FIELDS)

GET = f"SELECT {_SESSION} FROM sessions WHERE sessions.id = $1 AND sessions.deleted_at IS NULL"
LIST = (
    f"SELECT {_SESSION} FROM sessions WHERE sessions.user_id = $1 AND sessions.deleted_at IS NULL "
    "ORDER BY sessions.created_at DESC, sessions.id DESC LIMIT $2"
)
FILTER = (
    f"SELECT {_SESSION} FROM sessions WHERE sessions.user_id = $1 AND sessions.status = ANY ($2) "
    "AND sessions.created_at BETWEEN $3 AND $4 AND sessions.metadata @> $5 "
    "AND sessions.deleted_at IS NULL ORDER BY sessions.created_at DESC, sessions.id DESC LIMIT $6"
)
JOIN = (
    "SELECT sessions.id, sessions.session_type, sessions.status, sessions.created_at FROM sessions "
    "WHERE sessions.user_id = $1 AND sessions.deleted_at IS NULL ORDER BY sessions.created_at DESC, sessions.id DESC LIMIT $2"
)
JOINED = (
    "SELECT research_data.id, research_data.research_type, research_data.title, research_data.created_at, "
    "research_data.session_id AS _link FROM research_data WHERE research_data.session_id = ANY ($1) "
    "AND research_data.deleted_at IS NULL ORDER BY research_data.created_at DESC"
)
HISTORY = (
    "SELECT session_events.from_status, session_events.to_status, session_events.at, session_events.session_id AS _link "
    "FROM session_events WHERE session_events.session_id = ANY ($1) ORDER BY session_events.at"
)
INSERT = (
    f"INSERT INTO sessions ({', '.join(SESSION_COLUMNS)}) "
    f"VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING {_SESSION}"
)
UPDATE = (
    "UPDATE sessions SET metadata = $1, version = sessions.version + 1, version_token = $2, updated_at = $3 "
    f"WHERE sessions.id = $4 AND sessions.deleted_at IS NULL RETURNING {_SESSION}"
)
DELETE = "DELETE FROM sessions WHERE sessions.id = $1 RETURNING sessions.id"
OWNER = "SELECT sessions.id, sessions.user_id FROM sessions WHERE sessions.id = $1 AND sessions.deleted_at IS NULL"
INSERT_RESEARCH = (
    f"INSERT INTO research_data ({', '.join(RESEARCH_COLUMNS)}) "
    f"VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) RETURNING {_RESEARCH}"
)

# The first write of a unit of work asks for the number of its transaction, by which its outcome can be found.
FIRST = ", pg_current_xact_id() AS _xid"
FIRST_INSERT = INSERT + FIRST
FIRST_UPDATE = UPDATE + FIRST

_to_session: Callable[[Values], SessionDTO] = SessionDTO.__pydantic_validator__.validate_python
_to_research: Callable[[Values], ResearchDTO] = ResearchDTO.__pydantic_validator__.validate_python
_to_story: Callable[[Values], SessionStory] = SessionStory.__pydantic_validator__.validate_python
_to_overview: Callable[[Values], SessionOverview] = (
    SessionOverview.__pydantic_validator__.validate_python
)


class Limit:
    """asyncpg.Pool without its reset query, records straight into DTOs."""

    name = "limit"
    title = "asyncpg pool (limit)"

    async def start(self, url: URL) -> None:
        self._pool = await asyncpg.create_pool(
            driver_url(url), min_size=POOL_SIZE, max_size=POOL_SIZE, init=_codecs, reset=_no_reset
        )

    async def close(self) -> None:
        await self._pool.close()

    async def get(self, id: UUID) -> SessionDTO:
        return _session(await self._pool.fetchrow(GET, id))

    async def list_newest(self, user_id: str) -> list[SessionDTO]:
        return [_to_session(dict(record)) for record in await self._pool.fetch(LIST, user_id, 20)]

    async def filter(self, criteria: Criteria) -> list[SessionDTO]:
        records = await self._pool.fetch(
            FILTER,
            criteria.user_id,
            criteria.statuses,
            criteria.since,
            criteria.until,
            criteria.metadata,
            50,
        )
        return [_to_session(dict(record)) for record in records]

    async def join(self, user_id: str) -> list[SessionOverview]:
        sessions = [dict(record) for record in await self._pool.fetch(JOIN, user_id, 20)]
        research: dict[UUID, list[Values]] = {session["id"]: [] for session in sessions}
        for record in await self._pool.fetch(JOINED, list(research)):
            line = dict(record)
            research[line.pop("_link")].append(line)
        return [
            _to_overview({**session, "research": research[session["id"]]}) for session in sessions
        ]

    async def nested(self, user_id: str) -> list[SessionStory]:
        sessions = [dict(record) for record in await self._pool.fetch(JOIN, user_id, 20)]
        keys = [session["id"] for session in sessions]
        research: dict[UUID, list[Values]] = {key: [] for key in keys}
        events: dict[UUID, list[Values]] = {key: [] for key in keys}
        for statement, lines in ((JOINED, research), (HISTORY, events)):
            for record in await self._pool.fetch(statement, keys):
                line = dict(record)
                lines[line.pop("_link")].append(line)
        return [
            _to_story({**row, "research": research[row["id"]], "events": events[row["id"]]})
            for row in sessions
        ]

    async def insert(self, values: Values) -> SessionDTO:
        return _session(await self._pool.fetchrow(INSERT, *_new_row(values)))

    async def update(self, change: Change) -> SessionDTO:
        return await _update(self._pool, UPDATE, change)

    async def delete(self, id: UUID) -> None:
        if await self._pool.fetchrow(DELETE, id) is None:
            raise LookupError(id)

    async def insert_many(self, values: list[Values]) -> list[UUID]:
        records = [_new_row(row) for row in values]
        async with self._pool.acquire() as connection:
            await connection.copy_records_to_table(
                "sessions", columns=SESSION_COLUMNS, records=records
            )
        return [record[0] for record in records]

    async def three_writes(self, plan: Plan) -> tuple[SessionDTO, ResearchDTO, ResearchDTO]:
        async with self._pool.acquire() as connection, connection.transaction():
            record = await connection.fetchrow(FIRST_INSERT, *_new_row(plan.session))
            session = _session(record)
            first, second = [
                await _save_research(connection, session.id, content) for content in plan.contents
            ]
        return session, first, second

    async def five_reads_one_update(self, visit: Visit) -> list[SessionDTO]:
        async with self._pool.acquire() as connection, connection.transaction():
            found = [_session(await connection.fetchrow(GET, key)) for key in visit.reads]
            return [*found, await _update(connection, FIRST_UPDATE, visit.change)]


def _session(record: asyncpg.Record | None) -> SessionDTO:
    if record is None:
        raise LookupError
    return _to_session(dict(record))


async def _no_reset(connection: object) -> None:
    """Given to the pool instead of its reset query, which would be a round trip of its own."""


async def _codecs(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    await use_json(connection)
    # asyncpg's own UUID class is not the standard library's, which the DTOs promise.
    await connection.set_type_codec(
        "uuid",
        schema="pg_catalog",
        format="binary",
        encoder=lambda value: value.bytes,
        decoder=_uuid,
    )


def _uuid(data: bytes) -> UUID:
    """``UUID(bytes=data)`` without its checks, which take longer than all the rest."""
    value = UUID.__new__(UUID)
    _set(value, "int", int.from_bytes(data, "big"))
    _set(value, "is_safe", SafeUUID.unknown)
    return value


_set = object.__setattr__  # a UUID refuses the ordinary one


def _new_row(values: Values) -> tuple[Any, ...]:
    now = datetime.now(UTC)
    return (
        uuid7(),
        values["user_id"],
        values["session_type"],
        values["status"],
        values["metadata"],
        1,
        None,
        now,
        now,
        None,
        None,
    )


async def _update(
    connection: asyncpg.Pool[asyncpg.Record] | _Connection, statement: str, change: Change
) -> SessionDTO:
    token = secrets.randbits(62)
    record = await connection.fetchrow(
        statement, change.metadata, token, datetime.now(UTC), change.id
    )
    return _session(record)


async def _save_research(connection: _Connection, session_id: UUID, content: Values) -> ResearchDTO:
    owner = await connection.fetchrow(OWNER, session_id)
    if owner is None:
        raise LookupError(session_id)
    now = datetime.now(UTC)
    record = await connection.fetchrow(
        INSERT_RESEARCH,
        uuid7(),
        session_id,
        owner["user_id"],
        "fundamental",
        None,
        content,
        {},
        None,
        1,
        None,
        now,
        now,
        None,
    )
    if record is None:
        raise LookupError
    return _to_research(dict(record))
