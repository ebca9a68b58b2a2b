"""What transactions and lone statements share: the connections, running a statement, asking about a lost one."""

from __future__ import annotations

import asyncio
import inspect
import logging
from contextvars import Context
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

from timber.context import GRACE, remaining, without_deadline
from timber.database.door import Door
from timber.database.errors import FOREIGN, translate
from timber.database.holding import BUSY, Holding
from timber.database.levels import local_settings
from timber.database.retry import Attempts, RetryBudget
from timber.database.shield import Shield
from timber.errors import PoolTimeoutError, ServiceError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from timber.database.connections import Connections
    from timber.database.links import Link
    from timber.database.moments import Moments
    from timber.database.monitoring import Monitor
    from timber.database.outcome import Fetch
    from timber.database.statements import Statement
    from timber.settings import TimberSettings

logger: logging.Logger = logging.getLogger(__name__)

T = TypeVar("T")
_RECONNECT_SECONDS = 0.1


class Core:
    """The inside of one :class:`AsyncDatabaseManager`."""

    def __init__(
        self,
        *,
        engine: AsyncEngine,
        settings: TimberSettings,
        target: str,
        connections: Connections,
        monitor: Monitor,
        moments: Moments,
    ) -> None:
        self.engine = engine
        self.settings = settings
        self.target = target
        self.connections = connections
        self.monitor = monitor
        self.moments = moments
        self.door: Door = Door(target)
        self.retry_budget: RetryBudget = RetryBudget(settings.retry_rate)
        self.holding: Holding = Holding(settings.held_seconds, target)
        self.local_settings: dict[str, float] = (
            local_settings(settings) if settings.pgbouncer else {}
        )
        """What each transaction sets for itself, where a connection cannot have settings of its own."""
        self._background: set[asyncio.Task[Any]] = set()

    async def fetch_on(
        self, link: Link, statement: Statement, sql: str, args: Sequence[object]
    ) -> list[Any]:
        """Run a statement that returns rows."""
        link.quiet_since = BUSY
        failure: BaseException | None = None
        started = perf_counter()
        try:
            return await link.driver.fetch(sql, *args)
        except BaseException as error:
            failure = error
            raise
        finally:
            link.quiet_since = ended = perf_counter()
            self.monitor.ran(statement.label, sql, ended - started, failure)

    async def run_on(self, link: Link, label: str, work: Callable[[Any], Awaitable[T]]) -> T:
        """Run a call of the driver, such as COPY."""
        link.quiet_since = BUSY
        failure: BaseException | None = None
        started = perf_counter()
        try:
            return await work(link.driver)
        except BaseException as error:
            failure = error
            raise
        finally:
            link.quiet_since = ended = perf_counter()
            self.monitor.ran(label, label, ended - started, failure)

    def attempts(self, *, locks: bool = False, safe: bool = False) -> Attempts:
        """How one piece of work is repeated; see :class:`Attempts`."""
        return Attempts(
            self.settings,
            self.retry_budget,
            counts=self.monitor.retries,
            locks=locks,
            safe=safe,
        )

    def failed(self, error: BaseException) -> ServiceError:
        """The error to raise for one of the layers below, of which the other connections are told as well."""
        failure = translate(error, self.target)
        self.connections.news.notice(failure)
        return failure

    async def ask_elsewhere(
        self, ask: Callable[[Any, Fetch], Awaitable[T]]
    ) -> tuple[T | None, asyncio.CancelledError | None]:
        """Ask on a healthy connection, however long the server takes to come back within ``resolve_timeout``.

        Returns:
            The answer, None when there was none in time; and a cancellation that arrived meanwhile.
        """
        task = asyncio.get_running_loop().create_task(self._ask(ask))
        shield = Shield(lambda: remaining(self.settings.resolve_timeout), task.cancel)
        try:
            answer = await shield.run(_result(task))
        except (TimeoutError, ServiceError) as error:
            logger.warning(
                "What became of a transaction was not found out: %s", type(error).__name__
            )
            return None, shield.cancelled
        return answer, shield.cancelled

    async def _ask(self, ask: Callable[[Any, Fetch], Awaitable[T]]) -> T:
        while True:
            try:
                # Not behind all those who wait for a server that comes back: they may take longer than there is time.
                link = await self.connections.acquire(independent=self.connections.has_reserve)
            except (UnavailableError, PoolTimeoutError):
                if self.connections.cut:
                    raise
                await asyncio.sleep(_RECONNECT_SECONDS)
                continue

            def fetch(statement: Statement, args: Sequence[object], link: Link = link) -> Any:
                return self.fetch_on(link, statement, statement.sql, args)

            try:
                return await ask(link.driver, fetch)
            except FOREIGN as error:
                translated = self.failed(error)
                if not isinstance(translated, UnavailableError):
                    raise translated from error
                await asyncio.sleep(_RECONNECT_SECONDS)
            except BaseException:
                link.driver.terminate()
                raise
            finally:
                self.connections.release(link)

    async def call_hooks(
        self, hooks: Iterable[Callable[[Any], Any]], unit: object
    ) -> asyncio.CancelledError | None:
        """Call hooks with a unit of work that has ended, in its own task; an error in one is logged.

        Most have nothing to do, and what a hook waits for has to bear being cut off: a cancellation that arrived is given
        back when all have been called.
        """
        cancelled: asyncio.CancelledError | None = None
        for hook in hooks:
            try:
                found = hook(unit)
                if found is not None and inspect.isawaitable(found):
                    await found
            except asyncio.CancelledError as error:
                cancelled = error
            except Exception:
                logger.exception("A hook at the end of a unit of work failed.")
        return cancelled

    async def run_callbacks(self, callbacks: Iterable[Callable[[], Any]]) -> None:
        """Await callbacks in order, to the end even if this task is cancelled; an error in one is logged.

        They run in a task of their own: a cancellation that arrives must not cut off the rest.
        """
        callbacks = list(callbacks)
        if not callbacks:
            return
        task = asyncio.get_running_loop().create_task(
            _run_each(callbacks), context=without_deadline()
        )
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        limit = self.settings.commit_timeout
        shield = Shield(lambda: remaining(limit, grace=GRACE), _nothing, patient=True)
        try:
            await shield.run(_result(task))
        except TimeoutError:
            logger.warning("Callbacks go on in the background after their task was cancelled.")
        shield.reraise()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside the work of whoever is here, without its deadline and its unit of work."""
        task = asyncio.get_running_loop().create_task(work, context=Context())
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def drain(self) -> None:
        """Wait for callbacks that go on in the background."""
        while self._background:
            await asyncio.wait(self._background)


async def _result(task: asyncio.Task[T]) -> T:
    return await task


async def _run_each(callbacks: Iterable[Callable[[], Any]]) -> None:
    for callback in callbacks:
        try:
            result = callback()
            if inspect.isawaitable(result):
                await result
        except Exception:
            # The transaction has ended: an error here can neither undo nor hide that.
            logger.exception("A callback after the end of a unit of work failed.")


def _nothing() -> None:
    pass
