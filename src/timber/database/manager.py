"""The database manager: one engine, and everything that is done with it."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from timber.context import deadline
from timber.database.connections import Connections
from timber.database.core import Core
from timber.database.door import Door
from timber.database.engine import listen, make_engine
from timber.database.errors import FOREIGN, translate
from timber.database.levels import Isolation, TransactionOptions
from timber.database.listen import Listener
from timber.database.lone import LoneStatements
from timber.database.moments import Moments
from timber.database.monitoring import Monitor, Plan, PoolStatus, pool_status
from timber.database.retry import retrying
from timber.database.schema_lock import schema_transaction
from timber.database.sessions import OwnSession
from timber.database.statements import Statement, compile_statement
from timber.database.streams import stream_alone, stream_inside
from timber.database.unit_of_work import UnitOfWork, current_unit_of_work
from timber.database.urls import name_of, parse_url
from timber.errors import ServiceError, UsageError, ValidationError
from timber.settings import TimberSettings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from sqlalchemy import Executable, MetaData
    from sqlalchemy.engine import Dialect
    from sqlalchemy.ext.asyncio import AsyncConnection

    from timber.database.outcome import Check

logger = logging.getLogger(__name__)

T = TypeVar("T")


class AsyncDatabaseManager:
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
        self.settings = settings = settings or TimberSettings()
        self.clock = clock or _now
        self.metadata = metadata
        self._owns_engine = engine is None
        if engine is None:
            parsed = parse_url(url or settings.database_url)
            self._target = name_of(parsed)
            engine = make_engine(parsed, settings)
        else:
            self._target = name_of(engine.url)
            engine = engine.execution_options(timber=True)
        self.engine = engine
        capacity = self._capacity()
        reserve = max(1, capacity // 10) if capacity is not None and capacity > 1 else 0
        self.moments = Moments()
        self.monitor = Monitor(slow_seconds=settings.slow_query_seconds, echo=settings.echo)
        self._core = Core(
            engine=engine,
            settings=settings,
            target=self._target,
            connections=Connections(
                engine.sync_engine,
                target=self._target,
                timeout=settings.pool_timeout,
                ping_after=settings.ping_after,
                connect_timeout=settings.connect_timeout,
                rollback_timeout=settings.rollback_timeout,
                places=capacity,
                reserve=reserve,
            ),
            monitor=self.monitor,
            moments=self.moments,
        )
        self._lone = LoneStatements(self._core)
        self.listener = Listener(self._core, self._lone)
        listen(
            engine.sync_engine,
            target=self._target,
            moments=self.moments,
            monitor=self.monitor,
            owned=self._owns_engine,
        )

    @property
    def target(self) -> str:
        """``database on host:port``, as errors name it."""
        return self._target

    @property
    def dialect(self) -> Dialect:
        """What Core statements are compiled for."""
        return self.engine.sync_engine.dialect

    @property
    def door(self) -> Door:
        """Who is working with the database."""
        return self._core.door

    # Units of work

    def unit_of_work(
        self,
        *,
        isolation: Isolation | None = None,
        read_only: bool = False,
        deferrable: bool = False,
        statement_timeout: float | None = None,
        lock_timeout: float | None = None,
        independent: bool = False,
        connection: AsyncConnection | None = None,
    ) -> UnitOfWork:
        """A transaction to be entered with ``async with``; nothing happens before.

        Args:
            isolation: ``read committed``, ``repeatable read`` or ``serializable``.
            statement_timeout: seconds for each statement.
            lock_timeout: seconds to wait for each lock.
            independent: a transaction of its own although another one is open around it.
            connection: an existing connection to work on.
        """
        options = TransactionOptions(
            isolation, read_only, deferrable, statement_timeout, lock_timeout
        )
        return UnitOfWork(self._core, options, independent=independent, connection=connection)

    def current(self) -> UnitOfWork | None:
        """The unit of work that a call made here joins, or None.

        Raises:
            UnitOfWorkSharedError: it belongs to another task.
        """
        return current_unit_of_work(self._core)

    @asynccontextmanager
    async def join_or_begin(self) -> AsyncGenerator[UnitOfWork]:
        """The current unit of work, without a savepoint, or a new one.

        An exception that leaves the block after a write dooms a joined one: half of the block's work is in it.
        """
        unit = self.current()
        if unit is None:
            async with self.unit_of_work() as unit:
                yield unit
            return
        before = unit.writes
        try:
            yield unit
        except BaseException as error:
            if unit.is_open and unit.writes != before:
                unit.doom(error)
            raise

    @asynccontextmanager
    async def session_scope(self, **options: Any) -> AsyncGenerator[AsyncSession]:
        """A unit of work that gives its ORM session; service calls inside join it."""
        async with self.unit_of_work(**options) as unit:
            yield unit.session

    def get_session(self) -> AsyncSession:
        """An ORM session of its own, for code that begins and commits by itself; `async with` closes it."""
        session = OwnSession(self.engine, self._target)
        for made in self.moments.session_made:
            made(session)
        return session

    async def run(
        self,
        body: Callable[[UnitOfWork], Awaitable[T]],
        *,
        isolation: Isolation | None = None,
        statement_timeout: float | None = None,
        lock_timeout: float | None = None,
        retry_locks: bool = False,
    ) -> T:
        """Run ``body`` in a unit of work, and again as a whole when it loses against another one or the connection fails.

        What is neither committed nor known to be rolled back is never repeated.

        Args:
            retry_locks: also when a lock was not to be had within ``lock_timeout``.
        """
        if self.current() is not None:
            raise UsageError(
                "run() inside a unit of work cannot repeat what was done before it: call run() around the whole, or join "
                "the unit of work that is there."
            )

        async def attempt() -> T:
            async with self.unit_of_work(
                isolation=isolation, statement_timeout=statement_timeout, lock_timeout=lock_timeout
            ) as unit:
                return await body(unit)

        return await retrying(self.settings, locks=retry_locks)(attempt)

    # Statements, in the current unit of work or alone

    async def fetch(self, statement: Statement, args: Sequence[object] = ()) -> list[Any]:
        """The rows of a read."""
        unit = current_unit_of_work(self._core)
        if unit is None:
            return await self._lone.fetch(statement, args)
        return await unit.transaction.fetch(statement, args)

    async def write(
        self, statement: Statement, args: Sequence[object] = (), *, check: Check | None = None
    ) -> list[Any]:
        """The rows that a write returns.

        Args:
            check: looks whether the write is there, if it is a lone one whose connection was lost.
        """
        unit = current_unit_of_work(self._core)
        if unit is None:
            return await self._lone.write(statement, args, check)
        return await unit.transaction.write(statement, args, check)

    async def execute(
        self, statement: Statement, args: Sequence[object] = (), *, check: Check | None = None
    ) -> int:
        """The number of rows that a write has touched."""

        async def work(driver: Any) -> int:
            # The public execute() gives the command's tag: "UPDATE 3".
            tag: str = await driver.execute(statement.sql, *args)
            return int(tag.rpartition(" ")[2]) if tag[-1:].isdigit() else 0

        return await self._run(statement.label, work, check)

    async def copy(
        self,
        table: str,
        columns: Sequence[str],
        records: Sequence[Sequence[object]],
        *,
        check: Check | None = None,
    ) -> int:
        """Insert rows by COPY; the number of rows."""

        async def work(driver: Any) -> int:
            tag = ""
            try:
                tag = await driver.copy_records_to_table(
                    table, records=records, columns=list(columns)
                )
            except FOREIGN:
                raise
            except (AttributeError, TypeError, ValueError, OverflowError):
                pass  # of the driver's encoders; raised from here it would show the value
            if not tag:
                raise ValidationError("A value does not fit its column.")
            return int(tag.rpartition(" ")[2])

        try:
            return await self._run(f"copy {table}", work, check)
        except ValidationError as error:
            unit = self.current()
            if unit is not None:
                unit.doom(error)  # the server has been told that the COPY failed
            raise

    async def _run(
        self, label: str, work: Callable[[Any], Awaitable[int]], check: Check | None
    ) -> int:
        unit = current_unit_of_work(self._core)
        if unit is None:
            result: int = await self._lone.run(label, work, check)
        else:
            result = await unit.transaction.run(label, work)
        return result

    def cursor(
        self, statement: Statement, args: Sequence[object] = (), *, batch: int = 1000
    ) -> AbstractAsyncContextManager[AsyncIterator[list[Any]]]:
        """Batches of the rows of a read, by a cursor on the server; outside a unit of work on a connection of its own."""
        unit = current_unit_of_work(self._core)
        if unit is None:
            return stream_alone(self._core, statement, args, batch)
        return stream_inside(unit.transaction, statement, args, batch)

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
        await self.dispose()
        return left

    async def dispose(self) -> None:
        """Close every connection; an engine that was given stays its owner's."""
        await self.listener.close()
        await self._core.drain()
        if self._owns_engine:
            await self.engine.dispose()
        await self._core.connections.close()

    # Inside

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
