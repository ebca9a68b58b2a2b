"""The table of owed invalidations: what caches elsewhere have yet to drop of models that are cached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

if TYPE_CHECKING:
    from collections.abc import Iterable

    from timber.models.config import ModelConfig

OWED_TABLE: Final = "timber_owed"

# Rows live for a fraction of a second: vacuum by their number, not by the table's size, without pauses, and never for
# statistics, which nothing here needs. No index beyond the key: each would be written twice for every change.
_STORAGE: Final = {
    "autovacuum_vacuum_scale_factor": 0,
    "autovacuum_vacuum_threshold": 1000,
    "autovacuum_vacuum_insert_threshold": -1,
    "autovacuum_vacuum_cost_delay": 0,
    "autovacuum_analyze_scale_factor": 0,
    "autovacuum_analyze_threshold": 2_000_000_000,
    "toast.autovacuum_vacuum_scale_factor": 0,
    "toast.autovacuum_vacuum_threshold": 1000,
    "toast.autovacuum_vacuum_cost_delay": 0,
}


def add_owed_table(metadata: sa.MetaData, configs: Iterable[ModelConfig]) -> None:
    """Add the table if one of the models is cached."""
    if any(config.features.cache is not None for config in configs):
        owed_table(metadata)


def owed_table(metadata: sa.MetaData) -> sa.Table:
    """The table on the metadata of one Timber."""
    existing = metadata.tables.get(OWED_TABLE)
    if existing is not None:
        return existing
    return sa.Table(
        OWED_TABLE,
        metadata,
        sa.Column("id", postgresql.UUID(as_uuid=True), primary_key=True),
        sa.Column("names", postgresql.ARRAY(sa.Text), nullable=False),
        sa.Column(
            "made_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.text("clock_timestamp()"),
        ),
        postgresql_with=_STORAGE,
    )
