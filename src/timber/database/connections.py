"""The way to a connection: a gate in front of SQLAlchemy's pool, and the pool called directly.

While an idle connection exists SQLAlchemy's pool hands it out and takes it back without a greenlet and without asking the
server, which costs less than the driver's own pool. Liveness at checkout is ours, since its pre-ping needs the greenlet.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.exc import MissingGreenlet
from sqlalchemy.pool import AsyncAdaptedQueuePool
from sqlalchemy.util import greenlet_spawn

from timber.context import GRACE, check_deadline, remaining
from timber.database.adapter import forget_statements
from timber.database.errors import FOREIGN, translate
from timber.database.gate import Gate
from timber.database.links import Introduction, Link
from timber.database.shield import Shield
from timber.database.waits import Waits
from timber.errors import ServiceError, UnavailableError, UsageError

if TYPE_CHECKING:
    import asyncpg
    from sqlalchemy.engine import Engine
    from sqlalchemy.ext.asyncio import AsyncConnection

    from timber.database.breaker import Breaker
    from timber.database.links import News
    from timber.settings import TimberSettings

logger: logging.Logger = logging.getLogger(__name__)

_LONG_ENOUGH: Final = 0.25
"""Seconds after which an attempt to connect that its caller gives up counts against the server. Callers with less time
than that say nothing about it: many of them at once must not make others be refused."""


class Connections:
    """Checks connections out of the pool and back in.

    Args:
        places: how many connections the pool has, None if it does not say.
        reserve: how many of them only independent units of work inside others may take, so that tasks that hold one and
            want a second cannot all wait for each other.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        target: str,
        settings: TimberSettings,
        breaker: Breaker,
        places: int | None,
        reserve: int,
    ) -> None:
        self._engine = engine
        self._is_queue = isinstance(engine.pool, AsyncAdaptedQueuePool)
        self._is_direct = self._is_queue and not engine.pool._pre_ping
        self._target = target
        self._timeout = settings.pool_timeout
        self._ping_after = settings.ping_after
        self._connect_timeout = settings.connect_timeout
        self._rollback_timeout = settings.rollback_timeout
        self._introduction = Introduction(
            target, seconds=settings.connect_timeout, pooled=settings.pgbouncer
        )
        self.news: News = self._introduction.news
        self.breaker = breaker
        self.waits: Waits = Waits()
        queue = settings.pool_queue
        self.main: Gate | None = None
        self.reserved: Gate | None = None
        if places is not None:
            self.main = Gate(places - reserve, queue=queue, waits=self.waits)
            self.reserved = Gate(reserve, queue=queue, waits=self.waits)
        self.has_reserve: bool = reserve > 0
        self._closing: set[asyncio.Task[None]] = set()
        self.checked_out: int = 0
        self._out: set[Link] = set()
        self.cut: bool = False
        """Whether everything was cut off; no connection is to be had any more."""

    async def acquire(self, *, independent: bool = False) -> Link:
        """Check a live connection out.

        Raises:
            PoolTimeoutError: none became free in time.
            UnavailableError: the server cannot be reached.
            UsageError: called in another event loop than the one in which the connection was made.
        """
        if self.cut:
            raise UnavailableError(f"The connection to {self._target} was closed here.")
        check_deadline()
        if self.breaker.is_open and not self._has_idle():
            self.breaker.refuse_if_open()
        gate = self.reserved if independent else self.main
        if gate is not None:
            await gate.enter(remaining(self._timeout, grace=GRACE))
        try:
            while True:
                link = await self._checkout()
                if await self._is_alive(link):
                    link.gate = gate
                    self.checked_out += 1
                    self._out.add(link)
                    if logger.isEnabledFor(logging.DEBUG):
                        logger.debug("Connection %s checked out.", link.backend.pid)
                    return link
                self._throw_away(link)
        except BaseException as error:
            if gate is not None:
                gate.leave()
            if isinstance(error, FOREIGN):
                raise translate(error, self._target) from error
            raise

    async def borrow(self, connection: AsyncConnection) -> Link:
        """The link of a connection that somebody else has checked out, and keeps."""
        fairy = await connection.get_raw_connection()
        return await self._introduction.meet(fairy, self._engine.pool)

    def release(self, link: Link) -> None:
        """Put a connection back; one that is closed or still in a transaction is thrown away instead."""
        driver = link.driver
        usable = link.fairy.is_valid and not (driver.is_closed() or driver.is_in_transaction())
        out_of_date = self._engine.pool is not link.pool or link.era != self.news.era
        if out_of_date or not usable:
            self.discard(link)
            return
        link.idle_since = time.monotonic()
        pool: Any = link.pool
        if self._is_queue and pool.checkedin() < pool.size():
            link.fairy.close()
        else:
            self._close_gently(link)
        self._leave(link)

    def discard(self, link: Link) -> None:
        """Throw a connection away at once, without a word to the server; the pool makes a new one when it needs it."""
        self._throw_away(link)
        self._leave(link)

    def cut_off(self) -> None:
        """Close every connection under whoever uses it, and hand out no more."""
        self.cut = True
        for link in self._out:
            link.driver.terminate()

    def take_out(self, link: Link) -> asyncpg.Connection:
        """The driver's connection for good: it no longer counts in the pool, and whoever takes it closes it."""
        link.fairy.detach()
        self._leave(link)
        return link.driver

    async def end(self, link: Link, message: str) -> None:
        """Settle a connection and put it back.

        Under a deadline this waits for a moment only. The rest happens by itself, and the connection keeps its place until
        then: a server that is slow to confirm costs neither its caller time nor the pool a connection.
        """
        limit = self._rollback_timeout
        if remaining(limit, grace=GRACE) >= limit:
            await self._end(link, message)
            return
        task = asyncio.get_running_loop().create_task(self._end(link, message), context=Context())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        shield = Shield(lambda: remaining(limit, grace=GRACE), _nothing)
        with suppress(TimeoutError):
            await shield.run(_wait(task))
        shield.reraise()

    async def _end(self, link: Link, message: str) -> None:
        try:
            await self.settle(link, message)
        finally:
            self.release(link)

    async def settle(self, link: Link, message: str) -> None:
        """End whatever the connection is in the middle of, a cancelled statement or a transaction, or else close it.

        A cancelled statement goes on until the server has taken notice; the driver waits for that before it sends
        ``message``: ROLLBACK, or nothing where there was no BEGIN.
        """
        shield = Shield(
            lambda: remaining(self._rollback_timeout, grace=GRACE), link.driver.terminate
        )
        try:
            await shield.run(link.driver.execute(message))
        except FOREIGN:
            # Lost or hanging: closing the connection rolls back just as well.
            link.driver.terminate()
            if shield.expired:
                self.breaker.failed()
        shield.reraise()

    async def close(self) -> None:
        """Wait for the connections that are being closed."""
        if self._closing:
            await asyncio.wait(self._closing)

    def _has_idle(self) -> bool:
        pool: Any = self._engine.pool
        return self._is_queue and bool(pool.checkedin())

    async def _checkout(self) -> Link:
        pool: Any = self._engine.pool  # another one after each dispose()
        if self._is_direct and pool.checkedin():
            with suppress(MissingGreenlet):  # it has to be connected anew
                return await self._introduction.meet(pool.connect(), pool)
        return await self._connect(pool)

    async def _connect(self, pool: Any) -> Link:
        """Check a connection out that may have to be made: what comes of it tells whether the server is there."""
        breaker = self.breaker
        breaker.admit()
        began = time.monotonic()
        try:
            link = await self._introduction.meet(await greenlet_spawn(pool.connect), pool)
        except BaseException as error:
            failure = translate(error, self._target) if isinstance(error, FOREIGN) else error
            if isinstance(failure, UnavailableError):
                breaker.failed()
            elif isinstance(failure, ServiceError):
                breaker.succeeded()  # it has answered, though with a refusal
            elif time.monotonic() - began > _LONG_ENOUGH:
                breaker.failed()
            else:
                breaker.given_up()
            raise
        breaker.succeeded()
        return link

    async def _is_alive(self, link: Link) -> bool:
        driver: Any = link.driver
        if driver._loop is not asyncio.get_running_loop():
            link.fairy.close()
            raise UsageError(
                "This Timber works in another event loop than this call. Start one for each loop, or have the call made in its "
                "loop, as by asyncio.run_coroutine_threadsafe()."
            )
        if link.driver.is_closed() or link.era != self.news.era:
            return False
        if link.schema != self.news.schema:
            link.schema = self.news.schema
            forget_statements(link.adapter)
            await link.driver.reload_schema_state()
        if time.monotonic() - link.idle_since < self._ping_after:
            return True
        try:
            async with asyncio.timeout(self._connect_timeout):
                await link.driver.execute("SELECT 1")
        except FOREIGN:
            return False
        except BaseException:
            self._throw_away(link)
            raise
        return True

    def _throw_away(self, link: Link) -> None:
        link.adapter._transaction = None
        if link.fairy.is_valid:
            link.fairy.invalidate()
        else:
            link.driver.terminate()

    def _close_gently(self, link: Link) -> None:
        """A connection above pool_size is closed on its way back, which must not hold up its user."""
        link.fairy.detach()
        task = asyncio.get_running_loop().create_task(_close(link.driver))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _leave(self, link: Link) -> None:
        self.checked_out -= 1
        self._out.discard(link)
        if link.gate is not None:
            link.gate.leave()


def _nothing() -> None:
    pass


async def _wait(task: asyncio.Task[None]) -> None:
    await asyncio.wait([task])


async def _close(driver: asyncpg.Connection) -> None:
    try:
        await driver.close(timeout=2)
    except FOREIGN:
        driver.terminate()
