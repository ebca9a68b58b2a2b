"""Sessions and their moves as callers see them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import Field

from timber.dto import DTO, InputDTO


class SessionDTO(DTO):
    """A session. ``symbol`` is that of its metadata."""

    id: UUID
    user_id: str
    session_type: str
    status: str
    metadata: dict[str, Any]
    symbol: str | None
    version: int
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None
    deleted_at: datetime | None


class SessionCreate(InputDTO):
    """A new session."""

    user_id: str
    session_type: str
    metadata: dict[str, Any] = Field(default_factory=dict)
    id: UUID | None = None


class SessionEventDTO(DTO):
    """One move of a session: from which status to which, why, by whom and when."""

    id: UUID
    session_id: UUID
    from_status: str
    to_status: str
    reason: str | None
    actor: str | None
    at: datetime
