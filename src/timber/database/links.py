"""A pooled connection and what is known of it: which server process it is, and what has changed since it was made."""

from __future__ import annotations

import asyncio
import logging
import time
from time import perf_counter
from typing import TYPE_CHECKING, Any

from timber.database.codecs import set_codecs
from timber.database.outcome import Backend
from timber.errors import SerializationError

if TYPE_CHECKING:
    import asyncpg
    from sqlalchemy.pool import Pool, PoolProxiedConnection

    from timber.database.gate import Gate

logger: logging.Logger = logging.getLogger(__name__)

_BACKEND = """
select pg_backend_pid() as pid, (select stats_reset from pg_stat_wal) as wal_reset,
       (select backend_start from pg_stat_activity where pid = pg_backend_pid()) as started
"""
_INFO_KEY = "timber"


class Link:
    """One pooled connection: the driver's, SQLAlchemy's adapter around it, and what is known of its server process."""

    __slots__ = (
        "adapter", "backend", "driver", "era", "fairy", "gate", "idle_since", "pool", "quiet_since", "schema",
    )  # fmt: skip

    def __init__(
        self,
        driver: asyncpg.Connection,
        fairy: PoolProxiedConnection,
        pool: Pool,
        backend: Backend,
        news: News,
    ) -> None:
        self.pool: Pool = pool
        self.driver: asyncpg.Connection = driver
        self.adapter: Any = fairy.dbapi_connection
        self.fairy: PoolProxiedConnection = fairy
        self.backend: Backend = backend
        self.idle_since: float = time.monotonic()
        self.quiet_since: float = perf_counter()
        self.gate: Gate | None = None
        self.era: int = news.era
        self.schema: int = news.schema


class News:
    """What statements have told of the server that concerns every pooled connection."""

    __slots__ = ("_target", "era", "is_pooled", "schema")

    def __init__(self, target: str) -> None:
        self._target = target
        self.era: int = 0
        """Grows when the server accepts no writes any more: connections made before lead to the wrong one."""
        self.schema: int = 0
        """Grows when a table has changed: statements prepared before are out of date."""
        self.is_pooled: bool = False
        """Whether there is a pooler such as PgBouncer on the way, so that a connection has no server process of its own."""

    def notice(self, failure: BaseException) -> None:
        """Take note of what a failed statement says about the others to come."""
        state = getattr(failure, "sqlstate", None)
        if state == "25006":
            self.era += 1
            logger.warning("%s accepts no writes: every connection is made anew.", self._target)
        elif state == "0A000" and isinstance(failure, SerializationError):
            self.schema += 1


class Introduction:
    """Gets to know new connections.

    Args:
        seconds: how long that may take.
        pooled: whether a pooler is known to be on the way.
    """

    def __init__(self, target: str, *, seconds: float, pooled: bool) -> None:
        self._target = target
        self._seconds = seconds
        self._pooled = pooled
        self.news: News = News(target)

    async def meet(self, fairy: PoolProxiedConnection, pool: Pool) -> Link:
        """The link of a connection that was checked out."""
        link: Link | None = fairy.info.get(_INFO_KEY)
        if link is not None:
            link.fairy = fairy
            return link
        driver: Any = fairy.driver_connection
        try:
            async with asyncio.timeout(self._seconds):
                await set_codecs(driver)
                row = await driver.fetchrow(_BACKEND)
        except BaseException:
            fairy.invalidate()
            raise
        backend = Backend(row["pid"], row["started"], row["wal_reset"])
        found = backend.pid != driver.get_server_pid()
        if found:
            self._notice_pooler()
        if found or self._pooled:
            backend = Backend(None, None, row["wal_reset"])
        link = Link(driver, fairy, pool, backend, self.news)
        fairy.info[_INFO_KEY] = link
        logger.debug("Connected to %s as server process %d.", self._target, row["pid"])
        return link

    def _notice_pooler(self) -> None:
        if not self.news.is_pooled and not self._pooled:
            logger.warning(
                "There is a pooler between here and %s, such as PgBouncer: set pgbouncer=True, or TIMBER_PGBOUNCER=true, or "
                "connect to the server itself.",
                self._target,
            )
        self.news.is_pooled = True
