"""What the service does, without a word about HTTP: several domains in one transaction each."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import timedelta
from uuid import UUID

from research_api.messages import (
    CHECK_INTERVAL,
    Analysis,
    Conclusion,
    NewAnalysis,
    NewCheck,
    NewFinding,
    Ratios,
)
from timber import NotFoundError, ResearchDTO, Timber, TrackerEventDTO


class Desk:
    """Analyses of shares, for one user in each call."""

    def __init__(self, timber: Timber) -> None:
        self._timber = timber
        self._sessions = timber.sessions
        self._research = timber.research
        self._notifications = timber.notifications
        self._tracking = timber.tracking

    async def begin(self, user: str, new: NewAnalysis) -> Analysis:
        """A session, its question and, if asked for, a tracker: all of them or none."""
        async with self._timber.unit_of_work():
            session = await self._sessions.create_session(
                user, "research", {"symbol": new.symbol, "question": new.question}
            )
            asked = await self._research.save_research(
                session.id, {"question": new.question}, "question", title=new.question
            )
            if new.watch_above is not None:
                await self._tracking.create_tracker(
                    user,
                    "price",
                    symbol=new.symbol,
                    goal_id=str(session.id),
                    conditions={"above": new.watch_above},
                    check_interval=CHECK_INTERVAL,
                )
        return Analysis(session=session, findings=[asked])

    async def open_analysis(self, user: str, session_id: UUID, *, fresh: bool = False) -> Analysis:
        """An analysis as it stands; from the cache where there is one, unless it is to be ``fresh``.

        Raises:
            NotFoundError: there is no such session, or it is somebody else's.
        """
        session = await self._sessions.get_session(session_id, owner=user, fresh=fresh)
        if session is None:
            raise NotFoundError(model="Session")
        findings = await self._research.get_session_research(session_id, owner=user, fresh=fresh)
        return Analysis(session=session, findings=findings)

    async def add_finding(self, user: str, session_id: UUID, new: NewFinding) -> ResearchDTO:
        """One more finding of an analysis that is going on."""
        if await self._sessions.get_session(session_id, owner=user) is None:
            raise NotFoundError(model="Session")
        return await self._research.save_research(
            session_id, new.content, new.kind, title=new.title
        )

    async def conclude(self, user: str, session_id: UUID, conclusion: Conclusion) -> Analysis:
        """The end of an analysis: session, tracker and a message to its user, in one transaction.

        Raises:
            NotFoundError: there is no such session, or it is somebody else's.
            ValidationError: it has ended already.
        """
        async with self._timber.unit_of_work():
            session = await self._sessions.complete_session(
                session_id, {"verdict": conclusion.verdict}, owner=user
            )
            for tracker in await self._tracking.list(owner=user, goal_id=str(session_id)):
                if tracker.status == "active":
                    await self._tracking.update_status(tracker.id, "completed", owner=user)
            await self._notifications.notify(
                user,
                "research_complete",
                {"symbol": session.symbol or "a share", "research_type": session.session_type},
            )
        return await self.open_analysis(user, session.id, fresh=True)

    async def check(self, user: str, tracker_id: UUID, new: NewCheck) -> TrackerEventDTO:
        """A price held against a tracker's condition; the user is told when it is met.

        Raises:
            NotFoundError: there is no such tracker, or it is somebody else's.
        """
        async with self._timber.unit_of_work():
            tracker = await self._tracking.get_tracker(tracker_id, owner=user)
            if tracker is None:
                raise NotFoundError(model="Tracker")
            above = tracker.conditions.get("above", 0.0)
            met = new.price > above and tracker.status == "active"
            event = await self._tracking.log_event(
                tracker_id, {"price": new.price}, "check", triggered=met
            )
            if met:
                await self._notifications.notify(
                    user,
                    "tracker_alert",
                    {"symbol": tracker.symbol, "reason": f"{new.price:g} is above {above:g}"},
                )
        return event

    async def ratios(self, symbol: str) -> Ratios:
        """Figures that are slow to come by: computed by one process at a time, and kept for an hour."""
        found = await self._research.get_or_compute(
            f"ratios:{symbol}", lambda: _fetch_ratios(symbol), max_age=timedelta(hours=1)
        )
        ratios: Ratios = found.content
        return ratios


async def _fetch_ratios(symbol: str) -> Ratios:
    await asyncio.sleep(0.02)  # a slow service, say
    number = hashlib.sha256(symbol.encode()).digest()[0]
    return {"symbol": symbol, "pe": 10 + number / 10, "beta": 0.5 + number / 200}
