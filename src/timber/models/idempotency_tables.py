"""The table of commands that happen once: their keys, what was asked, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

if TYPE_CHECKING:
    from collections.abc import Iterable

    from timber.models.config import ModelConfig

IDEMPOTENCY_TABLE: Final = "timber_idempotency"


def add_idempotency_table(metadata: sa.MetaData, _configs: Iterable[ModelConfig]) -> None:
    """Add the table, which any command may use whatever the models."""
    if IDEMPOTENCY_TABLE in metadata.tables:
        return
    sa.Table(
        IDEMPOTENCY_TABLE,
        metadata,
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("request", sa.LargeBinary, nullable=False),
        sa.Column("result", sa.Text),
        sa.Column("attempt", postgresql.UUID(as_uuid=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Index(f"ix_{IDEMPOTENCY_TABLE}_expires_at", "expires_at"),
    )
