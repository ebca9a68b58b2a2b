"""Timber as its users call it, with the cache off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.contenders import POOL_SIZE
from benchmarks.rows import Change, Criteria, Plan, SessionOverview, SessionStory, Values, Visit
from timber import ResearchDTO, SessionDTO, Timber

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy import URL


class TimberContender:
    """Repository for one table, services for a unit of work over two."""

    name = "timber"
    title = "Timber"

    async def start(self, url: URL) -> None:
        await self.start_at(url.render_as_string(hide_password=False))

    async def start_at(self, url: str) -> None:
        self._timber = await Timber(
            database_url=url, cache_enabled=False, pool_size=POOL_SIZE, max_overflow=0
        ).start()
        self._rows = self._timber.sessions.repository

    async def close(self) -> None:
        await self._timber.close()

    async def make_tables(self) -> None:
        await self._timber.db.create_all_tables()

    async def get(self, id: UUID) -> SessionDTO:
        return await self._rows.get(id)

    async def list_newest(self, user_id: str) -> list[SessionDTO]:
        return await self._rows.find(user_id=user_id, order_by="-created_at", limit=20)

    async def filter(self, criteria: Criteria) -> list[SessionDTO]:
        where = self._rows.where
        return await self._rows.find(
            where.status.in_(criteria.statuses),
            where.created_at.between(criteria.since, criteria.until),
            where.metadata.contains(criteria.metadata),
            user_id=criteria.user_id,
            order_by="-created_at",
            limit=50,
        )

    async def join(self, user_id: str) -> list[SessionOverview]:
        return await self._rows.find(
            user_id=user_id, order_by="-created_at", limit=20, into=SessionOverview
        )

    async def nested(self, user_id: str) -> list[SessionStory]:
        return await self._rows.find(user_id=user_id, limit=20, into=SessionStory)

    async def insert(self, values: Values) -> SessionDTO:
        return await self._rows.insert(values)

    async def update(self, change: Change) -> SessionDTO:
        return await self._rows.update(change.id, {"metadata": change.metadata})

    async def delete(self, id: UUID) -> None:
        await self._rows.delete(id, hard=True)

    async def insert_many(self, values: list[Values]) -> list[UUID]:
        return await self._rows.insert_many(values)

    async def three_writes(self, plan: Plan) -> tuple[SessionDTO, ResearchDTO, ResearchDTO]:
        timber, new = self._timber, plan.session
        async with timber.unit_of_work():
            session = await timber.sessions.create_session(
                new["user_id"], new["session_type"], new["metadata"]
            )
            first, second = [
                await timber.research.save_research(session.id, content, "fundamental")
                for content in plan.contents
            ]
        return session, first, second

    async def five_reads_one_update(self, visit: Visit) -> list[SessionDTO]:
        async with self._timber.unit_of_work():
            found = [await self._rows.get(key) for key in visit.reads]
            return [*found, await self.update(visit.change)]

    async def stream(self, user_id: str) -> int:
        """The number of sessions of a user, each of which was a DTO."""
        count = 0
        async with self._rows.stream(user_id=user_id) as sessions:
            async for _ in sessions:
                count += 1
        return count
