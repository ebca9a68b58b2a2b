"""The rows of docs/reliability.md, in its order."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    name: str
    """What the report calls it; one word, never changed."""
    title: str
    """What happens."""
    promise: str
    """What has to be shown."""


CUT = Row(
    "cut",
    "The connection is cut at every byte of a unit of work or lone write, in both directions",
    "duplicated 0, lost 0, unresolved 0",
)
KILLED = Row(
    "killed",
    "PostgreSQL is killed (`kill -9`) under load, with synchronous commit",
    "every acknowledged commit is there, none by half, every ambiguous one is resolved",
)
RESTARTED = Row(
    "restarted",
    "PostgreSQL is restarted (fast shutdown, 57P01) under load",
    "a caller of `run()` sees 0 errors; lost 0, duplicated 0",
)
DEMOTED = Row(
    "demoted",
    "The primary is demoted under load, its replica promoted; or it turns read-only (25006)",
    "a caller of `run()` sees 0 errors",
)
FAILED_OVER = Row(
    "failed-over",
    "The primary is killed (`kill -9`) under load, its synchronous replica promoted",
    "lost 0, duplicated 0, none by half; what cannot be found out on the other server is called unknown",
)
CHANGED = Row(
    "changed",
    "ALTER TABLE under load",
    "a caller of `run()` sees 0 errors",
)
TIMEOUTS = Row(
    "timeouts",
    "`asyncio.timeout` around transactions under load",
    "commits reported as anything but committed: 0",
)
FROZEN = Row(
    "frozen",
    "The server is frozen, the callers have `deadline(0.5)`",
    "overrun at most 0.25 s (p100), no slot lost after it thaws",
)
STORM = Row(
    "storm",
    "A storm of deadlines at one to three times the transaction's own time",
    "at least 80 % of the undisturbed useful throughput, at most 5 reconnects for 100 cancels, no other query cancelled",
)
ISOLATION = Row(
    "isolation",
    "Hermitage's anomalies, and transfers by 8 tasks, at every isolation level",
    "what PostgreSQL promises at each level; serializable: no anomaly, the sum never changes, callbacks run exactly once",
)
CACHE = Row(
    "cache",
    "Redis is killed, frozen and restarted empty under load",
    "writes commit, no caller sees an error, no read is older than what its own process acknowledged",
)
BAD_INPUT = Row(
    "bad-input",
    "Bad input of every kind",
    "a Timber error or success; never another exception, a hang or a partial write",
)

ROWS = (
    *(CUT, KILLED, RESTARTED, DEMOTED, FAILED_OVER, CHANGED),
    *(TIMEOUTS, FROZEN, STORM, ISOLATION, CACHE, BAD_INPUT),
)
