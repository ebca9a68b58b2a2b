"""Who a migration waits for: asked on a second connection while it waits, because afterwards nobody knows."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from timber.database.errors import FOREIGN

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from sqlalchemy.ext.asyncio import AsyncEngine

logger: logging.Logger = logging.getLogger(__name__)

_LONGEST_PAUSE: Final = 0.5
_TELL_AFTER: Final = 10.0

# Not what they run: that may hold values of rows.
_WAITED_FOR = sa.text("""
SELECT b.pid, a.usename, a.application_name, a.state, w.relation::regclass::text AS relation, w.mode,
       extract(epoch FROM clock_timestamp() - a.xact_start) AS seconds
  FROM unnest(pg_blocking_pids(:pid)) AS b(pid)
  LEFT JOIN pg_stat_activity a ON a.pid = b.pid
  LEFT JOIN LATERAL (SELECT relation, mode FROM pg_locks WHERE pid = :pid AND NOT granted LIMIT 1) w ON true
 ORDER BY a.xact_start NULLS LAST LIMIT 5""").bindparams(sa.bindparam("pid", type_=sa.Integer))


@dataclass(slots=True)
class Waiting:
    """What a backend was last seen waiting for, and for whom."""

    what: str = ""
    holders: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        if not self.holders:
            return "who holds it could not be seen"
        verb = "holds" if len(self.holders) == 1 else "hold"
        return f"{' and '.join(self.holders)} {verb} it"


@asynccontextmanager
async def watched(engine: AsyncEngine, pid: int, *, lock_timeout: float) -> AsyncGenerator[Waiting]:
    """Look again and again what the backend ``pid`` is waiting for.

    Args:
        lock_timeout: how long it waits at most, in seconds.
    """
    seen = Waiting()
    watching = asyncio.create_task(_watch(engine, pid, seen, min(lock_timeout / 4, _LONGEST_PAUSE)))
    try:
        yield seen
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


async def _watch(engine: AsyncEngine, pid: int, seen: Waiting, pause: float) -> None:
    try:
        async with engine.connect() as connection:
            clock = asyncio.get_running_loop().time
            since, told = clock(), False
            while True:
                await asyncio.sleep(pause)
                rows = (await connection.execute(_WAITED_FOR, {"pid": pid})).all()
                await connection.rollback()
                if not rows:
                    since, told = clock(), False
                    continue
                relation = rows[0].relation
                seen.what = f"{rows[0].mode} on {relation}" if relation else "a lock"
                seen.holders = [_describe(row) for row in rows]
                if clock() - since > _TELL_AFTER and not told:
                    # An index that is built concurrently waits for as long as it takes.
                    logger.warning("The migration waits for %s: %s.", seen.what, seen)
                    told = True
    except FOREIGN as error:
        # Nothing depends on it but what an error can tell.
        logger.debug("cannot look at locks: %s", type(error).__name__)


def _describe(row: sa.Row[tuple[object, ...]]) -> str:
    known = [
        f"user {row.usename}" if row.usename else None,
        row.application_name or None,
        f"{row.state} for {row.seconds:.0f} s"
        if row.state and row.seconds is not None
        else row.state,
    ]
    words = ", ".join(word for word in known if word)
    return f"pid {row.pid} ({words})" if words else f"pid {row.pid}"
