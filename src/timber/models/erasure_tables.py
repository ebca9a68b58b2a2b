"""The table that keeps how far each erasure of a person has come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

if TYPE_CHECKING:
    from collections.abc import Collection

    from timber.models.config import ModelConfig

ERASURES: Final = "timber_erasures"
"""The name of the table."""


def add_erasure_tables(metadata: sa.MetaData, models: Collection[ModelConfig]) -> None:
    """Add the table if one of the models holds personal data."""
    if all(config.features.personal_data is None for config in models):
        return
    table = sa.Table(
        ERASURES,
        metadata,
        sa.Column("id", postgresql.UUID(as_uuid=True), primary_key=True),
        sa.Column("person", sa.Text, comment="Who is erased; nobody once that is done."),
        sa.Column(
            "stand_in",
            postgresql.UUID(as_uuid=True),
            comment="What takes the person's place in rows that stay; nothing once that is done.",
        ),
        sa.Column("done", postgresql.JSONB, nullable=False, comment="How many rows, by model."),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        comment="Erasures of persons: how far each has come.",
    )
    # Two processes that erase the same person share one erasure.
    sa.Index(
        "ix_timber_erasures_person",
        table.c.person,
        unique=True,
        postgresql_where=sa.text("finished_at IS NULL"),
    )
