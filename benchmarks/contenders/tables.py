"""Timber's tables as somebody would map them with SQLAlchemy alone: only the columns that the DTOs have."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import Computed, DateTime, ForeignKey, String, Table
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from uuid_utils.compat import uuid7


def now() -> datetime:
    return datetime.now(UTC)


class Base(DeclarativeBase):
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
    }


class SessionRow(Base):
    __tablename__ = "sessions"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    user_id: Mapped[str] = mapped_column(String(255))
    session_type: Mapped[str] = mapped_column(String(50))
    status: Mapped[str] = mapped_column(String(20))
    # The declarative base has a "metadata" of its own, hence the other name of the attribute.
    data: Mapped[dict[str, Any]] = mapped_column("metadata")
    symbol: Mapped[str | None] = mapped_column(Computed("metadata ->> 'symbol'", persisted=True))
    version: Mapped[int] = mapped_column()
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now, onupdate=now)
    completed_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]
    research: Mapped[list[ResearchRow]] = relationship(
        primaryjoin="and_(ResearchRow.session_id == SessionRow.id, ResearchRow.deleted_at.is_(None))",
        order_by="ResearchRow.created_at.desc()",
        passive_deletes="all",
    )

    events: Mapped[list[EventRow]] = relationship(order_by="EventRow.at", passive_deletes="all")

    # Eager defaults bring the generated column back with INSERT and UPDATE .. RETURNING.
    __mapper_args__ = {"version_id_col": version, "eager_defaults": True}  # noqa: RUF012 # as SQLAlchemy declares it


class ResearchRow(Base):
    __tablename__ = "research_data"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    session_id: Mapped[UUID] = mapped_column(ForeignKey("sessions.id"))
    user_id: Mapped[str] = mapped_column(String(255))
    research_type: Mapped[str] = mapped_column(String(50))
    title: Mapped[str | None] = mapped_column(String(500))
    content: Mapped[dict[str, Any]]
    data: Mapped[dict[str, Any]] = mapped_column("metadata")
    source_hash: Mapped[str | None] = mapped_column(String(64))
    version: Mapped[int] = mapped_column()
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now, onupdate=now)
    deleted_at: Mapped[datetime | None]

    __mapper_args__ = {"version_id_col": version, "eager_defaults": True}  # noqa: RUF012 # as SQLAlchemy declares it


class EventRow(Base):
    __tablename__ = "session_events"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    session_id: Mapped[UUID] = mapped_column(ForeignKey("sessions.id"))
    from_status: Mapped[str] = mapped_column(String(32))
    to_status: Mapped[str] = mapped_column(String(32))
    at: Mapped[datetime] = mapped_column(default=now)


def table_of(row: type[Base]) -> Table:
    table = row.__table__
    assert isinstance(table, Table)
    return table


SESSIONS = table_of(SessionRow)
RESEARCH = table_of(ResearchRow)
EVENTS = table_of(EventRow)
