"""Tables and indexes: missing, broken, never used, and never made although models ask by their columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from timber.cli.doctor.findings import Finding, listed
from timber.database.statements import Statement

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from timber.cli.doctor.findings import Patient
    from timber.models.config import ModelConfig
    from timber.models.registry import ModelRegistry

_READS: Final = 1000  # before a table has been read that often nothing can be said of its indexes
_LARGE: Final = 10_000  # rows; what is smaller is read as a whole just as quickly

_TABLES = Statement(
    """
    SELECT c.relname AS name, s.n_live_tup AS rows, s.n_dead_tup AS dead, s.seq_scan AS whole_reads,
           s.seq_tup_read AS rows_read, s.seq_scan + coalesce(s.idx_scan, 0) AS reads
    FROM pg_class c LEFT JOIN pg_stat_user_tables s ON s.relid = c.oid
    WHERE c.relkind IN ('r', 'p') AND pg_table_is_visible(c.oid) AND c.relname = ANY($1::text[])
    """,
    label="doctor tables",
)
_INDEXES = Statement(
    """
    SELECT t.relname AS table_name, c.relname AS name, i.indisvalid AS is_valid, i.indisunique AS is_unique,
           coalesce(s.idx_scan, 0) AS uses, pg_relation_size(c.oid) AS bytes,
           regexp_replace(pg_get_indexdef(c.oid), '^CREATE (UNIQUE )?INDEX \\S+', '') AS definition
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
    LEFT JOIN pg_stat_user_indexes s ON s.indexrelid = c.oid
    WHERE pg_table_is_visible(t.oid) AND t.relname = ANY($1::text[])
    ORDER BY 1, 2
    """,
    label="doctor indexes",
)


async def indexes(patient: Patient) -> AsyncIterator[Finding]:
    """How the tables of the models are, and whether what is asked of them can be found."""
    registry = patient.registry
    if registry is None:
        return
    names = sorted(registry.metadata.tables)
    tables = {row["name"]: row for row in await patient.db.fetch(_TABLES, [names])}
    present = await patient.db.fetch(_INDEXES, [names])
    missing = [name for name in names if name not in tables]
    if missing:
        yield Finding(
            "Tables",
            "problem",
            f"{len(missing)} of {len(names)} are not there: {listed(missing)}",
            "Run timber migrate up, or await timber.db.create_all_tables() in development.",
        )
    else:
        yield Finding("Tables", "ok", f"{len(names)}, all there")
    for finding in (
        *_broken(registry, tables, present),
        *_unused(tables, present),
        *_never_made(registry),
        *_read_whole(tables),
    ):
        yield finding


def _broken(
    registry: ModelRegistry, tables: dict[str, Any], present: list[Any]
) -> Iterator[Finding]:
    invalid = [row["name"] for row in present if not row["is_valid"]]
    if invalid:
        yield Finding(
            "Broken indexes",
            "problem",
            f"A CREATE INDEX CONCURRENTLY failed and left {listed(invalid)}, which slows writes down and serves nobody.",
            f"DROP INDEX CONCURRENTLY {invalid[0]}, and make it again.",
        )
    known = {row["name"] for row in present}
    absent = sorted(
        str(index.name)
        for name in tables
        for index in registry.metadata.tables[name].indexes
        if index.name not in known
    )
    if absent:
        yield Finding(
            "Missing indexes",
            "problem",
            f"The models declare {listed(absent)}, and the database does not have it.",
            "Run timber migrate new, read it, and timber migrate up.",
        )


def _unused(tables: dict[str, Any], present: list[Any]) -> Iterator[Finding]:
    unused = [
        row
        for row in present
        if not row["uses"]
        and not row["is_unique"]
        and (tables[row["table_name"]]["reads"] or 0) >= _READS
    ]
    if unused:
        size = sum(row["bytes"] for row in unused) / 1024 / 1024
        yield Finding(
            "Unused indexes",
            "note",
            f"{listed([row['name'] for row in unused])}: never used since statistics began, {size:,.1f} MiB that "
            "each write keeps up",
            "If no replica uses them and no rare report does, take them out of the models and migrate.",
        )
    twins: dict[tuple[str, str], list[str]] = {}
    for row in present:
        twins.setdefault((row["table_name"], row["definition"]), []).append(row["name"])
    for same in twins.values():
        if len(same) > 1:
            yield Finding(
                "Duplicate indexes",
                "warning",
                f"{listed(same)} are the same.",
                "Keep one of them.",
            )


def _never_made(registry: ModelRegistry) -> Iterator[Finding]:
    """Columns by which the models say that rows are asked for, and which begin no index."""
    wanted = [
        f"{config.table}.{column} ({why})"
        for name in registry.list_models()
        for config in [registry.model_config(name)]
        for column, why in asked_by(config).items()
        if column not in _leading(registry.metadata.tables[config.table])
    ]
    if wanted:
        yield Finding(
            "Indexes to make",
            "warning",
            f"No index begins with {listed(wanted)}.",
            "Add it to the model's indexes, or index: true to the column, and migrate.",
        )


def asked_by(config: ModelConfig) -> dict[str, str]:
    """The columns that a model says its rows are found by, and where it says so."""
    asked = {
        column.name: "a reference, followed when the row it names is loaded or deleted"
        for column in config.columns
        if column.foreign_key is not None
    }
    if config.owner is not None:
        asked[config.owner] = "the owner"
    features = config.features
    if features.personal_data is not None and features.personal_data.person is not None:
        asked[features.personal_data.person] = "personal_data"
    if features.feed is not None and features.feed.by is not None:
        asked[features.feed.by] = "the feed"
    if features.cache is not None:
        asked |= dict.fromkeys(features.cache.lists, "cached lists")
    return asked


def _leading(table: sa.Table) -> set[str]:
    """The columns with which an index, the key or a unique constraint begins."""
    led = [list(table.primary_key.columns)]
    led += [
        list(constraint.columns)
        for constraint in table.constraints
        if isinstance(constraint, sa.UniqueConstraint)
    ]
    led += [list(index.columns) for index in table.indexes]
    return {columns[0].name for columns in led if columns}


def _read_whole(tables: dict[str, Any]) -> Iterator[Finding]:
    slow = [
        f"{name} ({row['whole_reads']:,} times)"
        for name, row in tables.items()
        if (row["whole_reads"] or 0) >= _READS and row["rows_read"] / row["whole_reads"] >= _LARGE
    ]
    if slow:
        yield Finding(
            "Whole tables read",
            "warning",
            f"Read row by row from end to end, again and again: {listed(slow)}",
            "Find the query with timber explain, and give it an index.",
        )
    bloated = [
        name
        for name, row in tables.items()
        if (row["dead"] or 0) >= _LARGE and row["dead"] > row["rows"]
    ]
    if bloated:
        yield Finding(
            "Dead rows",
            "warning",
            f"More dead rows than live ones: {listed(bloated)}",
            "Look for long transactions, which keep VACUUM from removing them, then run VACUUM.",
        )
