"""What became of a transaction: carried on exceptions, and found out when the connection was lost at the COMMIT."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import asyncpg

from timber.errors import Outcome, ServiceError

if TYPE_CHECKING:
    from datetime import datetime

    from timber.database.statements import Statement

logger: logging.Logger = logging.getLogger(__name__)

_ATTRIBUTE = "_timber_outcome"


def note_outcome(error: BaseException, outcome: Outcome) -> None:
    """Write on ``error`` what became of the transaction it passed through; the outermost one is the last to write."""
    if isinstance(error, ServiceError):
        error.outcome = outcome
    else:
        setattr(error, _ATTRIBUTE, outcome)


def outcome_of(error: BaseException | None) -> Outcome | None:
    """What became of the transaction that ``error`` ended, looked for on it and on its causes.

    None says that the error did not come through a transaction, or that it was lost on the way: ``asyncio.TaskGroup`` and
    ``anyio.move_on_after`` drop the cancellation that carries it. Ask ``uow.outcome`` then.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        found: Outcome | None = (
            error.outcome if isinstance(error, ServiceError) else getattr(error, _ATTRIBUTE, None)
        )
        if found is not None:
            return found
        error = error.__cause__ or _cut_off_by(error)
    return None


def _cut_off_by(error: BaseException) -> BaseException | None:
    """The cancellation that a timeout was made of; ``anyio.fail_after`` leaves it in the context only."""
    cancelled = error.__context__ if isinstance(error, TimeoutError) else None
    return cancelled if isinstance(cancelled, asyncio.CancelledError) else None


class Backend(NamedTuple):
    """The server process behind a connection, so that another connection can ask about it.

    Behind a pooler a connection has none of its own: pid and start are None, and nobody's process is waited for or ended.
    """

    pid: int | None
    started: datetime | None
    wal_reset: datetime | None
    """``pg_stat_wal.stats_reset``: it moves when the server comes back from a crash."""


Rows = Sequence[Any]
Verdict = tuple[Literal["committed", "rolled_back", "unknown"], Rows]


class Fetch(Protocol):
    """Runs one statement on the connection that asks."""

    def __call__(self, statement: Statement, args: Sequence[object]) -> Awaitable[Rows]: ...


Check = Callable[[Fetch], Awaitable[Verdict]]
"""Looks in the tables whether a lone write is there; runs once its server process is gone."""

_XACT_STATUS = """
select pg_xact_status($1::text::xid8) as status, (select stats_reset from pg_stat_wal) as wal_reset,
       exists (select from pg_stat_activity where pid = $2 and backend_start = $3) as running
"""
_RUNNING = """
select exists (select from pg_stat_activity where pid = $1 and backend_start = $2) as running,
       (select stats_reset from pg_stat_wal) as wal_reset
"""
_TERMINATE = (
    "select pg_terminate_backend(pid) from pg_stat_activity where pid = $1 and backend_start = $2"
)
# The server knew no such id when a checkpoint of its own began after the COMMIT had been sent: the id has been handed out
# since, so that whoever was given it before was lost. Clocks of two servers are not compared: the timelines are the same.
# Checkpoints are dated to the second; recovery from a crash, which ends with one, to the microsecond: it resets all statistics
# at one moment, where somebody who resets them by hand does so one by one.
_NEVER_WAS = """
select greatest(checkpoint_time,
                (select wal.stats_reset from pg_stat_wal wal, pg_stat_bgwriter bgwriter, pg_stat_archiver archiver
                  where wal.stats_reset = bgwriter.stats_reset and wal.stats_reset = archiver.stats_reset)
       ) > clock_timestamp() - make_interval(secs => $2)
   and lpad(to_hex(timeline_id), 8, '0') = lower(left(pg_walfile_name(pg_current_wal_lsn()), 8))
   and $1::text::numeric >= split_part(next_xid, ':', 1)::numeric * 4294967296 + split_part(next_xid, ':', 2)::numeric
  from pg_control_checkpoint()
"""
_POLL_SECONDS = 0.02
_PATIENCE_SECONDS = 0.2


async def resolve_transaction(
    driver: asyncpg.Connection,
    xid: int,
    backend: Backend,
    witness: Check | None,
    fetch: Fetch,
    *,
    sent: float | None = None,
) -> Outcome:
    """What became of transaction ``xid`` of a connection that is lost, asked on another one.

    Waits while the old server process still works on it, and ends that process when it is not coming to an end by itself:
    it waits for a client that is gone. Ids that had not reached the disk are handed out again after a crash, so that
    ``committed`` may then be said of somebody else's transaction: it counts only if the server has not crashed since, or if
    ``witness`` finds what the transaction wrote. It is rolled back if the server, coming back, did not know the id. Every
    other answer holds: a commit that reached the disk keeps its id.

    Args:
        sent: the event loop's time when COMMIT was sent.
    """
    waited = 0.0
    while True:
        try:
            row = await driver.fetchrow(_XACT_STATUS, str(xid), backend.pid, backend.started)
        except asyncpg.InvalidParameterValueError:
            return "rolled_back"  # an id of the future: it never reached the disk
        assert row is not None
        crashed = row["wal_reset"] != backend.wal_reset
        if row["status"] == "aborted":
            return "rolled_back"
        if row["status"] == "committed":
            if not crashed or (witness is not None and (await witness(fetch))[0] == "committed"):
                return "committed"
            # A row that is not there may have been deleted since: that is no proof.
            lost = sent is not None and await _never_was(driver, xid, sent)
            return "rolled_back" if lost else "unknown"
        if row["status"] is None:
            return "unknown"  # so long ago that the server has forgotten it
        if crashed and not row["running"] and backend.pid is not None:
            return "rolled_back"  # in progress, but not in the process we knew
        waited = await _wait_for(driver, backend, waited)


async def _never_was(driver: asyncpg.Connection, xid: int, sent: float) -> bool:
    """Whether the transaction is known to have been lost in a crash."""
    seconds = asyncio.get_running_loop().time() - sent
    try:
        return bool(await driver.fetchval(_NEVER_WAS, str(xid), seconds))
    except asyncpg.PostgresError:
        return False  # not everybody may ask, and a standby cannot be asked


async def wait_until_gone(driver: asyncpg.Connection, backend: Backend) -> bool:
    """Wait until the old server process has ended, so that what it wrote or did not write is final.

    Returns:
        Whether that is known; behind a pooler it is not.
    """
    if backend.pid is None:
        return False
    waited = 0.0
    while True:
        row = await driver.fetchrow(_RUNNING, backend.pid, backend.started)
        assert row is not None
        if not row["running"]:
            return True
        waited = await _wait_for(driver, backend, waited)


async def _wait_for(driver: asyncpg.Connection, backend: Backend, waited: float) -> float:
    if waited >= _PATIENCE_SECONDS and backend.pid is not None:
        await driver.execute(_TERMINATE, backend.pid, backend.started)
        logger.info("Ended server process %d, whose connection was lost.", backend.pid)
        waited = 0.0
    await asyncio.sleep(_POLL_SECONDS)
    return waited + _POLL_SECONDS
