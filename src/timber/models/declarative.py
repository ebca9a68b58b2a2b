"""The built-in mixins for models written as SQLAlchemy classes: ``class Invoice(Owner, Timestamps, Base)``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column


def _now() -> datetime:
    return datetime.now(UTC)


class Timestamps:
    """When a row was made and last changed."""

    created_at: Mapped[datetime] = mapped_column(sa.DateTime(timezone=True), default=_now)
    updated_at: Mapped[datetime] = mapped_column(
        sa.DateTime(timezone=True), default=_now, onupdate=_now
    )


class SoftDelete:
    """When a row was deleted; it stays in the table."""

    deleted_at: Mapped[datetime | None] = mapped_column(sa.DateTime(timezone=True))


class Version:
    """How often a row was changed, for optimistic updates."""

    version: Mapped[int] = mapped_column(sa.Integer, default=1)
    version_token: Mapped[int | None] = mapped_column(sa.BigInteger)


class Owner:
    """The user a row belongs to."""

    user_id: Mapped[str] = mapped_column(sa.String(255))


class Actor:
    """Who made a row and who changed it last."""

    created_by: Mapped[str | None] = mapped_column(sa.String(255))
    updated_by: Mapped[str | None] = mapped_column(sa.String(255))


DECLARATIVE_MIXINS: Final[dict[str, type]] = {
    cls.__name__: cls for cls in (Timestamps, SoftDelete, Version, Owner, Actor)
}
