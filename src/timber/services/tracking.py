"""Tracking: what is checked again and again for a user, by whichever worker is free, and what came of each check."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal
from uuid import UUID

from typing_extensions import TypeVar

from timber.database.manager import AsyncDatabaseManager
from timber.dto import CursorPage
from timber.errors import ValidationError
from timber.features.providers import Features
from timber.models.registry import ModelRegistry
from timber.repository.scheduling import Rounds
from timber.repository.source import check_flag
from timber.services.arguments import user
from timber.services.foundation import Values
from timber.services.guard import one_read
from timber.services.tracking_dtos import (
    Bucket,
    EventType,
    TrackerCreate,
    TrackerDTO,
    TrackerEventCreate,
    TrackerEventDTO,
    TrackerStatus,
)
from timber.services.tracking_rules import RuledTrackers, TrackerEvents

if TYPE_CHECKING:
    from timber.cache.coherence.cache import CoherentCache
    from timber.repository import Repository

__all__ = [
    "Bucket",
    "TrackerCreate",
    "TrackerDTO",
    "TrackerEventCreate",
    "TrackerEventDTO",
    "TrackingService",
]

T = TypeVar("T", bound=TrackerDTO, default=TrackerDTO)

_ROUNDS: Final = Rounds(done="last_checked_at", due="next_check_at", every="check_interval")
_TRIGGER: Final = ("status", "active", "triggered")
_LEASE: Final = timedelta(seconds=60)


class TrackingService(RuledTrackers[T]):
    """Trackers and their events.

    A tracker with a ``check_interval`` is due as soon as it is made, and then each time its interval has passed since the
    last event; one without is due only when ``next_check_at`` is set. Workers take what is due with :meth:`claim_due`
    and end each check with :meth:`log_event`.

    Attributes:
        trackers: the repository of trackers.
        events: the repository of their events.
    """

    def __init__(
        self,
        db: AsyncDatabaseManager,
        *,
        registry: ModelRegistry | None = None,
        clock: Callable[[], datetime] | None = None,
        dto: type[T] | None = None,
        features: Features | None = None,
        cache: CoherentCache | None = None,
    ) -> None:
        super().__init__(
            db, registry=registry, clock=clock, dto=dto, features=features, cache=cache
        )
        self._event_rules = TrackerEvents(
            db, registry=self.registry, clock=self.clock, features=features, cache=cache
        )
        self.trackers: Repository[T] = self.repository
        self.events: Repository[TrackerEventDTO] = self._event_rules.repository

    # Trackers

    async def create_tracker(
        self,
        user_id: str,
        tracker_type: str,
        *,
        symbol: str | None = None,
        goal_id: str | None = None,
        conditions: Any,
        metadata: Mapping[str, Any] | None = None,
        check_interval: timedelta | None = None,
    ) -> T:
        """Begin to track something for a user.

        Args:
            conditions: any JSON value but null.
            check_interval: the time from one check to the next; the first is due now.

        Raises:
            ValidationError: naming each field that does not fit; nothing has been sent.
        """
        values: dict[str, Any] = {
            "user_id": user_id,
            "tracker_type": tracker_type,
            "symbol": symbol,
            "goal_id": goal_id,
            "conditions": conditions,
            "metadata": {} if metadata is None else metadata,
            "check_interval": check_interval,
        }
        return await self._creating(values, self._store)

    @one_read
    async def get_tracker(
        self, tracker_id: UUID | str, *, owner: str | None = None, fresh: bool = False
    ) -> T | None:
        """The tracker, None if there is none or it is another owner's."""
        key = self._key(tracker_id, "tracker_id")
        return await self.repository.get_or_none(key, owner=owner, fresh=fresh)

    async def get_user_trackers(
        self,
        user_id: str,
        *,
        status: TrackerStatus | None = None,
        symbol: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
        fresh: bool = False,
    ) -> CursorPage[T]:
        """The trackers of a user behind a cursor, newest first; ``limit`` is 1 to 1000."""
        equals: dict[str, Any] = {"user_id": user(user_id)}
        if status is not None:
            equals["status"] = status
        if symbol is not None:
            equals["symbol"] = symbol
        return await self.repository.scroll(cursor=cursor, limit=limit, fresh=fresh, **equals)

    async def update_status(
        self, tracker_id: UUID | str, status: TrackerStatus, *, owner: str | None = None
    ) -> T:
        """Pause, complete, cancel or reactivate a tracker; only an active one is ever due.

        Raises:
            NotFoundError: there is no such tracker, or it is another owner's.
        """
        key = self._key(tracker_id, "tracker_id")
        return await self.update(key, {"status": status}, owner=owner)

    async def update_conditions(
        self,
        tracker_id: UUID | str,
        conditions: Any,
        *,
        merge: bool = False,
        owner: str | None = None,
    ) -> T:
        """Replace the conditions or, with ``merge``, only those of their keys that are given; stored conditions that are
        no JSON object are replaced either way.

        Raises:
            NotFoundError: there is no such tracker, or it is another owner's.
            ValidationError: the conditions are null or, with ``merge``, no JSON object.
        """
        if conditions is None:
            raise ValidationError.of("conditions", "are missing")
        return await self.update(
            self._key(tracker_id, "tracker_id"),
            {"conditions": conditions},
            merge=("conditions",) if check_flag("merge", merge) else (),
            owner=owner,
        )

    async def delete_tracker(self, tracker_id: UUID | str, *, owner: str | None = None) -> None:
        """Delete a tracker and its events.

        Raises:
            NotFoundError: there is no such tracker, or it is another owner's.
        """
        await self.delete(self._key(tracker_id, "tracker_id"), owner=owner)

    # Work

    async def claim_due(self, limit: int, *, lease: timedelta = _LEASE) -> list[T]:
        """Take up to ``limit`` active trackers whose check is due, those that have waited longest first.

        Each goes to one worker. The claim ends with the next event of the tracker, or else after ``lease``, so that
        what a worker held that died comes back.

        Args:
            limit: 1 to 1000.
        """
        claimed = await self.repository.claim(
            self.repository.where.next_check_at <= self.clock(),
            limit=limit,
            lease=lease,
            order_by="next_check_at",
            status="active",
        )
        self.logger.info("Claimed %d rows of %s.", len(claimed), self.name)
        return claimed

    async def log_event(
        self,
        tracker_id: UUID | str,
        event_data: Any,
        event_type: EventType = "check",
        triggered: bool = False,  # noqa: FBT001, FBT002  # what came of the check, not a mode
        *,
        owner: str | None = None,
    ) -> TrackerEventDTO:
        """Take down what came of a check: the tracker is due again after its interval, free for the next worker and, if it
        was active and ``triggered``, in status triggered.

        Raises:
            NotFoundError: there is no such tracker, or it is another owner's.
        """
        values = {
            "tracker_id": self._key(tracker_id, "tracker_id"),
            "event_data": event_data,
            "event_type": event_type,
            "triggered": triggered,
        }
        now = self.clock()
        (row,) = self._event_rules.checked([values], now, at="")
        async with self.db.join_or_begin():
            await self._finish([row], now, owner=owner)
            event = await self.events.insert(row)
        self.logger.info("Created TrackerEvent %s.", event.id)
        return event

    async def log_events(self, items: Iterable[TrackerEventCreate | Mapping[str, object]]) -> int:
        """Take down many checks at once, by COPY, with their trackers in the same transaction; how many there were.

        Raises:
            NotFoundError: one of the trackers does not exist; nothing is stored.
            ValidationError: naming position and field, like ``3.event_type``; nothing has been sent.
        """
        now = self.clock()
        rows = self._event_rules.checked(items, now)
        if rows:
            async with self.db.join_or_begin():
                await self._finish(rows, now)
                await self.events.insert_many(rows)
        self.logger.info("Created %d rows of TrackerEvent.", len(rows))
        return len(rows)

    # Events

    async def get_tracker_events(
        self,
        tracker_id: UUID | str,
        *,
        event_type: EventType | None = None,
        since: datetime | None = None,
        cursor: str | None = None,
        limit: int = 50,
        owner: str | None = None,
        fresh: bool = False,
    ) -> CursorPage[TrackerEventDTO]:
        """The events of a tracker behind a cursor, newest first; ``limit`` is 1 to 1000.

        Args:
            since: only those from then on.
        """
        key = self._key(tracker_id, "tracker_id")
        filters = () if since is None else (self.events.where.created_at >= since,)
        equals: dict[str, Any] = {"tracker_id": key}
        if event_type is not None:
            equals["event_type"] = event_type
        if not await self._is_seen_by(owner, key, fresh=fresh):
            return CursorPage(items=[])
        return await self.events.scroll(*filters, cursor=cursor, limit=limit, fresh=fresh, **equals)

    async def count_events(
        self,
        tracker_id: UUID | str,
        *,
        by: Literal["hour", "day", "type"] = "day",
        owner: str | None = None,
        fresh: bool = False,
    ) -> list[Bucket]:
        """How many events a tracker has in each hour or day of UTC, or of each type; those without any are left out."""
        key = self._key(tracker_id, "tracker_id")
        if by not in ("hour", "day", "type"):
            raise ValidationError.of("by", "is to be hour, day or type")
        if not await self._is_seen_by(owner, key, fresh=fresh):
            return []
        counts: Mapping[Any, int]
        if by == "type":
            found = await self.events.count_by("event_type", fresh=fresh, tracker_id=key)
            counts = dict(sorted(found.items()))
        else:
            counts = await self.events.count_by_time("created_at", by, fresh=fresh, tracker_id=key)
        return [Bucket(key=value, count=count) for value, count in counts.items()]

    # Inside

    async def _finish(self, rows: list[Values], now: datetime, *, owner: str | None = None) -> None:
        await self.trackers.finish(
            {row["tracker_id"] for row in rows},
            at=now,
            rounds=_ROUNDS,
            moved={row["tracker_id"] for row in rows if row.get("triggered")},
            move=_TRIGGER,
            owner=owner,
        )

    async def _is_seen_by(self, owner: str | None, key: UUID, *, fresh: bool) -> bool:
        return owner is None or await self.trackers.exists(id=key, owner=owner, fresh=fresh)
