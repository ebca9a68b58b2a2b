"""One transaction over any number of service calls, owned by one task."""

from __future__ import annotations

import asyncio
import inspect
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Self

import asyncpg
from sqlalchemy.exc import SQLAlchemyError

from timber.database.errors import translate
from timber.database.joined import JoinedTransaction
from timber.database.levels import PLAIN, Change, TransactionOptions
from timber.database.outcome import note_outcome
from timber.database.savepoint import Savepoint
from timber.database.sessions import UnitOfWorkSession
from timber.database.transaction import Transaction
from timber.errors import (
    Outcome,
    UnitOfWorkClosedError,
    UnitOfWorkDoomedError,
    UnitOfWorkSharedError,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator
    from types import TracebackType

    from sqlalchemy.ext.asyncio import AsyncConnection

    from timber.database.core import Core
    from timber.database.door import Work

_innermost: ContextVar[UnitOfWork | None] = ContextVar("timber_unit_of_work", default=None)


def current_unit_of_work(core: Core) -> UnitOfWork | None:
    """The unit of work that a call made here joins.

    Raises:
        UnitOfWorkSharedError: this task has inherited one that belongs to another task.
    """
    unit = _innermost.get()
    while unit is not None:
        if unit._core is core and unit._is_open:
            unit.check_owner()
            return unit
        unit = unit._outer
    return None


def current_transaction(core: Core) -> Transaction | None:
    """The transaction of the unit of work that a call made here joins.

    Raises:
        UnitOfWorkSharedError: this task has inherited one that belongs to another task.
    """
    unit = current_unit_of_work(core)
    return None if unit is None else unit._transaction


def units_around() -> Iterator[UnitOfWork]:
    """The units of work that the current context has entered or inherited, innermost first; ended ones too."""
    unit = _innermost.get()
    while unit is not None:
        yield unit
        unit = unit._outer


class UnitOfWork:
    """One transaction, used once: ``async with timber.unit_of_work() as uow:``.

    Commits at a clean exit, rolls back otherwise. Calls made in the task that entered it join it. Inside another one it is a
    savepoint of that, unless it is ``independent``.
    """

    def __init__(
        self,
        core: Core,
        options: TransactionOptions,
        *,
        independent: bool = False,
        connection: AsyncConnection | None = None,
    ) -> None:
        self._core = core
        self._options = options
        self._independent = independent
        self._given = connection
        self._transaction: Transaction | None = None
        self._savepoint: Savepoint | None = None
        self._outer: UnitOfWork | None = None
        self._owner: asyncio.Task[Any] | None = None
        self._is_open = False
        self._undone = False
        self._work: Work | None = None

    # State

    @property
    def outcome(self) -> Outcome | None:
        """What became of it: ``committed``, ``rolled_back`` or ``unknown``; None while it is not settled.

        A nested one that ended well shares the outcome of the one around it.
        """
        if self._undone:
            return "rolled_back"
        return self._transaction.outcome if self._transaction is not None else None

    @property
    def transaction(self) -> Transaction:
        """The transaction on its connection, while it is open."""
        self.check_open()
        assert self._transaction is not None
        return self._transaction

    @property
    def is_open(self) -> bool:
        """Whether it has been entered and has not ended."""
        return self._is_open

    @property
    def writes(self) -> int:
        """How many writes it has sent."""
        return self._transaction.writes if self._transaction is not None else 0

    @property
    def is_part(self) -> bool:
        """Whether it is a savepoint of somebody else's transaction, about which a later COMMIT decides."""
        return self._transaction is not None and self._transaction.levels[0].name is not None

    @property
    def changes(self) -> tuple[Change, ...]:
        """What was changed, and no savepoint has undone."""
        levels = self._transaction.levels if self._transaction is not None else []
        return tuple(change for level in levels for change in level.changes)

    def check_owner(self) -> None:
        """Refuse another task than the one that it belongs to.

        Raises:
            UnitOfWorkSharedError: it belongs to another one.
        """
        if self._owner is not asyncio.current_task():
            raise UnitOfWorkSharedError

    def check_open(self) -> None:
        """Refuse a call before it was entered, after its end, or from another task.

        Raises:
            UnitOfWorkClosedError: it has ended, or was never entered.
            UnitOfWorkSharedError: it belongs to another task.
        """
        if not self._is_open:
            raise UnitOfWorkClosedError
        self.check_owner()

    # What may be done inside

    def savepoint(self) -> Savepoint:
        """A part that may fail alone, as an async context manager."""
        self.check_open()
        return Savepoint(self)

    @property
    def session(self) -> UnitOfWorkSession:
        """An ORM session on this connection and in this transaction, made at the first use."""
        transaction = self.transaction
        session = transaction.session
        if session is None:
            session = transaction.session = UnitOfWorkSession(transaction, self._core.engine)
            for made in self._core.moments.session_made:
                made(session)
        assert isinstance(session, UnitOfWorkSession)
        return session

    def on_commit(self, callback: Callable[[], Awaitable[object] | object]) -> None:
        """Call ``callback`` after the real COMMIT, in the order given; a savepoint that is rolled back drops its own."""
        self.transaction.levels[-1].on_commit.append(_called_later(callback))

    def on_rollback(self, callback: Callable[[], Awaitable[object] | object]) -> None:
        """Call ``callback`` after the rollback of the innermost open savepoint or unit of work."""
        self.transaction.levels[-1].on_rollback.append(_called_later(callback))

    def invalidate(
        self, model: str, *, ids: Iterable[object] = (), tags: Iterable[str] = ()
    ) -> None:
        """Say what raw SQL of one's own has changed."""
        self.note_change(Change(model, tuple(ids), tuple(tags), is_said=True))

    def note_change(self, change: Change) -> None:
        """Take note of what was written in it."""
        self.transaction.levels[-1].note(change)

    def say_last(self, sql: str) -> bool:
        """Have SQL without parameters sent in one message with COMMIT; False where there will be none of its own."""
        transaction = self.transaction
        if transaction.link is None or self.is_part:
            return False
        transaction.last_words += f"{sql}; "
        return True

    def doom(self, reason: BaseException) -> None:
        """Let the innermost savepoint or unit of work only be rolled back from now on."""
        self.transaction.doom(reason)

    def adopt(self) -> None:
        """Make the current task the owner, as when a fixture has entered it for a test."""
        if not self._is_open:
            raise UnitOfWorkClosedError
        task = asyncio.current_task()
        unit: UnitOfWork | None = self
        while unit is not None and unit._transaction is self._transaction:
            unit._owner = task
            unit = unit._outer
        _innermost.set(self)

    # Begin and end

    async def __aenter__(self) -> Self:
        if self._is_open:
            self.check_owner()
            raise UsageError(
                "This unit of work has been entered already: what is inside its block is part of it. `uow.savepoint()` is a "
                "part that may fail alone."
            )
        if self._transaction is not None:
            raise UnitOfWorkClosedError
        outer = current_unit_of_work(self._core)
        self._owner = asyncio.current_task()
        self._outer = _innermost.get()
        if outer is None or self._independent:
            self._transaction = self._make_transaction(outer)
            self._work = self._core.door.begin()
            for begun in self._core.moments.begun:
                begun(self)
        else:
            self._check_can_nest()
            savepoint = Savepoint(outer)
            await savepoint.__aenter__()
            self._savepoint = savepoint
            self._transaction = outer.transaction
        self._is_open = True
        _innermost.set(self)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._is_open:
            raise UnitOfWorkClosedError
        if self._owner is not None and not self._owner.done():
            self.check_owner()
        # An owner that is done cannot end it any more: whoever cleans up after it may.
        self._owner = asyncio.current_task()
        transaction = self.transaction
        if isinstance(error, SQLAlchemyError | asyncpg.PostgresError | asyncpg.InterfaceError):
            error = translate(error, self._core.target)
        try:
            if self._savepoint is not None:
                await self._end_savepoint(self._savepoint, error)
            else:
                await self._end(transaction, error)
        finally:
            self._close()
        if error is not None and error.__class__ is not kind:
            raise error

    def _make_transaction(self, outer: UnitOfWork | None) -> Transaction:
        if outer is not None and outer.transaction.independent:
            raise UsageError(
                "An independent unit of work inside another independent one would need a third connection: tasks that hold "
                "two could all wait for each other."
            )
        transaction = (
            Transaction(self._core, self._options, independent=outer is not None)
            if self._given is None
            else JoinedTransaction(self._core, self._options, self._given)
        )
        transaction.check_owner = self.check_open
        transaction.find_owner = lambda: self._owner
        return transaction

    def _check_can_nest(self) -> None:
        if self._options != PLAIN:
            raise UsageError(
                "A nested unit of work is a savepoint: isolation, read_only, deferrable and timeouts belong to the outermost "
                "one."
            )
        if self._given is not None:
            raise UsageError(
                "A nested unit of work has its connection already: that of the outer one."
            )

    async def _end_savepoint(self, savepoint: Savepoint, error: BaseException | None) -> None:
        try:
            await savepoint.__aexit__(type(error) if error else None, error, None)
        except BaseException:
            self._undone = True
            raise
        self._undone = error is not None

    async def _end(self, transaction: Transaction, error: BaseException | None) -> None:
        moments = self._core.moments
        try:
            if len(transaction.levels) > 1 and error is None:
                raise UsageError("A savepoint of this unit of work is still open.")
            if error is None and transaction.levels[0].doom is not None:
                raise UnitOfWorkDoomedError from transaction.levels[0].doom
            if error is None:
                for callback in moments.before_commit:
                    await callback(self)
                await transaction.commit()
        except BaseException as failure:
            if transaction.outcome is None:
                await self._roll_back(transaction, failure)
            self._is_open = False
            await self._tell(transaction, failure)
            raise
        if error is not None:
            await self._roll_back(transaction, error)
        self._is_open = False
        await self._tell(transaction, error)

    async def _roll_back(self, transaction: Transaction, error: BaseException) -> None:
        try:
            await transaction.rollback()
        except asyncio.CancelledError as cancelled:
            note_outcome(cancelled, "rolled_back")
            raise
        finally:
            note_outcome(error, "rolled_back")

    async def _tell(self, transaction: Transaction, error: BaseException | None) -> None:
        """Run what waits for the outcome; an unknown one counts as committed for caches and as neither for callbacks."""
        moments = self._core.moments
        outcome = transaction.outcome
        assert outcome is not None
        if error is not None:
            note_outcome(error, outcome)
        hooks = moments.after_rollback if outcome == "rolled_back" else moments.after_commit
        cut = await self._core.call_hooks(hooks, self)
        callbacks: list[Any] = []
        for level in transaction.levels:
            if outcome == "committed":
                callbacks += level.on_commit
            elif outcome == "rolled_back":
                callbacks += level.on_rollback
        try:
            await self._core.run_callbacks(callbacks)
            if cut is not None:
                raise cut
        except asyncio.CancelledError as cancelled:
            note_outcome(cancelled, outcome)
            raise

    def _close(self) -> None:
        self._is_open = False
        self._owner = None
        if _innermost.get() is self:
            _innermost.set(self._outer)
        if self._work is not None:
            self._core.door.end(self._work)


def _called_later(callback: object) -> Callable[..., object]:
    if callable(callback):
        return callback
    if inspect.iscoroutine(callback):
        callback.close()  # it is never awaited, and need not say so as well
    raise UsageError(
        "A callback is a function that is called later: pass `send`, or `lambda: send(...)`, and not what `send(...)` gives."
    )
