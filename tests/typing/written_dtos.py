"""DTOs of the models, written by `timber schema --python`. Do not edit: write it again when a model changes.

Each class knows the columns it was written for, and Timber refuses to start with one that no longer fits.
"""

# ruff: noqa: N812
from __future__ import annotations

from datetime import datetime as DateTime
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from pydantic import Field

from timber.dto import DTO, InputDTO
from timber.models.dtos import LEFT_OUT, without_default
from timber.models.values import Rule


class NotificationCreate(InputDTO):
    """A new Notification."""

    __timber_model__: ClassVar = ("Notification", "17e87bdf8e83")

    id: Annotated[UUID, Rule("UUID")] = Field(
        default=LEFT_OUT,
        json_schema_extra=without_default,
        description="The key of the notification.",
    )
    user_id: Annotated[str, Rule("String", 255)] = Field(
        description="The user it is for.",
    )
    notification_type: Annotated[str, Rule("String", 64)] = Field(
        description="What it is about.",
    )
    title: Annotated[str, Rule("String", 500)] = Field(description="A short title.")
    content: Annotated[str, Rule("Text")] = Field(description="The message.")
    metadata: Annotated[Any, Rule("JSONB")] = Field(
        default_factory=dict,
        description="What else is known about it.",
    )
    priority: Literal["low", "normal", "high"] = Field(
        default="normal",
        description="How urgent it is.",
    )
    expires_at: Annotated[DateTime, Rule("DateTime")] | None = Field(
        default=None,
        description="When it may be removed, if ever.",
    )


class NotificationUpdate(InputDTO):
    """Changes to a Notification."""

    __timber_model__: ClassVar = ("Notification", "17e87bdf8e83")

    notification_type: Annotated[str, Rule("String", 64)] = Field(
        default=LEFT_OUT,
        json_schema_extra=without_default,
        description="What it is about.",
    )
    title: Annotated[str, Rule("String", 500)] = Field(
        default=LEFT_OUT,
        json_schema_extra=without_default,
        description="A short title.",
    )
    content: Annotated[str, Rule("Text")] = Field(
        default=LEFT_OUT,
        json_schema_extra=without_default,
        description="The message.",
    )
    metadata: Annotated[Any, Rule("JSONB")] = Field(
        default=LEFT_OUT,
        json_schema_extra=without_default,
        description="What else is known about it.",
    )
    priority: Literal["low", "normal", "high"] = Field(
        default=LEFT_OUT,
        json_schema_extra=without_default,
        description="How urgent it is.",
    )
    expires_at: Annotated[DateTime, Rule("DateTime")] | None = Field(
        default=LEFT_OUT,
        json_schema_extra=without_default,
        description="When it may be removed, if ever.",
    )


class NotificationRead(DTO):
    """A message to a user."""

    __timber_model__: ClassVar = ("Notification", "17e87bdf8e83")

    id: UUID = Field(description="The key of the notification.")
    user_id: str = Field(description="The user it is for.")
    notification_type: str = Field(description="What it is about.")
    title: str = Field(description="A short title.")
    content: str = Field(description="The message.")
    metadata: Any = Field(description="What else is known about it.")
    priority: Literal["low", "normal", "high"] = Field(description="How urgent it is.")
    is_read: bool = Field(description="Whether the user has read it.")
    read_at: DateTime | None = Field(description="When it was read, if it was.")
    expires_at: DateTime | None = Field(description="When it may be removed, if ever.")
    created_at: DateTime = Field(description="When it was made.")


class SessionCreate(InputDTO):
    """A new Session."""

    __timber_model__: ClassVar = ("Session", "34593c38a1cd")

    id: Annotated[UUID, Rule("UUID")] = Field(
        default=LEFT_OUT,
        json_schema_extra=without_default,
        description="The key of the session.",
    )
    session_type: Annotated[str, Rule("String", 64)] = Field(
        description="What kind of work it is, like research or trading.",
    )
    status: Annotated[str, Rule("String", 32)] = Field(
        default="active",
        description="Where the session stands, like active, paused, completed or failed.",
    )
    metadata: Annotated[Any, Rule("JSONB")] = Field(
        default_factory=dict,
        description="What else is known about it.",
    )
    completed_at: Annotated[DateTime, Rule("DateTime")] | None = Field(
        default=None,
        description="When it was completed, if it was.",
    )
    user_id: Annotated[str, Rule("String", 255)] = Field(
        description="The user it belongs to.",
    )


class SessionUpdate(InputDTO):
    """Changes to a Session."""

    __timber_model__: ClassVar = ("Session", "34593c38a1cd")

    session_type: Annotated[str, Rule("String", 64)] = Field(
        default=LEFT_OUT,
        json_schema_extra=without_default,
        description="What kind of work it is, like research or trading.",
    )
    status: Annotated[str, Rule("String", 32)] = Field(
        default=LEFT_OUT,
        json_schema_extra=without_default,
        description="Where the session stands, like active, paused, completed or failed.",
    )
    metadata: Annotated[Any, Rule("JSONB")] = Field(
        default=LEFT_OUT,
        json_schema_extra=without_default,
        description="What else is known about it.",
    )
    completed_at: Annotated[DateTime, Rule("DateTime")] | None = Field(
        default=LEFT_OUT,
        json_schema_extra=without_default,
        description="When it was completed, if it was.",
    )


class SessionRead(DTO):
    """A stretch of work that a user does."""

    __timber_model__: ClassVar = ("Session", "34593c38a1cd")

    id: UUID = Field(description="The key of the session.")
    session_type: str = Field(
        description="What kind of work it is, like research or trading.",
    )
    status: str = Field(
        description="Where the session stands, like active, paused, completed or failed.",
    )
    metadata: Any = Field(description="What else is known about it.")
    symbol: str | None = Field(description="The symbol in its metadata.")
    completed_at: DateTime | None = Field(
        description="When it was completed, if it was.",
    )
    user_id: str = Field(description="The user it belongs to.")
    version: int = Field(description="Counted up by each update.")
    created_at: DateTime = Field(description="When it was made.")
    updated_at: DateTime = Field(description="When it was last changed.")
    deleted_at: DateTime | None = Field(description="When it was deleted, if it was.")
