"""A database in which everything behaves as if it were committed, and nothing is: for tests.

All work goes over one connection, inside one transaction that never ends well. BEGIN, COMMIT and ROLLBACK become savepoints
of it, and so does each statement outside of a transaction; whatever stands above sees what it would see of a database of
its own. What only a real COMMIT brings about is missing: NOTIFY is sent to nobody, and other connections see nothing.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

import asyncpg
from asyncpg.transaction import Transaction
from sqlalchemy import event
from sqlalchemy.util.concurrency import in_greenlet

from timber.database.driver import Driver
from timber.database.engine import make_engine
from timber.database.listen import Listener
from timber.database.manager import AsyncDatabaseManager
from timber.errors import UnavailableError, UsageError
from timber.settings import TimberSettings

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from sqlalchemy.engine import URL
    from sqlalchemy.ext.asyncio import AsyncEngine

    from timber.database.listen import Watch
    from timber.database.unit_of_work import UnitOfWork

T = TypeVar("T")

_SAVEPOINT: Final = "timber_sandbox"
_OWN_WORDS: Final = frozenset({"SAVEPOINT", "RELEASE"})
_WAIT: Final = 5.0
"""Seconds that one task waits until another one is done with the connection."""


class SandboxConnection(Driver):
    """One connection, in a transaction from its first statement on, that only pretends to begin and end others."""

    __slots__ = ("_begun", "_read_only", "_within")

    _top_xact: Any

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._begun = False
        self._read_only = False
        self._within = False

    def is_in_transaction(self) -> bool:
        """Whether a transaction has been begun, for those who know nothing of the sandbox."""
        return self._begun

    def transaction(
        self, *, isolation: Any = None, readonly: bool = False, deferrable: bool = False
    ) -> Any:
        """A savepoint; within one transaction there are no others, and no other isolation."""
        del isolation, readonly, deferrable
        return _Part(self, None, False, False)  # noqa: FBT003  # the driver's own way

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:  # noqa: ASYNC109  # the driver's
        word = query.split(None, 2)[0].rstrip(";").upper() if query.strip() else ""
        if self._within or word in _OWN_WORDS or query.upper().startswith("ROLLBACK TO"):
            return await super().execute(query, *args, timeout=timeout)
        if word == "BEGIN":
            return await self._begin(query)
        if word in ("COMMIT", "ROLLBACK") and self._begun:
            return await (self._commit() if word == "COMMIT" else self._roll_back())
        return await self._guarded(super().execute(query, *args, timeout=timeout))

    def say_before(self, text: str, query: str) -> bool:  # noqa: ARG002  # whatever it is, it becomes a savepoint
        return False

    async def fetch(self, query: str, *args: Any, **options: Any) -> Any:
        return await self._guarded(super().fetch(query, *args, **options))

    async def fetchrow(self, query: str, *args: Any, **options: Any) -> Any:
        return await self._guarded(super().fetchrow(query, *args, **options))

    async def fetchval(self, query: str, *args: Any, **options: Any) -> Any:
        return await self._guarded(super().fetchval(query, *args, **options))

    async def copy_records_to_table(self, table_name: str, **options: Any) -> str:
        return await self._guarded(super().copy_records_to_table(table_name, **options))

    async def _begin(self, query: str) -> str:
        await self.enter()
        await super().execute(f"SAVEPOINT {_SAVEPOINT}")
        self._begun = True
        words, _, settings = query.partition(";")
        self._read_only = "READ ONLY" in words.upper()
        if self._read_only:
            settings = f"SET LOCAL transaction_read_only = on;{settings}"
        if settings.strip():
            await super().execute(settings)
        return "BEGIN"

    async def _commit(self) -> str:
        """Keep what was done, as far as a COMMIT would have; the tag says whether it would."""
        if self._read_only:
            await self._roll_back()  # which also ends its being read-only
            return "COMMIT"
        try:
            await super().execute(
                "SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED;"
                f"RELEASE SAVEPOINT {_SAVEPOINT};"
                "SET LOCAL statement_timeout TO DEFAULT; SET LOCAL lock_timeout TO DEFAULT"
            )
        except asyncpg.InFailedSQLTransactionError:
            return await self._roll_back()
        except asyncpg.PostgresError:
            await self._roll_back()
            raise
        self._begun = False
        return "COMMIT"

    async def _roll_back(self) -> str:
        await super().execute(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}; RELEASE SAVEPOINT {_SAVEPOINT}")
        self._begun = self._read_only = False
        return "ROLLBACK"

    async def enter(self) -> None:
        """Begin the one real transaction, at the first statement."""
        if self._top_xact is None:
            self._within = True
            try:
                await super().transaction().start()
            finally:
                self._within = False

    async def _guarded(self, call: Awaitable[T]) -> T:
        """A statement outside of a transaction: a failure of it must not reach what was done before."""
        if self._begun or self._within:
            return await call
        try:
            await self.enter()
            await super().execute("SAVEPOINT timber_lone")
        except BaseException:
            call.close()  # type: ignore[attr-defined]
            raise
        try:
            result = await call
        except BaseException:
            with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                await super().execute(
                    "ROLLBACK TO SAVEPOINT timber_lone; RELEASE SAVEPOINT timber_lone"
                )
            raise
        await super().execute("RELEASE SAVEPOINT timber_lone")
        return result


class _Part(Transaction):
    """A transaction as others begin it: a savepoint, once there is something for it to be in."""

    __slots__ = ()

    _connection: Any

    async def start(self) -> None:
        await self._connection.enter()
        await super().start()


class SandboxManager(AsyncDatabaseManager):
    """A manager whose work is all undone when it is closed.

    Isolation levels are taken as given: there is only one transaction, which sees what it has done itself. An independent
    unit of work inside another one is a part of that one, and is undone with it.
    """

    def __init__(self, url: str | URL | None = None, **options: Any) -> None:
        settings: TimberSettings = options.pop("settings", None) or TimberSettings()
        one = {
            "pool_size": 1,
            "max_overflow": 0,
            "pool_timeout": min(settings.pool_timeout, _WAIT),
            "pool_recycle": 86_400.0,
            "idle_in_transaction_session_timeout": None,  # somebody may stand in a debugger
        }
        super().__init__(url, settings=settings.model_copy(update=one), **options)
        self.listener: Listener = _DeafListener(self._core, self._lone)

    def unit_of_work(self, *, independent: bool = False, **options: Any) -> UnitOfWork:
        inside = independent and self.current() is not None
        return super().unit_of_work(**({} if inside else options))

    def _make_engine(self, url: URL) -> AsyncEngine:
        engine = make_engine(url, self.settings)
        connected = False

        def connect(_dialect: Any, _record: Any, _arguments: Any, options: Any) -> None:
            nonlocal connected
            if not in_greenlet():
                return  # refused by the engine's own listener, and asked again in a greenlet
            if connected:
                raise UnavailableError(
                    "The one connection of this sandbox was lost, and with it all that was written. What tests lost "
                    "connections, or waits so short that they are cut, needs a database of its own."
                )
            connected = True
            options["connection_class"] = SandboxConnection

        event.listen(engine.sync_engine, "do_connect", connect)
        return engine


class _DeafListener(Listener):
    """Says at once that nothing will be heard."""

    def watch(self, channel: str, key: str) -> Watch:  # noqa: ARG002  # whatever they are
        raise UsageError(
            "Nothing is ever committed in a sandbox, so nobody is notified of anything: test subscriptions with real commits "
            "(the fixture timber_committing)."
        )
