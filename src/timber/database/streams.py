"""Rows by a cursor on the server, batch by batch."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from timber.database.errors import FOREIGN, translate

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence

    from timber.database.core import Core
    from timber.database.statements import Statement
    from timber.database.transaction import Transaction

# A reader may take its time between two batches.
_BEGIN = "BEGIN READ ONLY; SET LOCAL idle_in_transaction_session_timeout = 0"


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
    yield _batches(cursor, batch, transaction.fail, transaction.check_usable)


@asynccontextmanager
async def stream_alone(
    core: Core, statement: Statement, args: Sequence[object], batch: int
) -> AsyncGenerator[AsyncIterator[list[Any]]]:
    """Batches of the rows of a read, on a connection of their own."""

    def fail(error: BaseException) -> NoReturn:
        if isinstance(error, FOREIGN):
            raise translate(error, core.target) from error
        raise error

    with core.door:
        link = await core.connections.acquire()
        try:
            try:
                await link.driver.execute(_BEGIN)
                cursor = await link.driver.cursor(statement.sql, *args)
            except BaseException as error:
                fail(error)
            yield _batches(cursor, batch, fail)
        finally:
            await core.connections.end(link, "ROLLBACK")


def _nobody_else() -> None:
    """A stream's own connection is used by nobody else."""


async def _batches(
    cursor: Any,
    batch: int,
    fail: Callable[[BaseException], NoReturn],
    check_usable: Callable[[], None] = _nobody_else,
) -> AsyncIterator[list[Any]]:
    while True:
        check_usable()
        try:
            rows = await cursor.fetch(batch)
        except BaseException as error:
            fail(error)
        if not rows:
            return
        yield rows
