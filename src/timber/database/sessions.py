"""SQLAlchemy's AsyncSession on a unit of work's own connection and transaction."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, NoReturn

from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.util import await_only, greenlet_spawn

from timber.database.errors import FOREIGN, translate
from timber.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from sqlalchemy.ext.asyncio import AsyncEngine

    from timber.database.levels import Change
    from timber.database.transaction import Transaction

TRANSACTION = "timber_transaction"
"""The execution option that tells the engine's events which transaction a connection is in."""
NOT_BY_HAND = (
    "The unit of work begins, commits and rolls back for its session: leave its `async with` block to commit, raise "
    "to roll back, and use `uow.savepoint()` for a part that may fail."
)
"""What is said to whoever begins or ends a unit of work's transaction by a call or a statement."""


class _BoundSession(Session):
    """Takes the unit of work's connection when it first needs one, and makes sure that BEGIN and SAVEPOINTs are sent."""

    def get_bind(self, *_args: Any, **_options: Any) -> Connection:
        bound: Connection = await_only(self.info[TRANSACTION]())
        return bound


class UnitOfWorkSession(AsyncSession):
    """An ORM session inside a unit of work, which begins, commits and rolls back for it.

    Raises:
        UsageError: on commit, rollback, begin and close; `uow.savepoint()` is the way to undo a part.
    """

    sync_session_class: type[Session] = _BoundSession

    def __init__(self, transaction: Transaction, engine: Any) -> None:
        self._timber = transaction
        self._engine = engine
        self._connection: Connection | None = None
        super().__init__(expire_on_commit=False, info={TRANSACTION: self._bind_now})

    async def _bind_now(self) -> Connection:
        self._timber.check_usable()
        link = await self._timber.ready()
        if self._connection is None:
            connection = Connection(self._engine.sync_engine, connection=link.fairy)
            self._connection = connection.execution_options(**{TRANSACTION: self._timber})
        return self._connection

    def note_change(self, change: Change) -> None:
        """Take note of what was changed through it, with the transaction that it is in."""
        self._timber.levels[-1].note(change)

    async def push_savepoint(self) -> SessionTransaction:
        def push() -> SessionTransaction:
            nested = self.sync_session.begin_nested()
            # SQLAlchemy sends the SAVEPOINT when the session next uses its connection; other statements must be inside too.
            self.sync_session.connection()
            return nested

        return await greenlet_spawn(push)

    async def release_savepoint(self, nested: SessionTransaction) -> None:
        await greenlet_spawn(nested.commit)

    async def undo_savepoint(self, nested: SessionTransaction) -> None:
        await greenlet_spawn(nested.rollback)

    async def commit_through(self) -> None:
        """COMMIT by way of SQLAlchemy, so that its events fire."""
        if self._connection is None or not self.sync_session.in_transaction():
            # The session was made and never used: begin, so that there is something to commit through.
            await greenlet_spawn(self.sync_session.connection)
        await greenlet_spawn(self.sync_session.commit)
        await greenlet_spawn(self.sync_session.close)

    async def forget(self) -> None:
        """Drop the session's state after the transaction has been rolled back under it."""
        try:
            await greenlet_spawn(self.sync_session.close)
        except SQLAlchemyError:
            # Its connection has been invalidated; there is nothing left to close.
            self.sync_session.expunge_all()

    async def begin_anew(self) -> None:
        """Forget everything, after a rollback to before this session was made."""
        if not self.sync_session.is_active:
            await greenlet_spawn(self.sync_session.rollback)
        self.sync_session.expunge_all()

    def add(self, instance: object, *, _warn: bool = True) -> None:
        self._timber.check_owner()
        super().add(instance, _warn=_warn)

    def add_all(self, instances: Iterable[object]) -> None:
        self._timber.check_owner()
        super().add_all(instances)

    def _refuse(self, *_args: Any, **_options: Any) -> NoReturn:
        raise UsageError(NOT_BY_HAND)

    if not TYPE_CHECKING:
        commit = rollback = close = begin = begin_nested = reset = invalidate = _refuse
        __aenter__ = __aexit__ = _refuse


class OwnSession(AsyncSession):
    """An ORM session that begins and commits by itself, and whose errors are Timber's."""

    def __init__(self, engine: AsyncEngine, target: str) -> None:
        self._target = target
        super().__init__(engine, expire_on_commit=False)


def _of_unit(name: str) -> Any:
    method: Callable[..., Awaitable[Any]] = getattr(AsyncSession, name)

    @wraps(method)
    async def call(self: UnitOfWorkSession, *args: Any, **options: Any) -> Any:
        transaction = self._timber
        transaction.check_usable()
        try:
            return await method(self, *args, **options)
        except BaseException as error:
            # The connection's own trouble has been translated by the engine's event: this is of the caller's code.
            own = isinstance(error, OSError | EOFError)
            failed = error if own else transaction.failed(error)
            if not self.sync_session.is_active:
                # A flush failed half-way: SQLAlchemy has rolled back to its innermost SAVEPOINT, or to the beginning.
                transaction.levels[-1].doom = failed
            if failed is error:
                raise
            raise failed from error

    return call


def _of_its_own(name: str) -> Any:
    method: Callable[..., Awaitable[Any]] = getattr(AsyncSession, name)

    @wraps(method)
    async def call(self: OwnSession, *args: Any, **options: Any) -> Any:
        try:
            return await method(self, *args, **options)
        except FOREIGN as error:
            if name == "run_sync" and isinstance(error, OSError | EOFError):
                raise  # of the caller's code
            raise translate(error, self._target) from error

    return call


# Wrapped from outside, so that they keep the types they have in SQLAlchemy.
_SPEAKING = (
    *("execute", "scalar", "scalars", "stream", "stream_scalars", "get", "get_one", "refresh"),
    *("delete", "delete_all", "merge", "merge_all", "flush", "run_sync", "connection"),
)
for _name in _SPEAKING:
    setattr(UnitOfWorkSession, _name, _of_unit(_name))
for _name in (*_SPEAKING, "commit", "rollback", "close"):
    setattr(OwnSession, _name, _of_its_own(_name))
