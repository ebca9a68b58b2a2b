"""Statements outside a unit of work: one message, no BEGIN."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from timber.context import GRACE, remaining
from timber.database.driver import Interruption, is_unreplicated
from timber.database.errors import FOREIGN, is_lost
from timber.database.outcome import Check, Fetch, Verdict, note_outcome, outcome_of, wait_until_gone
from timber.database.retry import is_repeatable
from timber.database.shield import Shield
from timber.errors import (
    CommitOutcomeUnknownError,
    Outcome,
    QueryTimeoutError,
    ServiceError,
    UnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from timber.database.core import Core
    from timber.database.links import Link
    from timber.database.statements import Statement


T = TypeVar("T")


class LoneStatements:
    """Runs single statements, each on a connection of its own."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._limit = core.local_settings.get("statement_timeout")

    async def fetch(self, statement: Statement, args: Sequence[object]) -> list[Any]:
        """Run a read; repeated if its connection is lost, or it lost against others."""
        if self._limit is not None:
            return await _within(self._limit, self._fetch(statement, args))
        return await self._fetch(statement, args)

    async def _fetch(self, statement: Statement, args: Sequence[object]) -> list[Any]:
        with self._core.door:
            try:
                return await self._read(statement, args)
            except ServiceError as error:
                if not is_repeatable(error):
                    raise
                rows: list[Any] = await self._core.attempts().run_again(
                    error, self._read, statement, args
                )
                return rows

    async def write(
        self, statement: Statement, args: Sequence[object], check: Check | None
    ) -> list[Any]:
        """Run a write that returns rows, as :meth:`finish` does."""

        def work(link: Link) -> Awaitable[list[Any]]:
            return self._core.fetch_on(link, statement, statement.sql, args)

        rows: list[Any] = await self.finish(work, check)
        return rows

    async def run(
        self, label: str, work: Callable[[Any], Awaitable[Any]], check: Check | None
    ) -> Any:
        """Run a write that returns no rows, as :meth:`finish` does."""
        return await self.finish(lambda link: self._core.run_on(link, label, work), check)

    async def finish(self, work: Callable[[Link], Awaitable[Any]], check: Check | None) -> Any:
        """Run a write to its end although the task is cancelled; repeated where it cannot happen twice.

        It cannot where the server said that it was rolled back, or where ``check`` found after a lost connection that it is
        not there.

        Raises:
            CommitOutcomeUnknownError: the connection was lost and what became of the write could not be found out.
            CancelledError: with the outcome on it.
        """
        if self._limit is not None:
            return await _within(self._limit, self._finish(work, check))
        return await self._finish(work, check)

    async def _finish(self, work: Callable[[Link], Awaitable[Any]], check: Check | None) -> Any:
        with self._core.door:
            try:
                return await self._write(work, check)
            except ServiceError as error:
                if error.outcome != "rolled_back" or not is_repeatable(error):
                    raise
                return await self._core.attempts().run_again(error, self._write, work, check)

    async def _read(self, statement: Statement, args: Sequence[object]) -> list[Any]:
        core = self._core
        link = await core.connections.acquire()
        try:
            rows = await core.fetch_on(link, statement, statement.sql, args)
        except FOREIGN as error:
            core.connections.release(link)
            raise _mark_lost(core.failed(error), link, error) from error
        except BaseException:
            await core.connections.end(link, "SELECT 1")
            raise
        core.connections.release(link)
        return rows

    async def _take_link(self) -> Link:
        try:
            return await self._core.connections.acquire()
        except BaseException as error:
            note_outcome(error, "rolled_back")  # nothing was sent
            raise

    async def _write(self, work: Callable[[Link], Awaitable[Any]], check: Check | None) -> Any:
        core = self._core
        link = await self._take_link()
        interruption = Interruption(link.driver)

        def seconds() -> float:
            interruption.begin()
            return remaining(core.settings.commit_timeout, grace=GRACE)

        shield = Shield(seconds, link.driver.terminate, patient=True)
        outcome: Outcome = "committed"
        failure: ServiceError | None = None
        result: Any = None
        lost = False
        try:
            result = await shield.run(_run(work, link, interruption))
            if is_unreplicated(link.driver):
                outcome, failure = "unknown", CommitOutcomeUnknownError.unreplicated()
        except FOREIGN as error:
            failure = _mark_lost(core.failed(error), link, error)
            lost = link.driver.is_closed() or is_lost(error)
            outcome = "unknown" if lost else "rolled_back"
        finally:
            core.connections.release(link)
        cancelled = shield.cancelled
        if lost and check is not None and not shield.expired:
            verdict, late = await core.ask_elsewhere(_look(link, check))
            cancelled = cancelled or late
            if verdict is not None:
                outcome, result = verdict
        if cancelled is not None:
            note_outcome(cancelled, outcome)
            raise cancelled from failure
        if outcome == "committed":
            return result
        if isinstance(failure, CommitOutcomeUnknownError):
            raise failure
        if outcome == "unknown":
            raise CommitOutcomeUnknownError from failure
        assert failure is not None
        failure.outcome = outcome
        raise failure


async def _within(seconds: float, statement: Awaitable[T]) -> T:
    """The statement timeout of a statement alone, where the server cannot be told of it."""
    try:
        async with asyncio.timeout(seconds):
            return await statement
    except TimeoutError as error:
        late = QueryTimeoutError()
        late.outcome = outcome_of(error)
        raise late from error


async def _run(
    work: Callable[[Link], Awaitable[Any]], link: Link, interruption: Interruption
) -> Any:
    try:
        return await work(link)
    finally:
        await interruption.end()


def _look(lost: Link, check: Check) -> Callable[[Any, Fetch], Awaitable[Verdict]]:
    async def look(driver: Any, fetch: Fetch) -> Verdict:
        gone = await wait_until_gone(driver, lost.backend)
        verdict = await check(fetch)
        # What is not there while nobody knows whether its process goes on may yet come.
        return verdict if gone or verdict[0] == "committed" else ("unknown", ())

    return look


def _mark_lost(failure: ServiceError, link: Link, error: BaseException) -> ServiceError:
    """Tell a connection lost under a statement from one that could not be had."""
    if isinstance(failure, UnavailableError):
        failure.connection_lost = link.driver.is_closed() or is_lost(error)
    return failure
