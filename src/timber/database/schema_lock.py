"""One process at a time changes the schema of a database; the others wait."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from time import monotonic
from typing import TYPE_CHECKING, Final, Literal

import sqlalchemy as sa

from timber.errors import QueryTimeoutError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

KEY: Final = int.from_bytes(b"timber")
"""The number of the advisory lock; each database has its own of that number."""

WAIT: Final = 60.0
"""How long `create_all_tables` waits for another process, in seconds."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0

_HOLDER = sa.text(
    "SELECT l.pid, a.application_name FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid)"
    " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
    " AND l.classid = :upper AND l.objid = :lower"
    " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
).bindparams(
    # The two halves of the number, as pg_locks shows them.
    sa.bindparam("upper", KEY >> 32, sa.BigInteger),
    sa.bindparam("lower", KEY & 0xFFFFFFFF, sa.BigInteger),
)


@asynccontextmanager
async def schema_transaction(
    engine: AsyncEngine, *, target: str
) -> AsyncGenerator[AsyncConnection]:
    """A transaction in which nobody else changes the schema.

    Raises:
        QueryTimeoutError: another process did for more than :data:`WAIT`.
    """
    async with engine.connect() as connection:
        await take_lock(connection, "transaction", seconds=WAIT, target=target)
        yield connection
        await connection.commit()


async def take_lock(
    connection: AsyncConnection,
    scope: Literal["transaction", "session"],
    *,
    seconds: float,
    target: str,
) -> bool:
    """Wait for the lock, and hold it until the end of the transaction or session; whether it had to be waited for.

    Raises:
        QueryTimeoutError: it did not become free in time.
    """
    # Asked again and again, because a statement that waits keeps a snapshot, and CREATE INDEX CONCURRENTLY waits for all
    # snapshots: whoever holds the lock would wait for those who wait for it.
    function = "pg_try_advisory_xact_lock" if scope == "transaction" else "pg_try_advisory_lock"
    until, pause = monotonic() + seconds, _FIRST_PAUSE
    waited = False
    while not await connection.scalar(sa.text(f"SELECT {function}({KEY})")):
        waited = True
        if monotonic() > until:
            holder = (await connection.execute(_HOLDER)).first()
            who = f" (pid {holder.pid}, {holder.application_name})" if holder else ""
            await connection.rollback()
            raise QueryTimeoutError(
                f"Another process{who} has been changing the schema of {target} for {seconds:g} s. Wait for it or end it."
            )
        await connection.rollback()
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
        pause = min(pause * 1.5, _LONGEST_PAUSE)
    return waited


async def release_lock(connection: AsyncConnection) -> None:
    """Let go of a lock of the session."""
    await connection.execute(sa.text(f"SELECT pg_advisory_unlock({KEY})"))
    await connection.commit()
