"""Rows by a cursor on the server, batch by batch."""

from __future__ import annotations

from contextlib import asynccontextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any, NoReturn

from timber.database.errors import FOREIGN
from timber.database.holding import BUSY
from timber.database.levels import TransactionOptions

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence

    from timber.database.core import Core
    from timber.database.links import Link
    from timber.database.statements import Statement
    from timber.database.transaction import Transaction

_READ_ONLY = TransactionOptions(read_only=True)


def _begin(core: Core) -> str:
    # A reader may take its time between two batches.
    local = {**core.local_settings, "idle_in_transaction_session_timeout": 0.0}
    return _READ_ONLY.begin(core.settings.statement_timeout, local)


@asynccontextmanager
async def stream_inside(
    transaction: Transaction, statement: Statement, args: Sequence[object], batch: int
) -> AsyncGenerator[AsyncIterator[list[Any]]]:
    """Batches of the rows of a read in a unit of work, on its connection."""
    link = await transaction.ready()
    try:
        cursor = await link.driver.cursor(statement.sql, *args)
    except BaseException as error:
        transaction.fail(error)
    yield _batches(link, cursor, batch, transaction.fail, transaction.check_usable)


@asynccontextmanager
async def stream_alone(
    core: Core, statement: Statement, args: Sequence[object], batch: int
) -> AsyncGenerator[AsyncIterator[list[Any]]]:
    """Batches of the rows of a read, on a connection of their own."""

    def fail(error: BaseException) -> NoReturn:
        if isinstance(error, FOREIGN):
            raise core.failed(error) from error
        raise error

    with core.door:
        link = await core.connections.acquire()
        try:
            try:
                await link.driver.execute(_begin(core))
                cursor = await link.driver.cursor(statement.sql, *args)
            except BaseException as error:
                fail(error)
            yield _batches(link, cursor, batch, fail)
        finally:
            await core.connections.end(link, "ROLLBACK")


def _nobody_else() -> None:
    """A stream's own connection is used by nobody else."""


async def _batches(
    link: Link,
    cursor: Any,
    batch: int,
    fail: Callable[[BaseException], NoReturn],
    check_usable: Callable[[], None] = _nobody_else,
) -> AsyncIterator[list[Any]]:
    while True:
        check_usable()
        link.quiet_since = BUSY
        try:
            rows = await cursor.fetch(batch)
        except BaseException as error:
            fail(error)
        finally:
            link.quiet_since = perf_counter()
        if not rows:
            return
        yield rows
