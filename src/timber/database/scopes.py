"""Units of work as the layers above begin, join and repeat them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from timber.database.levels import PLAIN, Isolation, TransactionOptions
from timber.database.sessions import OwnSession
from timber.database.speaking import Speaker
from timber.database.transactional import Decorator, make_transactional
from timber.database.unit_of_work import UnitOfWork, current_unit_of_work
from timber.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

    from timber.database.moments import Moments
    from timber.settings import TimberSettings

T = TypeVar("T")
_NOTHING: Final = (None, False, False, None, None)


class Scopes(Speaker):
    """Makes units of work, and runs bodies in them."""

    engine: AsyncEngine
    settings: TimberSettings
    moments: Moments
    _target: str

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
        asked = (isolation, read_only, deferrable, statement_timeout, lock_timeout)
        options = PLAIN if asked == _NOTHING else TransactionOptions(*asked)
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
        safe: bool = False,
    ) -> T:
        """Run ``body`` in a unit of work, and again as a whole when it loses against another one or the connection fails.

        What is neither committed nor known to be rolled back is never repeated.

        Args:
            retry_locks: also when a lock was not to be had within ``lock_timeout``.
            safe: the body itself sees to it that it happens once, so that it is repeated after an unknown outcome too.
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

        attempts = self._core.attempts(locks=retry_locks, safe=safe)
        result: T = await attempts.run(attempt)
        return result

    def transactional(
        self,
        *,
        isolation: Isolation | None = None,
        statement_timeout: float | None = None,
        lock_timeout: float | None = None,
        retry_locks: bool = False,
    ) -> Decorator:
        """A decorator for a function that takes a unit of work first: :meth:`run` without the argument.

        Called inside a unit of work the function joins that one and is not repeated by itself; timeouts are those of the
        outer one, and another isolation than it was begun with is a ``UsageError``.
        """
        return make_transactional(
            lambda: self,
            isolation=isolation,
            statement_timeout=statement_timeout,
            lock_timeout=lock_timeout,
            retry_locks=retry_locks,
        )
