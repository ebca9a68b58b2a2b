"""The server itself: its version, what it is missing, and what it is set to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from timber.cli.doctor.findings import Finding, listed
from timber.database.statements import Statement
from timber.models.types import Vector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from timber.cli.doctor.findings import Patient

OLDEST: Final = 15
NEWEST: Final = 18
_WRAPAROUND: Final = 2_000_000_000
_LATE: Final = 1_500_000_000

_SERVER = Statement(
    """
    SELECT current_setting('server_version') AS version,
           current_setting('server_version_num')::int / 10000 AS major,
           pg_is_in_recovery() AS is_replica,
           current_setting('fsync') = 'on' AS syncs,
           current_setting('autovacuum') = 'on' AS vacuums,
           (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS is_superuser,
           (SELECT max(age(datfrozenxid)) FROM pg_database) AS oldest
    """,
    label="doctor server",
)
_EXTENSIONS = Statement(
    """
    SELECT name, installed_version, default_version FROM pg_available_extensions
    WHERE name IN ('vector', 'pg_stat_statements')
    """,
    label="doctor extensions",
)


async def server(patient: Patient) -> AsyncIterator[Finding]:
    """Whether the server is one that Timber works with, and is set up to keep what it is given."""
    [row] = await patient.db.fetch(_SERVER)
    number = row["version"].partition(" ")[0]
    if row["major"] < OLDEST:
        yield Finding(
            "PostgreSQL",
            "problem",
            f"{number} on {patient.db.target} is older than {OLDEST}.",
            f"Upgrade it to {OLDEST} or newer: pg_upgrade keeps the data.",
        )
    elif row["major"] > NEWEST:
        yield Finding(
            "PostgreSQL",
            "warning",
            f"{number} on {patient.db.target} is newer than this Timber has been tested with ({NEWEST}).",
            "Look for a newer timber-async.",
        )
    else:
        yield Finding("PostgreSQL", "ok", f"{number}, {patient.db.target}")
    if row["is_replica"]:
        yield Finding(
            "Replica",
            "problem",
            "The server is a replica: it refuses every write.",
            "Point TIMBER_DATABASE_URL to the primary.",
        )
    for finding in _settings(row, production=patient.settings.production):
        yield finding


def _settings(row: Any, *, production: bool) -> list[Finding]:
    found: list[Finding] = []
    if not row["syncs"]:
        found.append(
            Finding(
                "Durability",
                "problem" if production else "note",
                "fsync is off: a crash of the machine can destroy the database.",
                "Set fsync = on in postgresql.conf, unless losing all of it is no loss.",
            )
        )
    if not row["vacuums"]:
        found.append(
            Finding(
                "Autovacuum",
                "problem",
                "Autovacuum is off: tables only ever grow, and in the end the server stops.",
                "Set autovacuum = on in postgresql.conf.",
            )
        )
    if row["oldest"] > _LATE:
        found.append(
            Finding(
                "Transaction ids",
                "problem",
                f"{row['oldest']:,} of about {_WRAPAROUND:,} are used up; at the end the server takes no more writes.",
                "Find what holds autovacuum up (long transactions, replication slots) and run VACUUM FREEZE.",
            )
        )
    if production and row["is_superuser"]:
        found.append(
            Finding(
                "Role",
                "warning",
                "The application works as a superuser.",
                "Give it a role of its own that owns its tables and nothing else.",
            )
        )
    return found


async def extensions(patient: Patient) -> AsyncIterator[Finding]:
    """Whether the extensions that the models need are there."""
    rows = {row["name"]: row for row in await patient.db.fetch(_EXTENSIONS)}
    needing = _tables_with_vectors(patient)
    vector = rows.get("vector")
    if needing and vector is None:
        yield Finding(
            "Extensions",
            "problem",
            f"{listed(needing)} has a Vector column, and the server does not have pgvector.",
            "Install pgvector on the server (Debian: postgresql-<version>-pgvector), or take a server that has it.",
        )
    elif needing and vector is not None and vector["installed_version"] is None:
        yield Finding(
            "Extensions",
            "problem",
            f"{listed(needing)} has a Vector column, and this database has no vector extension yet.",
            "Run timber migrate up, or CREATE EXTENSION vector as a role that may.",
        )
    else:
        present = [f"{name} {row['installed_version']}" for name, row in rows.items() if row[1]]
        yield Finding("Extensions", "ok", listed(present) or "none is needed")
    statements = rows.get("pg_stat_statements")
    if patient.settings.production and (
        statements is None or statements["installed_version"] is None
    ):
        yield Finding(
            "Statistics",
            "note",
            "pg_stat_statements is not in this database: nobody can say which statements take the time.",
            "Add it to shared_preload_libraries and run CREATE EXTENSION pg_stat_statements.",
        )


def _tables_with_vectors(patient: Patient) -> list[str]:
    if patient.registry is None:
        return []
    return sorted(
        table.name
        for table in patient.registry.metadata.tables.values()
        if any(isinstance(column.type, Vector) for column in table.columns)
    )
