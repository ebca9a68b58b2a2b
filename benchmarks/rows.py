"""What the operations take and return: the same inputs and the same DTOs for every contender."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from timber import DTO, ResearchDTO, SessionDTO

Values = dict[str, Any]

USERS = 200
SESSIONS_PER_USER = 50
RESEARCH_PER_SESSION = 2
EVENTS_PER_SESSION = 2
NEW_USER = "new-user"
STREAM_USER = "stream-user"

EPOCH = datetime(2024, 1, 1, tzinfo=UTC)
SYMBOLS = ("AAPL", "AMZN", "GOOG", "IBM", "MSFT")
SESSION_TYPES = ("research", "trading", "portfolio")
STATUSES = ("active", "active", "paused", "completed")

SESSION_FIELDS = tuple(SessionDTO.model_fields)
RESEARCH_FIELDS = tuple(ResearchDTO.model_fields)


class ResearchLine(DTO):
    """What a list of sessions shows of a research item."""

    id: UUID
    research_type: str
    title: str | None
    created_at: datetime


class SessionOverview(DTO):
    """A session with its research items: two tables in one DTO."""

    id: UUID
    session_type: str
    status: str
    created_at: datetime
    research: list[ResearchLine]


class EventLine(DTO):
    """What a session's history shows of a move."""

    from_status: str
    to_status: str
    at: datetime


class SessionStory(DTO):
    """A session with its research items and its history: three tables in one DTO."""

    id: UUID
    session_type: str
    status: str
    created_at: datetime
    research: list[ResearchLine]
    events: list[EventLine]


@dataclass(frozen=True, slots=True)
class Criteria:
    """The complex filter: owner, two statuses, a range of time and a part of the metadata."""

    user_id: str
    statuses: list[str]
    since: datetime
    until: datetime
    metadata: Values


@dataclass(frozen=True, slots=True)
class Change:
    """New metadata of one session."""

    id: UUID
    metadata: Values


@dataclass(frozen=True, slots=True)
class Plan:
    """The unit of work over two services: one session and two research items of it."""

    session: Values
    contents: tuple[Values, Values]


@dataclass(frozen=True, slots=True)
class Visit:
    """The unit of work of 5 reads and 1 update."""

    reads: tuple[UUID, ...]
    change: Change


def user(number: int) -> str:
    return f"user-{number % USERS}"


def fixed_id(kind: int, number: int) -> UUID:
    """The key of a row that is there before a measurement, the same in every run."""
    return UUID(int=(kind << 96) | (number + 1))


def is_fixed(key: UUID) -> bool:
    return key.int >> 96 in (1, 2, 3)


def metadata(number: int) -> Values:
    """About 200 bytes of plain JSON, as an application would keep beside a session."""
    return {
        "symbol": SYMBOLS[number % len(SYMBOLS)],
        "horizon": number % 7,
        "weights": [round(number % 13 / 13, 4), 0.25, 0.5],
        "source": {"name": "monthly closing prices", "page": number % 40},
        "note": "compare with the last four quarters before deciding",
    }


def new_session(number: int) -> Values:
    return {
        "user_id": NEW_USER,
        "session_type": SESSION_TYPES[number % 3],
        "status": "active",
        "metadata": metadata(number),
    }


def stored_session(kind: int, number: int, user_id: str) -> Values:
    """A whole row as the table holds it, generated columns left out."""
    at = EPOCH + timedelta(minutes=number)
    mixed = number // USERS + number % USERS  # so that one user has all types, statuses and symbols
    return {
        "id": fixed_id(kind, number),
        "user_id": user_id,
        "session_type": SESSION_TYPES[mixed % 3],
        "status": STATUSES[mixed % 4],
        "metadata": metadata(mixed),
        "version": 1,
        "created_at": at,
        "updated_at": at,
    }


def stored_research(number: int, session_id: UUID, user_id: str) -> Values:
    at = EPOCH + timedelta(minutes=number)
    return {
        "id": fixed_id(2, number),
        "session_id": session_id,
        "user_id": user_id,
        "research_type": "fundamental",
        "title": f"Quarter {number % 4 + 1}",
        "content": {"pe": number % 30, "summary": "earnings above the estimate"},
        "metadata": {},
        "version": 1,
        "created_at": at,
        "updated_at": at,
    }


def stored_event(number: int, session_id: UUID) -> Values:
    return {
        "id": fixed_id(4, number),
        "session_id": session_id,
        "from_status": STATUSES[number % 2],
        "to_status": STATUSES[2 + number % 2],
        "at": EPOCH + timedelta(minutes=number),
    }


def seeded_ids(count: int, seed: int) -> list[UUID]:
    """Different seeded sessions in a random but repeatable order."""
    numbers = random.Random(seed).choices(range(USERS * SESSIONS_PER_USER), k=count)
    return [fixed_id(1, number) for number in numbers]
