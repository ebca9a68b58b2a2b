"""The database manager: one engine, and everything that is done with it."""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine

from timber.context import deadline
from timber.database.breaker import Breaker
from timber.database.connections import Connections
from timber.database.core import Core
from timber.database.door import Door
from timber.database.engine import listen, make_engine
from timber.database.errors import FOREIGN, translate
from timber.database.holding import Holding
from timber.database.listen import Listener
from timber.database.lone import LoneStatements
from timber.database.moments import Moments
from timber.database.monitoring import Monitor, Plan, PoolStatus, pool_status
from timber.database.schema_lock import schema_transaction
from timber.database.scopes import Scopes
from timber.database.slow import SlowPlans
from timber.database.statements import Statement, compile_statement
from timber.database.urls import name_of, parse_url
from timber.database.waits import Waits
from timber.errors import ServiceError, UsageError
from timber.settings import TimberSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Executable, MetaData
    from sqlalchemy.engine import Dialect

logger: logging.Logger = logging.getLogger(__name__)


class AsyncDatabaseManager(Scopes):
    """Owns one engine and its pool, and runs statements, units of work and transactions on it.

    Args:
        url: ``postgresql://user:password@host:port/name``, instead of ``settings.database_url``.
        settings: a :class:`TimberSettings`.
        engine: an existing engine, used as it is; its pool is its owner's to dispose of.
        clock: gives the current time, aware.
        metadata: the tables that ``create_all_tables`` makes when it is given no base.

    Raises:
        ConfigurationError: the URL is missing or not one of PostgreSQL.
    """

    def __init__(
        self,
        url: str | URL | None = None,
        *,
        settings: TimberSettings | None = None,
        engine: AsyncEngine | None = None,
        clock: Callable[[], datetime] | None = None,
        metadata: MetaData | None = None,
    ) -> None:
        settings = settings or TimberSettings()
        self.settings: TimberSettings = settings
        self.clock: Callable[[], datetime] = clock or _now
        self.metadata = metadata
        self._owns_engine = engine is None
        if engine is None:
            parsed = parse_url(url or settings.database_url)
            self._target = name_of(parsed)
            engine = self._make_engine(parsed)
        else:
            self._target = name_of(engine.url)
            engine = engine.execution_options(timber=True)
        self.engine = engine
        capacity = self._capacity()
        reserve = max(1, capacity // 10) if capacity is not None and capacity > 1 else 0
        self.moments: Moments = Moments()
        self.monitor: Monitor = Monitor(
            slow_seconds=settings.slow_query_seconds, echo=settings.echo
        )
        self._core = Core(
            engine=engine,
            settings=settings,
            target=self._target,
            connections=Connections(
                engine.sync_engine,
                target=self._target,
                settings=settings,
                breaker=Breaker(
                    self._target,
                    failures=settings.breaker_failures,
                    wait=settings.breaker_wait,
                    wait_max=settings.breaker_wait_max,
                ),
                places=capacity,
                reserve=reserve,
            ),
            monitor=self.monitor,
            moments=self.moments,
        )
        if settings.slow_query_plan:
            self.monitor.slow = SlowPlans(self._core).note
        self._lone = LoneStatements(self._core)
        self.listener: Listener = Listener(self._core, self._lone)
        listen(engine.sync_engine, core=self._core, owned=self._owns_engine)

    @property
    def target(self) -> str:
        """``database on host:port``, as errors name it."""
        return self._target

    @property
    def dialect(self) -> Dialect:
        """What Core statements are compiled for."""
        return self.engine.sync_engine.dialect

    @property
    def pool_waits(self) -> Waits:
        """How long callers have waited for a connection."""
        return self._core.connections.waits

    @property
    def breaker(self) -> Breaker:
        """Whether the server is down, as far as is known here."""
        return self._core.connections.breaker

    @property
    def is_pooled(self) -> bool:
        """Whether a pooler such as PgBouncer was found on the way to the server."""
        return self._core.connections.news.is_pooled

    @property
    def holding(self) -> Holding:
        """Which units of work hold a connection while they wait for something else."""
        return self._core.holding

    @property
    def door(self) -> Door:
        """Who is working with the database."""
        return self._core.door

    # Tables, health and plans

    async def create_all_tables(self, base: Any = None) -> None:
        """Create the tables of ``base`` (a declarative base or MetaData; by default all models) that do not exist yet.

        Several processes may do so at once: one creates them while the others wait.
        """
        await self._with_metadata(base, "create_all")

    async def drop_all_tables(self, base: Any = None) -> None:
        """Drop the tables of ``base``."""
        await self._with_metadata(base, "drop_all")

    async def _with_metadata(self, base: Any, action: str) -> None:
        metadata = getattr(base, "metadata", base) if base is not None else self.metadata
        if metadata is None:
            raise UsageError("Which tables? Pass a declarative base or a MetaData.")
        try:
            async with schema_transaction(self.engine, target=self._target) as connection:
                await connection.run_sync(getattr(metadata, action))
        except FOREIGN as error:
            raise translate(error, self._target) from error

    async def ping(self) -> None:
        """Ask the server for an answer.

        Raises:
            ServiceError: why there is none.
        """
        await self._lone.fetch(_PING, ())

    async def health_check(self) -> bool:
        """Whether the server answers within the connect timeout."""
        try:
            async with deadline(self.settings.connect_timeout):
                await self.ping()
        except ServiceError as error:
            logger.warning("Health check of %s failed: %s", self._target, type(error).__name__)
            return False
        return True

    def get_pool_status(self) -> PoolStatus:
        """How many connections the pool has, and where they are."""
        return pool_status(
            self.engine.sync_engine.pool, self.settings, self._core.connections.checked_out
        )

    async def explain(self, statement: Executable, *, analyze: bool = False) -> Plan:
        """The plan of a Core statement.

        Args:
            analyze: run it, for real times and row counts; what it wrote is rolled back.
        """
        compiled = compile_statement(statement, self.dialect, label="explain", expand=True)
        words = "ANALYZE, FORMAT JSON" if analyze else "FORMAT JSON"
        wrapped = Statement(f"EXPLAIN ({words}) {compiled.sql}", label="explain")
        args = compiled.bind({})
        rows = await (self._fetch_undone if analyze else self.fetch)(wrapped, args)
        return Plan.parse(rows[0][0])

    async def _fetch_undone(self, statement: Statement, args: Sequence[object]) -> list[Any]:
        rows: list[Any] = []
        with suppress(_Undo):
            async with self.unit_of_work():
                rows = await self.fetch(statement, args)
                raise _Undo
        return rows

    async def close(self, drain: float = 0.0) -> int:
        """Let no new work in, wait up to ``drain`` seconds for what is going on, cut off the rest, and close every
        connection; how many statements, units of work and service calls were cut off.

        Raises:
            UsageError: called inside a unit of work or a service call.
        """
        left = await self._core.door.shut(drain)
        if left:
            logger.warning(
                "Closing %s cut off %d that went on after %g s.", self._target, left, drain
            )
            self._core.connections.cut_off()
        try:
            await self.dispose()
        finally:
            for callback in self.moments.closed:
                callback()
        return left

    async def dispose(self) -> None:
        """Close every connection; an engine that was given stays its owner's."""
        await self.listener.close()
        await self._core.drain()
        if self._owns_engine:
            await self.engine.dispose()
        await self._core.connections.close()

    # Inside

    def _make_engine(self, url: URL) -> AsyncEngine:
        return make_engine(url, self.settings)

    def _capacity(self) -> int | None:
        if self._owns_engine:
            return self.settings.pool_size + self.settings.max_overflow
        pool: Any = self.engine.sync_engine.pool
        size, overflow = getattr(pool, "size", None), getattr(pool, "_max_overflow", None)
        return (
            size() + overflow
            if size is not None and overflow is not None and overflow >= 0
            else None
        )


class _Undo(Exception):  # noqa: N818  # a signal, not an error: it rolls back what EXPLAIN ANALYZE wrote
    pass


def _now() -> datetime:
    return datetime.now(UTC)


_PING = Statement("SELECT 1", label="ping")
