"""Trackers and their events as callers see them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from timber.dto import DTO, InputDTO

TrackerStatus = Literal["active", "paused", "triggered", "completed", "cancelled"]
EventType = Literal["check", "trigger", "error"]


class TrackerDTO(DTO):
    """Something that is checked again and again for a user. ``conditions`` is any JSON value."""

    id: UUID
    user_id: str
    goal_id: str | None
    symbol: str | None
    tracker_type: str
    conditions: Any
    metadata: dict[str, Any]
    status: TrackerStatus
    check_interval: timedelta | None
    next_check_at: datetime | None
    last_checked_at: datetime | None
    version: int
    created_at: datetime
    updated_at: datetime


class TrackerCreate(InputDTO):
    """A new tracker."""

    user_id: str
    tracker_type: str
    conditions: Any
    symbol: str | None = None
    goal_id: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    check_interval: timedelta | None = None
    next_check_at: datetime | None = None
    id: UUID | None = None


class TrackerEventDTO(DTO):
    """One check of a tracker and what came of it. ``event_data`` is any JSON value."""

    id: UUID
    tracker_id: UUID
    event_type: EventType
    event_data: Any
    triggered: bool
    created_at: datetime


class TrackerEventCreate(InputDTO):
    """A new event of a tracker."""

    tracker_id: UUID
    event_data: Any = Field(default_factory=dict)
    event_type: EventType = "check"
    triggered: bool = False
    id: UUID | None = None


class Bucket(DTO):
    """How many events there are of one kind: in the hour or day of UTC that begins at ``key``, or of the type ``key``."""

    key: datetime | str
    count: int
