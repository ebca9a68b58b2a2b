"""Applying migrations: one process at a time, never waiting long for a lock, and again from where it stopped."""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from alembic import context
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateIndex, DropIndex

from timber.database.migrations.failures import failure_of, sqlstate_of, timber_errors
from timber.database.migrations.surroundings import (
    VERSION_TABLE,
    Server,
    Surroundings,
    connected_to,
)
from timber.database.migrations.waiting import Waiting, watched
from timber.database.pgbouncer import check_migrating
from timber.database.schema_lock import release_lock, take_lock
from timber.errors import QueryTimeoutError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

    from sqlalchemy.engine import Connection
    from sqlalchemy.ext.asyncio import AsyncConnection

logger: logging.Logger = logging.getLogger(__name__)

_LOCK_TROUBLE: Final = ("55P03", "40P01")  # not to be had in time, deadlock
_LONGEST_PAUSE: Final = 10.0

_LEFT_OVER = sa.text("""
SELECT format('%I.%I', n.nspname, c.relname)
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relname = :name AND n.nspname = coalesce(:schema, current_schema()) AND NOT i.indisvalid""").bindparams(
    sa.bindparam("name", type_=sa.Text), sa.bindparam("schema", type_=sa.Text)
)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long migrations wait.

    Attributes:
        lock_timeout: seconds that a statement waits for a lock; whoever comes after it waits as long.
        attempts: how often a migration that did not get its lock is tried.
        others: seconds to wait for another process that migrates.
    """

    lock_timeout: float = 5.0
    attempts: int = 10
    others: float = 600.0


@dataclass(slots=True)
class Apply:
    """Migrations to be applied, and what became of them.

    ``first`` runs once the lock is held and says whether there is anything left to do.
    """

    patience: Patience = field(default_factory=Patience)
    first: Callable[[Connection, Surroundings], bool] = lambda *_: True
    applied: list[str] = field(default_factory=list)
    waited: bool = False

    async def run(self, surroundings: Surroundings) -> None:
        """Apply what the command asks for, as one process of however many try."""
        settings, patience = surroundings.settings, self.patience
        check_migrating(settings)
        async with connected_to(settings, lock_timeout=patience.lock_timeout) as server:
            with timber_errors(server.target):
                async with server.engine.connect() as connection, self._alone(server, connection):
                    if await connection.run_sync(self.first, surroundings):
                        await self._repeatedly(server, connection, surroundings)

    @asynccontextmanager
    async def _alone(self, server: Server, connection: AsyncConnection) -> AsyncGenerator[None]:
        self.waited = await take_lock(
            connection, "session", seconds=self.patience.others, target=server.target
        )
        await connection.commit()
        try:
            yield
        finally:
            # The connection is closed after it, which lets go of the lock too.
            if not connection.closed and not connection.invalidated:
                await connection.rollback()
                await release_lock(connection)

    async def _repeatedly(
        self, server: Server, connection: AsyncConnection, surroundings: Surroundings
    ) -> None:
        pid = await connection.scalar(sa.text("SELECT pg_backend_pid()"))
        await connection.commit()
        patience = self.patience
        for attempt in range(1, patience.attempts + 1):
            step = _Steps(self.applied, patience.lock_timeout)
            async with watched(server.engine, pid, lock_timeout=patience.lock_timeout) as waiting:
                try:
                    await connection.run_sync(step.run, surroundings)
                except DBAPIError as error:
                    await connection.rollback()
                    if sqlstate_of(error) not in _LOCK_TROUBLE:
                        raise failure_of(error, server.target, step.failed) from error
                    if step.half_done or attempt == patience.attempts:
                        raise _no_lock(step, waiting, attempt, patience) from error
                    logger.warning(
                        "Migration %s did not get %s in %g s: %s. Trying again (%d of %d).",
                        *(step.current, waiting.what or "a lock", patience.lock_timeout),
                        *(waiting, attempt, patience.attempts),
                    )
                else:
                    return
            # Meanwhile those who came after it get their turn.
            pause = min(patience.lock_timeout * attempt, _LONGEST_PAUSE)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret


def _no_lock(
    step: _Steps, waiting: Waiting, attempts: int, patience: Patience
) -> QueryTimeoutError:
    done = (
        "A part of it had been committed already, so it was not tried again: make it whole by hand, or put what cannot be "
        "in a transaction into a migration of its own."
        if step.half_done
        else "It has left nothing behind. End that transaction and migrate again, or raise the lock timeout."
    )
    error = QueryTimeoutError(
        f"Migration {step.current} did not get {waiting.what or 'a lock'} within {patience.lock_timeout:g} s, "
        f"{attempts} {'time' if attempts == 1 else 'times'}: {waiting}. {done}"
    )
    error.sqlstate = "55P03"
    return error


class _Steps:
    """One run of the migrations, and what can be said of the step that is under way."""

    def __init__(self, applied: list[str], lock_timeout: float) -> None:
        self.applied = applied
        self.current = ""
        self.half_done = False
        self._wrote = False
        self._building: str | None = None
        self._lock_timeout = f"SET lock_timeout = {max(1, round(lock_timeout * 1000))}"

    def run(self, connection: Connection, surroundings: Surroundings) -> None:
        """Apply the migrations that the command asks for, each in a transaction."""
        connection.exec_driver_sql(self._lock_timeout)
        connection.commit()
        self._configure(connection, surroundings)
        listeners: dict[str, Callable[..., Any]] = {
            "before_execute": self._before_execute,
            "after_execute": self._after_execute,
            "commit": self._committed,
        }
        for name, listener in listeners.items():
            event.listen(connection, name, listener)
        try:
            with context.begin_transaction():
                context.run_migrations()
        finally:
            for name, listener in listeners.items():
                event.remove(connection, name, listener)

    def _configure(self, connection: Connection, surroundings: Surroundings) -> None:
        options: dict[str, Any] = {
            "connection": connection,
            "target_metadata": surroundings.metadata(),
            "version_table": VERSION_TABLE,
            "transaction_per_migration": True,
            "on_version_apply": self._applied,
        }
        context.configure(**options)
        steps = context.get_context().opts["fn"]
        # At a second attempt it is what the first one has put there.
        original = steps.steps if isinstance(steps, _Announced) else steps
        context.configure(**options, fn=_Announced(original, self))

    @property
    def failed(self) -> str:
        """Which step failed, and what became of what it had done."""
        migration = f"Migration {self.current}".rstrip()
        if self._building is not None:
            return f"{migration} failed and left the index {self._building} invalid, which the next attempt builds again"
        if self.half_done:
            return f"{migration} failed when a part of it had been committed"
        return f"{migration} failed and was rolled back"

    def begin(self, revision: str) -> None:
        """A step begins."""
        self.current = revision
        self.half_done = self._wrote = False
        self._building = None

    def _applied(self, *, step: Any, **_: Any) -> None:
        self.applied.append(step.up_revision_id or "")
        self._wrote = False

    def _before_execute(self, connection: Connection, clause: Any, *_rest: Any) -> None:
        if not _is_concurrent(clause):
            self._wrote = self._wrote or not _is_repeatable(clause)
            return
        # It waits for every transaction that is older, and nobody waits for it.
        connection.exec_driver_sql("SET lock_timeout = 0")
        if isinstance(clause, CreateIndex):
            _drop_left_over(connection, clause.element)
            self._building = str(clause.element.name)

    def _after_execute(self, connection: Connection, clause: Any, *_rest: Any) -> None:
        if _is_concurrent(clause):
            connection.exec_driver_sql(self._lock_timeout)
            self._building = None

    def _committed(self, _connection: Connection) -> None:
        self.half_done = self._wrote


@dataclass(frozen=True, slots=True)
class _Announced:
    """Alembic's steps, each announced before it begins."""

    steps: Any
    run: _Steps

    def __call__(self, *arguments: Any) -> Iterator[Any]:
        for step in self.steps(*arguments):
            self.run.begin(getattr(getattr(step, "revision", None), "revision", ""))
            yield step


def _is_repeatable(clause: Any) -> bool:
    return isinstance(clause, sa.TextClause) and "VALIDATE CONSTRAINT" in clause.text


def _is_concurrent(clause: Any) -> bool:
    return isinstance(clause, CreateIndex | DropIndex) and bool(
        clause.element.dialect_options["postgresql"]["concurrently"]
    )


def _drop_left_over(connection: Connection, index: sa.Index) -> None:
    """A concurrent creation that failed leaves an index that is written to and never read."""
    schema = index.table.schema if index.table is not None else None
    name = connection.scalar(_LEFT_OVER, {"name": str(index.name), "schema": schema})
    if name is not None:
        logger.warning("Index %s was left over by a creation that failed: it is built again.", name)
        connection.exec_driver_sql(f"DROP INDEX CONCURRENTLY {name}")
