"""SQLAlchemy Core: an AsyncEngine and statements that are built once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import RowMapping, bindparam, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from uuid_utils.compat import uuid7

from benchmarks.contenders import POOL_SIZE
from benchmarks.contenders.tables import EVENTS, RESEARCH, SESSIONS
from benchmarks.rows import Change, Criteria, Plan, SessionOverview, SessionStory, Values, Visit
from timber import ResearchDTO, SessionDTO

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from sqlalchemy import URL

_LIVE = SESSIONS.c.deleted_at.is_(None)

GET = select(SESSIONS).where(SESSIONS.c.id == bindparam("id"), _LIVE)
LIST = (
    select(SESSIONS)
    .where(SESSIONS.c.user_id == bindparam("user_id"), _LIVE)
    .order_by(SESSIONS.c.created_at.desc(), SESSIONS.c.id.desc())
    .limit(20)
)
FILTER = (
    select(SESSIONS)
    .where(
        SESSIONS.c.user_id == bindparam("user_id"),
        SESSIONS.c.status.in_(bindparam("statuses", expanding=True)),
        SESSIONS.c.created_at.between(bindparam("since"), bindparam("until")),
        SESSIONS.c.metadata.contains(bindparam("metadata", type_=SESSIONS.c.metadata.type)),
        _LIVE,
    )
    .order_by(SESSIONS.c.created_at.desc(), SESSIONS.c.id.desc())
    .limit(50)
)
_NEWEST = LIST.subquery()
JOIN = (
    select(
        _NEWEST.c.id,
        _NEWEST.c.session_type,
        _NEWEST.c.status,
        _NEWEST.c.created_at,
        RESEARCH.c.id.label("research_id"),
        RESEARCH.c.research_type,
        RESEARCH.c.title,
        RESEARCH.c.created_at.label("research_created_at"),
    )
    .select_from(
        _NEWEST.outerjoin(
            RESEARCH, (RESEARCH.c.session_id == _NEWEST.c.id) & RESEARCH.c.deleted_at.is_(None)
        )
    )
    .order_by(_NEWEST.c.created_at.desc(), _NEWEST.c.id.desc(), RESEARCH.c.created_at.desc())
)
HISTORY = (
    select(EVENTS.c.session_id, EVENTS.c.from_status, EVENTS.c.to_status, EVENTS.c.at)
    .where(EVENTS.c.session_id.in_(bindparam("keys", expanding=True)))
    .order_by(EVENTS.c.at)
)
INSERT = insert(SESSIONS).returning(SESSIONS)
INSERT_MANY = insert(SESSIONS)
UPDATE = (
    update(SESSIONS)
    .where(SESSIONS.c.id == bindparam("session_id"), _LIVE)
    .values(
        metadata=bindparam("new_metadata"),
        version=SESSIONS.c.version + 1,
        updated_at=bindparam("now"),
    )
    .returning(SESSIONS)
)
DELETE = delete(SESSIONS).where(SESSIONS.c.id == bindparam("session_id"))
OWNER = select(SESSIONS.c.user_id).where(SESSIONS.c.id == bindparam("id"), _LIVE)
INSERT_RESEARCH = insert(RESEARCH).returning(RESEARCH)


class Core:
    """Engine, connection, statement, mappings, DTO."""

    name = "core"
    title = "SQLAlchemy Core"

    async def start(self, url: URL) -> None:
        self._engine = create_async_engine(
            url.set(drivername="postgresql+asyncpg"),
            pool_size=POOL_SIZE,
            max_overflow=0,
            json_serializer=json_text,
            json_deserializer=orjson.loads,
        )

    async def close(self) -> None:
        await self._engine.dispose()

    async def get(self, id: UUID) -> SessionDTO:
        async with self._engine.connect() as connection:
            return await _get(connection, id)

    async def list_newest(self, user_id: str) -> list[SessionDTO]:
        return await self._sessions(LIST, {"user_id": user_id})

    async def filter(self, criteria: Criteria) -> list[SessionDTO]:
        parameters = {
            "user_id": criteria.user_id,
            "statuses": criteria.statuses,
            "since": criteria.since,
            "until": criteria.until,
            "metadata": criteria.metadata,
        }
        return await self._sessions(FILTER, parameters)

    async def join(self, user_id: str) -> list[SessionOverview]:
        async with self._engine.connect() as connection:
            result = await connection.execute(JOIN, {"user_id": user_id})
            return _overviews(result.mappings())

    async def nested(self, user_id: str) -> list[SessionStory]:
        async with self._engine.connect() as connection:
            result = await connection.execute(JOIN, {"user_id": user_id})
            overviews = _overviews(result.mappings())
            events: dict[UUID, list[Values]] = {overview.id: [] for overview in overviews}
            for line in (await connection.execute(HISTORY, {"keys": list(events)})).mappings():
                events[line["session_id"]].append(dict(line))
        return [
            SessionStory.model_validate({**dict(overview), "events": events[overview.id]})
            for overview in overviews
        ]

    async def insert(self, values: Values) -> SessionDTO:
        async with self._engine.begin() as connection:
            return await _insert(connection, values)

    async def update(self, change: Change) -> SessionDTO:
        async with self._engine.begin() as connection:
            return await _update(connection, change)

    async def delete(self, id: UUID) -> None:
        async with self._engine.begin() as connection:
            result = await connection.execute(DELETE, {"session_id": id})
        if not result.rowcount:
            raise LookupError(id)

    async def insert_many(self, values: list[Values]) -> list[UUID]:
        new_rows = [new_row(row) for row in values]
        async with self._engine.begin() as connection:
            await connection.execute(INSERT_MANY, new_rows)
        return [row["id"] for row in new_rows]

    async def three_writes(self, plan: Plan) -> tuple[SessionDTO, ResearchDTO, ResearchDTO]:
        async with self._engine.begin() as connection:
            session = await _insert(connection, plan.session)
            first, second = [
                await _save_research(connection, session.id, content) for content in plan.contents
            ]
        return session, first, second

    async def five_reads_one_update(self, visit: Visit) -> list[SessionDTO]:
        async with self._engine.begin() as connection:
            found = [await _get(connection, key) for key in visit.reads]
            return [*found, await _update(connection, visit.change)]

    async def _sessions(self, statement: Any, parameters: Values) -> list[SessionDTO]:
        async with self._engine.connect() as connection:
            result = await connection.execute(statement, parameters)
            return [SessionDTO.model_validate(dict(row)) for row in result.mappings()]


def json_text(value: object) -> str:
    return orjson.dumps(value).decode()


def new_row(values: Values) -> Values:
    now = datetime.now(UTC)
    return {**values, "id": uuid7(), "version": 1, "created_at": now, "updated_at": now}


def _overviews(rows: Iterable[RowMapping]) -> list[SessionOverview]:
    found: dict[UUID, Values] = {}
    for row in rows:
        session = found.get(row["id"])
        if session is None:
            session = {name: row[name] for name in ("id", "session_type", "status", "created_at")}
            session["research"] = []
            found[row["id"]] = session
        if row["research_id"] is not None:
            line = {
                "id": row["research_id"],
                "research_type": row["research_type"],
                "title": row["title"],
                "created_at": row["research_created_at"],
            }
            session["research"].append(line)
    return [SessionOverview.model_validate(session) for session in found.values()]


async def _get(connection: AsyncConnection, id: UUID) -> SessionDTO:
    result = await connection.execute(GET, {"id": id})
    return SessionDTO.model_validate(dict(result.mappings().one()))


async def _insert(connection: AsyncConnection, values: Values) -> SessionDTO:
    result = await connection.execute(INSERT, new_row(values))
    return SessionDTO.model_validate(dict(result.mappings().one()))


async def _update(connection: AsyncConnection, change: Change) -> SessionDTO:
    result = await connection.execute(
        UPDATE,
        {"session_id": change.id, "new_metadata": change.metadata, "now": datetime.now(UTC)},
    )
    return SessionDTO.model_validate(dict(result.mappings().one()))


async def _save_research(
    connection: AsyncConnection, session_id: UUID, content: Values
) -> ResearchDTO:
    user_id = (await connection.execute(OWNER, {"id": session_id})).scalar_one()
    values = {
        "session_id": session_id,
        "user_id": user_id,
        "research_type": "fundamental",
        "title": None,
        "content": content,
        "metadata": {},
    }
    result = await connection.execute(INSERT_RESEARCH, new_row(values))
    return ResearchDTO.model_validate(dict(result.mappings().one()))
