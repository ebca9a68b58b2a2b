"""One PostgreSQL transaction on one pooled connection: begun with its first statement, ended with a known outcome."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from timber.context import remaining
from timber.database.adapter import AdapterTransaction
from timber.database.errors import FOREIGN, came_from_server, is_lost, translate
from timber.database.levels import Level, TransactionOptions
from timber.database.outcome import Check, Fetch, note_outcome, resolve_transaction
from timber.database.shield import Shield
from timber.database.statements import XID_COLUMN
from timber.errors import (
    CommitOutcomeUnknownError,
    Outcome,
    ServiceError,
    UnavailableError,
    UnitOfWorkClosedError,
    UnitOfWorkDoomedError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from sqlalchemy.orm import SessionTransaction

    from timber.database.connections import Link
    from timber.database.core import Core
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


class Transaction:
    """A transaction that takes its connection and sends BEGIN with its first statement."""

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
        self.writes = 0
        self.outcome: Outcome | None = None
        self.check_owner: Callable[[], None] = _no_owner
        self._xid: int | None = None
        self._may_have_written = False
        self._witness: Check | None = None

    # Statements

    async def fetch(self, statement: Statement, args: Sequence[object]) -> list[Any]:
        """Run a read."""
        link = await self.ready()
        try:
            return await self._core.fetch_on(link, statement, statement.sql, args)
        except BaseException as error:
            self.fail(error)

    async def write(
        self, statement: Statement, args: Sequence[object], check: Check | None
    ) -> list[Any]:
        """Run a write that returns rows; the transaction's id comes with the first."""
        link = await self.ready()
        self._may_have_written = True
        ask = self._xid is None and statement.returning
        sql = statement.sql_with_xid if ask else statement.sql
        try:
            rows = await self._core.fetch_on(link, statement, sql, args)
        except BaseException as error:
            self.fail(error)
        if rows:
            self.writes += 1
            if len(self.levels) == 1:  # what a savepoint wrote may yet be undone
                self._witness = self._witness or check
            if ask:
                self._xid = rows[0][XID_COLUMN]
        return rows

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
            translated = translate(error, self._core.target)
            if came_from_server(error):
                self.doom(translated)
            elif is_lost(error):
                self.lose(translated)
            return translated
        if isinstance(error, asyncio.CancelledError):
            # The statement may have run, or not, or be running still.
            self.doom(error)
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

    async def ready(self) -> Link:
        """The connection, with BEGIN and every SAVEPOINT sent.

        Raises:
            UnitOfWorkDoomedError: an earlier statement failed.
        """
        self._check_can_go_on()
        if self._pending:
            await self._send_pending()
        assert self.link is not None
        return self.link

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

    async def _send_pending(self) -> None:
        if self.link is None:
            self.link = await self._take_link()
        try:
            for level in self.levels:
                if not level.sent:
                    await self._send_begin(level)
                    level.sent = True
        except BaseException as error:
            self.fail(error)
        self._pending = False

    async def _take_link(self) -> Link:
        return await self._core.connections.acquire(independent=self.independent)

    async def _send_begin(self, level: Level) -> None:
        assert self.link is not None
        if level.name is None:
            self._put_on(self.link)
            await self.link.driver.execute(self._options.begin)
        else:
            await self.link.driver.execute(f"SAVEPOINT {level.name}")

    # Levels

    async def push(self) -> Level:
        """Open a savepoint; without an ORM session it is sent with its first statement."""
        level = Level(name=f"timber_{len(self.levels)}", had_session=self.session is not None)
        if self.session is not None:
            await self.ready()
            try:
                level.nested = await self.session.push_savepoint()
            except BaseException as error:
                self.fail(error)
            level.sent = True
        self.levels.append(level)
        self._pending = self._pending or not level.sent
        return level

    async def release(self, level: Level) -> None:
        """Keep what the savepoint did."""
        try:
            if level.nested is not None:
                assert self.session is not None
                await self.session.release_savepoint(level.nested)
            else:
                if self.session is not None:
                    await self.session.flush()
                if level.sent:
                    assert self.link is not None
                    await self.link.driver.execute(f"RELEASE SAVEPOINT {level.name}")
        except BaseException as error:
            self.failed(error)
            await self.undo(level)
            if isinstance(error, asyncio.CancelledError):
                self.doom(error)  # whether it was released is not known
            self.fail(error)
        self.levels.pop()
        parent = self.levels[-1]
        parent.on_commit += level.on_commit
        parent.on_rollback += level.on_rollback
        parent.changes += level.changes
        self._pending = not parent.sent

    async def undo(self, level: Level) -> None:
        """Roll back to the savepoint, also out of a failed or cancelled statement."""
        self.levels.pop()
        self._pending = not self.levels[-1].sent
        cancelled: asyncio.CancelledError | None = None
        if level.sent and self.link is not None:
            cancelled = await self._roll_back_to(level, self.link)
        else:
            await self._forget(level)
        await self._core.run_callbacks(level.on_rollback)
        if cancelled is not None:
            raise cancelled

    async def _roll_back_to(self, level: Level, link: Link) -> asyncio.CancelledError | None:
        shield = Shield(
            lambda: remaining(self._core.settings.rollback_timeout), link.driver.terminate
        )
        try:
            if level.nested is not None:
                assert self.session is not None
                await shield.run(self.session.undo_savepoint(level.nested))
            else:
                await shield.run(
                    link.driver.execute(
                        f"ROLLBACK TO SAVEPOINT {level.name}; RELEASE SAVEPOINT {level.name}"
                    )
                )
                await self._forget(level)
        except (*FOREIGN, ServiceError) as error:
            translated = translate(error, self._core.target)
            self.lose(translated)
        if link.driver.is_closed():
            self.lose(UnavailableError(f"The connection to {self._core.target} was lost."))
        return shield.cancelled

    async def _forget(self, level: Level) -> None:
        if self.session is not None and not level.had_session:
            await self.session.begin_anew()
            if self.link is not None:
                self._put_on(self.link)

    # The end

    async def commit(self) -> None:
        """Commit, and set the outcome.

        Raises:
            UnitOfWorkDoomedError: PostgreSQL rolled back instead; outcome ``rolled_back``.
            ServiceError: the server refused; outcome ``rolled_back``.
            UnavailableError: the connection was lost before the server had the COMMIT; outcome ``rolled_back``.
            CommitOutcomeUnknownError: it could not be found out.
            CancelledError: the task was cancelled meanwhile; the outcome is on it all the same.
        """
        await self._prepare_commit()
        link = self.link
        if link is None:
            self.outcome = "committed"
            return
        if link.driver.is_closed():
            # The server never gets the COMMIT, and rolls back when it notices.
            self.outcome = "rolled_back"
            self.give_back(link)
            raise UnavailableError(f"The connection to {self._core.target} was lost.")
        shield = Shield(
            lambda: remaining(self._core.settings.commit_timeout), link.driver.terminate
        )
        failure: ServiceError | None = None
        try:
            await shield.run(
                self._send_commit() if self.session is None else self.session.commit_through()
            )
            self.outcome = "committed"
            self.give_back(link)
        except (*FOREIGN, ServiceError) as error:
            failure = translate(error, self._core.target)
            lost = link.driver.is_closed() or is_lost(error)
            self.give_back(link)
            if not lost:
                self.outcome = "rolled_back"
            elif self._xid is None:
                self.outcome = "rolled_back"  # nothing was written
            elif shield.expired:
                self.outcome = "unknown"
            else:
                self.outcome = await self._resolve(link, shield)
        if shield.cancelled is not None:
            note_outcome(shield.cancelled, self.outcome)
            raise shield.cancelled from failure
        if self.outcome == "unknown":
            raise CommitOutcomeUnknownError from failure
        if self.outcome == "rolled_back" and failure is not None:
            raise failure

    async def rollback(self) -> None:
        """Roll back, and set the outcome; a connection that does not answer in time is thrown away, which does the same."""
        self.outcome = "rolled_back"
        link = self.link
        if link is None:
            return
        try:
            AdapterTransaction.take_off(link.adapter)
            await self._core.connections.settle(link, "ROLLBACK")
            if self.session is not None:
                await self.session.forget()
        finally:
            self.give_back(link)

    def give_back(self, link: Link) -> None:
        """Return the connection to the pool."""
        self.link = None
        AdapterTransaction.take_off(link.adapter)
        self._core.connections.release(link)

    async def _prepare_commit(self) -> None:
        """Everything before COMMIT that can fail like an ordinary statement."""
        if self.session is not None:
            await self.session.flush()
        # A statement that names no touched row may still have written: in a function, or in its WITH.
        may_have = self._may_have_written or self.session is not None
        if self.link is not None and self._xid is None and may_have:
            link = await self.ready()
            try:
                self._xid = await link.driver.fetchval("select pg_current_xact_id_if_assigned()")
            except BaseException as error:
                self.fail(error)

    async def _send_commit(self) -> None:
        assert self.link is not None
        tag = await self.link.driver.execute("COMMIT")
        if tag != "COMMIT":
            # PostgreSQL answers the COMMIT of a failed transaction with ROLLBACK, and the driver says nothing.
            raise UnitOfWorkDoomedError

    async def _send_rollback(self) -> None:
        """SQLAlchemy rolls back by itself when a flush fails: all that its session may have written, and no more."""
        assert self.link is not None
        level = self.levels[-1]
        if level.name is None or not level.sent:
            self.lose(UnitOfWorkDoomedError())
            await self.link.driver.execute("ROLLBACK")
        else:
            self.doom(UnitOfWorkDoomedError())
            await self.link.driver.execute(f"ROLLBACK TO SAVEPOINT {level.name}")

    def _put_on(self, link: Link) -> None:
        AdapterTransaction(self._send_commit, self._send_rollback).put_on(link.adapter)

    async def _resolve(self, lost: Link, shield: Shield) -> Outcome:
        assert self._xid is not None
        xid, witness = self._xid, self._witness

        async def ask(driver: Any, fetch: Fetch) -> Outcome:
            return await resolve_transaction(driver, xid, lost.backend, witness, fetch)

        outcome, cancelled = await self._core.ask_elsewhere(ask)
        shield.cancelled = shield.cancelled or cancelled
        return outcome or "unknown"


def _no_owner() -> None:
    pass
