"""Results of research as callers see them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import Field

from timber.dto import DTO, InputDTO


class ResearchDTO(DTO):
    """A result of research. ``content`` is any JSON value."""

    id: UUID
    session_id: UUID | None
    user_id: str | None
    research_type: str
    title: str | None
    content: Any
    metadata: dict[str, Any]
    source_hash: str | None
    version: int
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None


class ResearchCreate(InputDTO):
    """A new result of research; the user is the session's where none is given."""

    session_id: UUID | None = None
    content: Any
    research_type: str
    metadata: dict[str, Any] = Field(default_factory=dict)
    title: str | None = None
    user_id: str | None = None
    source_hash: str | None = None
    id: UUID | None = None
