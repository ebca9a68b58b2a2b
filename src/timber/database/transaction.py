"""One PostgreSQL transaction on one pooled connection: its savepoints, and its end with a known outcome."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from timber.context import GRACE, check_deadline, remaining
from timber.database.adapter import AdapterTransaction
from timber.database.conversation import Conversation
from timber.database.errors import FOREIGN, is_lost, translate
from timber.database.levels import Level
from timber.database.outcome import Fetch, note_outcome, resolve_transaction
from timber.database.shield import Shield
from timber.errors import (
    CommitOutcomeUnknownError,
    Outcome,
    ServiceError,
    UnavailableError,
)

if TYPE_CHECKING:
    from timber.database.links import Link


class Transaction(Conversation):
    """A transaction whose parts can be undone, and that always ends with an outcome."""

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
        self.levels[-1].take(level)
        self._pending = not self.levels[-1].sent

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
        limit = self._core.settings.rollback_timeout
        shield = Shield(lambda: remaining(limit, grace=GRACE), link.driver.terminate)
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
        self._core.holding.end(self)
        limit = self._core.settings.commit_timeout
        sent = asyncio.get_running_loop().time()
        shield = Shield(lambda: remaining(limit, grace=GRACE), link.driver.terminate)
        failure: ServiceError | None = None
        try:
            await shield.run(
                self._send_commit() if self.session is None else self.session.commit_through()
            )
            self.outcome = "committed"
            self.give_back(link)
        except (*FOREIGN, ServiceError) as error:
            failure = self._core.failed(error)
            lost = link.driver.is_closed() or is_lost(error)
            await self._give_back_failed(link, lost=lost)
            if not lost:
                self.outcome = "rolled_back"
            elif self._xid is None:
                self.outcome = "rolled_back"  # nothing was written
            elif shield.expired:
                self.outcome = "unknown"
            else:
                self.outcome = await self._resolve(link, shield, sent)
        if shield.cancelled is not None:
            note_outcome(shield.cancelled, self.outcome)
            raise shield.cancelled from failure
        if self.outcome == "unknown":
            raise CommitOutcomeUnknownError from failure
        if self.outcome == "rolled_back" and failure is not None:
            raise failure

    async def _give_back_failed(self, link: Link, *, lost: bool) -> None:
        if not lost and link.driver.is_in_transaction():
            # What went before COMMIT in its message has failed, and COMMIT was not looked at.
            await self._core.connections.settle(link, "ROLLBACK")
        self.give_back(link)

    async def rollback(self) -> None:
        """Roll back, and set the outcome; a connection that does not answer in time is thrown away, which does the same."""
        self.outcome: Outcome | None = "rolled_back"
        link = self.link
        if link is None:
            return
        self._core.holding.end(self)
        AdapterTransaction.take_off(link.adapter)
        try:
            if self.session is not None:
                await self.session.forget()
        finally:
            self.link = None
            await self._roll_back(link)

    async def _roll_back(self, link: Link) -> None:
        await self._core.connections.end(link, "ROLLBACK")

    def give_back(self, link: Link) -> None:
        """Return the connection to the pool."""
        self.link: Link | None = None
        AdapterTransaction.take_off(link.adapter)
        self._core.connections.release(link)

    async def _prepare_commit(self) -> None:
        """Everything before COMMIT that can fail like an ordinary statement."""
        check_deadline()
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

    async def _resolve(self, lost: Link, shield: Shield, sent: float) -> Outcome:
        assert self._xid is not None
        xid, witness = self._xid, self._witness

        async def ask(driver: Any, fetch: Fetch) -> Outcome:
            return await resolve_transaction(driver, xid, lost.backend, witness, fetch, sent=sent)

        outcome, cancelled = await self._core.ask_elsewhere(ask)
        shield.cancelled = shield.cancelled or cancelled
        return outcome or "unknown"
