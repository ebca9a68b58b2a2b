"""The way to the server: how many connections there may be, who holds one for long, and what stands between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from timber.cli.doctor.findings import Finding, listed
from timber.database.pgbouncer import pooler_advice
from timber.database.statements import Statement
from timber.database.urls import parse_url
from timber.running import EMBEDDED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from timber.cli.doctor.findings import Level, Patient

_ROOM = Statement(
    """
    SELECT current_setting('max_connections')::int AS most,
           current_setting('superuser_reserved_connections')::int
             + coalesce(current_setting('reserved_connections', true), '0')::int AS reserved,
           (SELECT count(*) FROM pg_stat_activity
            WHERE datname IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend'
              AND application_name <> $1) AS others,
           (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user) AS role_limit
    """,
    label="doctor connections",
)
_LONG = Statement(
    """
    SELECT pid, coalesce(nullif(application_name, ''), 'somebody') AS who, state,
           extract(epoch FROM now() - xact_start)::float8 AS seconds
    FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
      AND now() - xact_start > make_interval(secs => $1)
    ORDER BY xact_start
    """,
    label="doctor transactions",
)
_PREPARED = Statement(
    """
    SELECT gid FROM pg_prepared_xacts WHERE now() - prepared > make_interval(secs => $1) ORDER BY prepared
    """,
    label="doctor prepared transactions",
)


async def connections(patient: Patient) -> AsyncIterator[Finding]:
    """Whether all instances together find room."""
    settings = patient.settings
    [row] = await patient.db.fetch(_ROOM, [settings.application_name])
    each = settings.pool_size + settings.max_overflow
    wanted = each * patient.instances
    free = row["most"] - row["reserved"] - row["others"]
    limit = row["role_limit"]
    if 0 <= limit < free:
        free = limit
    sum_ = (
        f"{patient.instances} x ({settings.pool_size} + {settings.max_overflow}) = {wanted} connections may be "
        f"opened, and there is room for {free} ({row['most']} less {row['reserved']} reserved, {row['others']} others)"
    )
    if wanted <= free:
        yield Finding("Connections", "ok", sum_)
        return
    share = max(2, free // patient.instances)
    size = max(1, share // 3)
    yield Finding(
        "Connections",
        "problem" if settings.pool_size * patient.instances > free else "warning",
        sum_,
        f"Set TIMBER_POOL_SIZE={size} and TIMBER_MAX_OVERFLOW={share - size}, raise max_connections, or put PgBouncer "
        "between.",
    )


async def transactions(patient: Patient) -> AsyncIterator[Finding]:
    """Whether somebody holds a transaction open, which keeps locks and stops VACUUM."""
    rows = await patient.db.fetch(_LONG, [patient.busy_seconds])
    if rows:
        who = [f"{row['who']} (pid {row['pid']}, {row['state']}, {_age(row)})" for row in rows]
        yield Finding(
            "Transactions",
            "warning",
            f"{len(rows)} older than {patient.busy_seconds:g} s: {listed(who, 3)}",
            f"Find out what it waits for, or end it: SELECT pg_terminate_backend({rows[0]['pid']}). Nothing slow, such as "
            "a call to another service, belongs inside a unit of work.",
        )
    else:
        yield Finding("Transactions", "ok", f"none is older than {patient.busy_seconds:g} s")
    prepared = [row["gid"] for row in await patient.db.fetch(_PREPARED, [patient.busy_seconds])]
    if prepared:
        yield Finding(
            "Prepared transactions",
            "problem",
            f"{len(prepared)} wait for a decision and hold their locks until then: {listed(prepared, 3)}",
            "Decide each: COMMIT PREPARED or ROLLBACK PREPARED, with its name in quotes.",
        )


def _age(row: Any) -> str:
    seconds = row["seconds"]
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.0f} min"


async def pooler(patient: Patient) -> AsyncIterator[Finding]:
    """Whether something such as PgBouncer stands between, and the URL knows of it."""
    if patient.settings.database_url == EMBEDDED:
        return
    prepared = parse_url(patient.settings.database_url).query.get("statement_cache_size")
    advice = await pooler_advice(patient.db)
    if patient.settings.pgbouncer or (patient.db.is_pooled and prepared != "0"):
        if advice is None:
            yield Finding("Pooler", "ok", "one stands between, and pgbouncer=True allows for it")
        else:
            level: Level = "note" if patient.settings.pgbouncer else "warning"
            yield Finding("Pooler", level, "A pooler and its setting ask for a look.", advice)
        return
    between = await _stands_between(patient)
    if between and prepared != "0":
        yield Finding(
            "Pooler",
            "warning",
            "Something stands between Timber and PostgreSQL. If it is PgBouncer in transaction mode, prepared statements "
            "and LISTEN do not work through it.",
            "Set TIMBER_PGBOUNCER=true, and TIMBER_LISTEN_URL for subscriptions; if it is only a port that is forwarded, "
            "there is nothing to do.",
        )
    elif between:
        yield Finding(
            "Pooler", "ok", "one stands between, and statement_cache_size=0 allows for it"
        )
    elif prepared == "0":
        yield Finding(
            "Pooler",
            "note",
            "statement_cache_size=0 allows for a pooler, and none stands between.",
            "Take it out of the URL: every statement is planned anew for it.",
        )
    else:
        yield Finding("Pooler", "ok", "none stands between")


async def _stands_between(patient: Patient) -> bool:
    """Whether the server sees a connection come from another port than the one it was opened from here."""
    async with patient.db.unit_of_work(read_only=True) as uow:
        connection = await (await uow.session.connection()).get_raw_connection()
        driver: Any = connection.driver_connection
        seen = await driver.fetchval("SELECT inet_client_port()")
        own = driver._transport.get_extra_info("sockname")  # noqa: SLF001  # the driver tells nobody
    return isinstance(own, tuple) and seen != own[1]
