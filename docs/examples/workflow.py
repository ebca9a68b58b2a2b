"""A service over two services: what belongs together becomes one transaction.

Run it with `python docs/examples/workflow.py`; it starts a PostgreSQL of its own unless TIMBER_DATABASE_URL names one.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from uuid import UUID

from timber import (
    DTO,
    AsyncDatabaseManager,
    NotFoundError,
    ResearchDTO,
    ResearchService,
    SessionDTO,
    SessionService,
    Timber,
)


class Analysis(DTO):
    """A session with everything that was found in it."""

    session: SessionDTO
    findings: list[ResearchDTO]


class WorkflowService:
    """Analyses of shares: begun, filled and completed as a whole, or not at all.

    It holds no transaction itself. `join_or_begin()` joins the caller's unit of work if there is one, so that a caller can
    put a workflow together with other things, and else begins one for the length of the block.
    """

    def __init__(
        self, db: AsyncDatabaseManager, sessions: SessionService, research: ResearchService
    ) -> None:
        self._db = db
        self._sessions = sessions
        self._research = research

    async def begin(self, user_id: str, symbol: str, question: str) -> Analysis:
        """Open a session for a share, with the question as its first finding."""
        async with self._db.join_or_begin():
            session = await self._sessions.create_session(user_id, "research", {"symbol": symbol})
            asked = await self._research.save_research(
                session.id, {"question": question}, "question", title=question
            )
        return Analysis(session=session, findings=[asked])

    async def finish(
        self, session_id: UUID, findings: Mapping[str, object], verdict: str, *, owner: str
    ) -> Analysis:
        """Store the findings and complete the session.

        Raises:
            NotFoundError: there is no such session, or it is somebody else's.
            ValidationError: it has ended already; then no finding is stored either.
        """
        async with self._db.join_or_begin():
            for kind, content in findings.items():
                await self._research.save_research(session_id, content, kind)
            session = await self._sessions.complete_session(
                session_id, {"verdict": verdict}, owner=owner
            )
        return await self._with_findings(session)

    async def open_analysis(self, session_id: UUID, *, owner: str) -> Analysis:
        """An analysis as it stands."""
        session = await self._sessions.get_session(session_id, owner=owner)
        if session is None:
            raise NotFoundError(model="Session")
        return await self._with_findings(session)

    async def _with_findings(self, session: SessionDTO) -> Analysis:
        findings = await self._research.get_session_research(session.id)
        return Analysis(session=session, findings=findings)


async def main() -> None:
    """Two analyses, one of them finished together with the beginning of the other."""
    async with Timber(os.environ.get("TIMBER_DATABASE_URL", "embedded")) as timber:
        workflows = WorkflowService(timber.db, timber.sessions, timber.research)
        begun = await workflows.begin("user-1", "AAPL", "Is it worth its price?")
        print("begun:", begun.session.symbol, begun.session.status)

        # Two workflows in one transaction: both or none.
        async with timber.unit_of_work() as uow:
            other = await workflows.begin("user-1", "MSFT", "And this one?")
            done = await workflows.finish(
                begun.session.id, {"fundamental": {"pe": 29.1}}, "hold", owner="user-1"
            )
        print("outcome:", uow.outcome)
        print("done:", done.session.metadata, [item.research_type for item in done.findings])
        print("still open:", other.session.symbol)


if __name__ == "__main__":
    asyncio.run(main())
