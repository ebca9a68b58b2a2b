"""The SQLAlchemy ORM as its documentation teaches it: async sessions, typed mappings; load, change, commit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import Select, insert, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import load_only, selectinload
from uuid_utils.compat import uuid7

from benchmarks.contenders import POOL_SIZE
from benchmarks.contenders.core import json_text
from benchmarks.contenders.tables import EventRow, ResearchRow, SessionRow
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
    from uuid import UUID

    from sqlalchemy import URL


def _fields(names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    return tuple((name, "data" if name == "metadata" else name) for name in names)


_SESSION = _fields(SESSION_FIELDS)
_RESEARCH = _fields(RESEARCH_FIELDS)


class Orm:
    """A session for each piece of work; mapped objects become DTOs at its end."""

    name = "orm"
    title = "SQLAlchemy ORM"

    async def start(self, url: URL) -> None:
        self._engine = create_async_engine(
            url.set(drivername="postgresql+asyncpg"),
            pool_size=POOL_SIZE,
            max_overflow=0,
            json_serializer=json_text,
            json_deserializer=orjson.loads,
        )
        self._sessions = async_sessionmaker(self._engine, expire_on_commit=False)

    async def close(self) -> None:
        await self._engine.dispose()

    async def get(self, id: UUID) -> SessionDTO:
        async with self._sessions() as session:
            return _session_dto(await _load(session, id))

    async def list_newest(self, user_id: str) -> list[SessionDTO]:
        return await self._found(
            select(SessionRow)
            .where(SessionRow.user_id == user_id, SessionRow.deleted_at.is_(None))
            .order_by(SessionRow.created_at.desc(), SessionRow.id.desc())
            .limit(20)
        )

    async def filter(self, criteria: Criteria) -> list[SessionDTO]:
        return await self._found(
            select(SessionRow)
            .where(
                SessionRow.user_id == criteria.user_id,
                SessionRow.status.in_(criteria.statuses),
                SessionRow.created_at.between(criteria.since, criteria.until),
                SessionRow.data.contains(criteria.metadata),
                SessionRow.deleted_at.is_(None),
            )
            .order_by(SessionRow.created_at.desc(), SessionRow.id.desc())
            .limit(50)
        )

    async def join(self, user_id: str) -> list[SessionOverview]:
        statement = (
            select(SessionRow)
            .where(SessionRow.user_id == user_id, SessionRow.deleted_at.is_(None))
            .order_by(SessionRow.created_at.desc(), SessionRow.id.desc())
            .limit(20)
            .options(
                load_only(SessionRow.session_type, SessionRow.status, SessionRow.created_at),
                selectinload(SessionRow.research).load_only(
                    ResearchRow.research_type, ResearchRow.title, ResearchRow.created_at
                ),
            )
        )
        async with self._sessions() as session:
            found = await session.scalars(statement)
            return [SessionOverview.model_validate(row, from_attributes=True) for row in found]

    async def nested(self, user_id: str) -> list[SessionStory]:
        statement = (
            select(SessionRow)
            .where(SessionRow.user_id == user_id, SessionRow.deleted_at.is_(None))
            .order_by(SessionRow.created_at.desc(), SessionRow.id.desc())
            .limit(20)
            .options(
                load_only(SessionRow.session_type, SessionRow.status, SessionRow.created_at),
                selectinload(SessionRow.research).load_only(
                    ResearchRow.research_type, ResearchRow.title, ResearchRow.created_at
                ),
                selectinload(SessionRow.events).load_only(
                    EventRow.from_status, EventRow.to_status, EventRow.at
                ),
            )
        )
        async with self._sessions() as session:
            found = await session.scalars(statement)
            return [SessionStory.model_validate(row, from_attributes=True) for row in found]

    async def insert(self, values: Values) -> SessionDTO:
        async with self._sessions.begin() as session:
            return await _create_session(session, values)

    async def update(self, change: Change) -> SessionDTO:
        async with self._sessions.begin() as session:
            return await _update_session(session, change)

    async def delete(self, id: UUID) -> None:
        async with self._sessions.begin() as session:
            await session.delete(await _load(session, id))

    async def insert_many(self, values: list[Values]) -> list[UUID]:
        """By the ORM's bulk insert, its fast way; ``add_all`` takes several times as long."""
        new_rows = [
            {
                "id": uuid7(),
                "user_id": row["user_id"],
                "session_type": row["session_type"],
                "status": row["status"],
                "data": row["metadata"],
                "version": 1,
            }
            for row in values
        ]
        async with self._sessions.begin() as session:
            await session.execute(insert(SessionRow), new_rows)
        return [row["id"] for row in new_rows]

    async def three_writes(self, plan: Plan) -> tuple[SessionDTO, ResearchDTO, ResearchDTO]:
        async with self._sessions.begin() as session:
            created = await _create_session(session, plan.session)
            first, second = [
                await _save_research(session, created.id, content) for content in plan.contents
            ]
        return created, first, second

    async def five_reads_one_update(self, visit: Visit) -> list[SessionDTO]:
        async with self._sessions.begin() as session:
            found = [_session_dto(await _load(session, key)) for key in visit.reads]
            return [*found, await _update_session(session, visit.change)]

    async def _found(self, statement: Select[SessionRow]) -> list[SessionDTO]:
        async with self._sessions() as session:
            return [_session_dto(row) for row in await session.scalars(statement)]


async def _load(session: AsyncSession, id: UUID) -> SessionRow:
    row = await session.get(SessionRow, id)
    if row is None or row.deleted_at is not None:
        raise LookupError(id)
    return row


async def _create_session(session: AsyncSession, values: Values) -> SessionDTO:
    row = SessionRow(
        user_id=values["user_id"],
        session_type=values["session_type"],
        status=values["status"],
        data=values["metadata"],
    )
    session.add(row)
    await session.flush()  # the DTO shows what the database generated
    return _session_dto(row)


async def _update_session(session: AsyncSession, change: Change) -> SessionDTO:
    row = await _load(session, change.id)
    row.data = change.metadata
    await session.flush()
    return _session_dto(row)


async def _save_research(session: AsyncSession, session_id: UUID, content: Values) -> ResearchDTO:
    owner = await _load(session, session_id)
    row = ResearchRow(
        session_id=session_id,
        user_id=owner.user_id,
        research_type="fundamental",
        content=content,
        data={},
    )
    session.add(row)
    await session.flush()
    return ResearchDTO.model_validate(_plain(row, _RESEARCH))


def _session_dto(row: SessionRow) -> SessionDTO:
    return SessionDTO.model_validate(_plain(row, _SESSION))


def _plain(row: SessionRow | ResearchRow, fields: tuple[tuple[str, str], ...]) -> Values:
    values: dict[str, Any] = {name: getattr(row, attribute) for name, attribute in fields}
    return values
