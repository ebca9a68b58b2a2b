"""Notifications as callers see them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import Field

from timber.dto import DTO, InputDTO
from timber.services.templates import Priority


class NotificationDTO(DTO):
    """A message to a user."""

    id: UUID
    user_id: str
    notification_type: str
    title: str
    content: str
    metadata: dict[str, Any]
    priority: Priority
    is_read: bool
    read_at: datetime | None
    expires_at: datetime | None
    created_at: datetime


class NotificationCreate(InputDTO):
    """A new message to a user."""

    user_id: str
    notification_type: str
    title: str
    content: str
    metadata: dict[str, Any] = Field(default_factory=dict)
    priority: Priority = "normal"
    expires_at: datetime | None = None
    id: UUID | None = None
