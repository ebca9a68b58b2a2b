"""The statements of one transaction on one pooled connection: begun with the first, and refused after a failure."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from timber.context import GRACE, check_deadline, remaining
from timber.database.adapter import AdapterTransaction
from timber.database.driver import say_before
from timber.database.errors import FOREIGN, came_from_server, is_lost, is_refused, scrub, state_of
from timber.database.holding import BUSY
from timber.database.levels import Isolation, Level, TransactionOptions
from timber.database.shield import Shield
from timber.database.statements import XID_COLUMN
from timber.errors import Outcome, UnitOfWorkClosedError, UnitOfWorkDoomedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from sqlalchemy.orm import SessionTransaction

    from timber.database.core import Core
    from timber.database.links import Link
    from timber.database.outcome import Check
    from timber.database.statements import Statement


class OrmSession(Protocol):
    """What a transaction asks of the ORM session that works in it."""

    async def push_savepoint(self) -> SessionTransaction: ...
    async def release_savepoint(self, nested: SessionTransaction) -> None: ...
    async def undo_savepoint(self, nested: SessionTransaction) -> None: ...
    async def flush(self) -> None: ...
    async def commit_through(self) -> None: ...
    async def forget(self) -> None: ...
    async def begin_anew(self) -> None: ...


class Conversation:
    """What one transaction says on its connection, which it takes and sends BEGIN on with its first statement."""

    def __init__(
        self, core: Core, options: TransactionOptions, *, independent: bool = False
    ) -> None:
        self._core = core
        self._options = options
        self.independent = independent
        self.link: Link | None = None
        self.levels: list[Level] = [Level()]
        self._pending = True
        self.session: OrmSession | None = None
        self.writes: int = 0
        self.outcome: Outcome | None = None
        self.check_owner: Callable[[], None] = _no_owner
        self.find_owner: Callable[[], asyncio.Task[Any] | None] = _no_owner
        self._xid: int | None = None
        self._may_have_written = False
        self._witness: Check | None = None
        self.last_words = ""
        """SQL without parameters, with its semicolon, that goes in one message with COMMIT."""

    # Statements

    async def fetch(self, statement: Statement, args: Sequence[object]) -> list[Any]:
        """Run a read."""
        return await self._ask(statement, statement.sql, args)

    async def write(
        self, statement: Statement, args: Sequence[object], check: Check | None
    ) -> list[Any]:
        """Run a write that returns rows; the transaction's id comes with the first."""
        ask = self._xid is None and statement.returning
        sql = statement.sql_with_xid if ask else statement.sql
        self._may_have_written = True
        rows = await self._ask(statement, sql, args)
        if rows:
            self.writes += 1
            if len(self.levels) == 1:  # what a savepoint wrote may yet be undone
                self._witness = self._witness or check
            if ask:
                self._xid = rows[0][XID_COLUMN]
        return rows

    async def _ask(self, statement: Statement, sql: str, args: Sequence[object]) -> list[Any]:
        is_first = self._pending
        link = await self.ready(sql)
        try:
            try:
                return await self._core.fetch_on(link, statement, sql, args)
            except Exception as error:
                if is_first and is_refused(error):
                    # BEGIN is on its way, and nobody asks what became of it. Should the server refuse it, it would leave a
                    # simple query such as ROLLBACK without an answer: this is none, and takes no snapshot.
                    await link.driver.fetch("")
                raise
        except BaseException as error:
            self.fail(error)

    async def run(self, label: str, work: Callable[[Any], Awaitable[int]]) -> int:
        """Run a write that returns no rows, as ``work(driver)``; the number of rows it touched."""
        link = await self.ready()
        self._may_have_written = True
        try:
            affected = await self._core.run_on(link, label, work)
        except BaseException as error:
            self.fail(error)
        # A statement that touched no row has written nothing.
        self.writes += affected > 0
        return affected

    def failed(self, error: BaseException) -> BaseException:
        """Doom what an error of a statement has made unusable, and give the error to raise."""
        if isinstance(error, FOREIGN):
            translated = self._core.failed(self._explained(error))
            if came_from_server(error):
                self.doom(translated)
            elif is_lost(error):
                self.lose(translated)
            return translated
        if isinstance(error, asyncio.CancelledError):
            # The statement may have run, or not, or be running still.
            self.doom(error)
        return error

    def _explained(self, error: BaseException) -> BaseException:
        """A write in a transaction that was to read only is its author's error, and says nothing about the server."""
        if self._options.read_only and state_of(error) == "25006":
            scrub(error)
            refused = UsageError("This unit of work is read_only, and a statement in it writes.")
            refused.__cause__ = error
            return refused
        return error

    def fail(self, error: BaseException) -> NoReturn:
        """Raise what :meth:`failed` makes of an error."""
        failed = self.failed(error)
        if failed is error:
            raise error
        raise failed from error

    def doom(self, error: BaseException) -> None:
        """From now on the innermost level can only be rolled back."""
        level = self.levels[-1]
        if level.doom is None:
            level.doom = error

    def lose(self, error: BaseException) -> None:
        """The connection is gone, and every level with it."""
        for level in self.levels:
            level.doom = level.doom or error

    async def ready(self, sql: str | None = None) -> Link:
        """The connection, with BEGIN and every SAVEPOINT sent.

        Args:
            sql: what is fetched next, if that is known: they may then be answered with it.

        Raises:
            UnitOfWorkDoomedError: an earlier statement failed.
        """
        self._check_can_go_on()
        check_deadline()
        if self._pending:
            await self._send_pending(sql)
        assert self.link is not None
        return self.link

    @property
    def isolation(self) -> Isolation | None:
        """What it was begun with, None if that was left to the connection's settings."""
        return self._options.isolation

    @property
    def owner(self) -> asyncio.Task[Any] | None:
        """The task that this is the transaction of."""
        return self.find_owner()

    def check_usable(self) -> None:
        """Refuse a session's call that comes from another task, too late, or after a failure."""
        self.check_owner()
        self._check_can_go_on()

    def _check_can_go_on(self) -> None:
        if self.outcome is not None:
            raise UnitOfWorkClosedError
        doom = self.levels[-1].doom
        if doom is not None:
            raise UnitOfWorkDoomedError from doom

    async def _send_pending(self, sql: str | None) -> None:
        for level in self.levels:
            if level.doom is not None:
                # A savepoint that the server refuses could not be rolled back to, which would lose the levels around it too.
                raise UnitOfWorkDoomedError from level.doom
        if self.link is None:
            self.link = await self._take_link()
        self.link.quiet_since = BUSY
        try:
            for level in self.levels:
                if not level.sent:
                    await self._send_begin(level, sql)
                    level.sent = True
        except BaseException as error:
            self.fail(error)
        finally:
            self.link.quiet_since = perf_counter()
        self._pending = False

    async def _take_link(self) -> Link:
        return await self._core.connections.acquire(independent=self.independent)

    async def _send_begin(self, level: Level, sql: str | None) -> None:
        assert self.link is not None
        core, driver = self._core, self.link.driver
        if level.name is None:
            self._put_on(self.link)
            message = self._options.begin(core.settings.statement_timeout, core.local_settings)
        else:
            message = f"SAVEPOINT {level.name}"
        if sql is None or not say_before(driver, message, sql):
            await driver.execute(message)
        if level.name is None:
            core.holding.begin(self)

    async def _send_commit(self) -> None:
        assert self.link is not None
        tag = await self.link.driver.execute(f"{self.last_words}COMMIT")
        if tag != "COMMIT":
            # PostgreSQL answers the COMMIT of a failed transaction with ROLLBACK, and the driver says nothing.
            raise UnitOfWorkDoomedError

    async def _send_rollback(self) -> None:
        """SQLAlchemy rolls back by itself when a flush fails: all that its session may have written, and no more."""
        assert self.link is not None
        level = self.levels[-1]
        if level.name is None or not level.sent:
            self.lose(UnitOfWorkDoomedError())
            message = "ROLLBACK"
        else:
            self.doom(UnitOfWorkDoomedError())
            message = f"ROLLBACK TO SAVEPOINT {level.name}"
        driver = self.link.driver
        limit = self._core.settings.rollback_timeout
        shield = Shield(lambda: remaining(limit, grace=GRACE), driver.terminate)
        try:
            await shield.run(driver.execute(message))
        except FOREIGN:
            driver.terminate()  # which rolls back as well, and must not hide why it is rolled back
        shield.reraise()

    def _put_on(self, link: Link) -> None:
        AdapterTransaction(self._send_commit, self._send_rollback).put_on(link.adapter)


def _no_owner() -> None:
    pass
