"""Statements as the layers above send them: in the current unit of work, or each alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from timber.database.errors import FOREIGN
from timber.database.streams import stream_alone, stream_inside
from timber.database.unit_of_work import current_transaction, current_unit_of_work
from timber.errors import ValidationError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from timber.database.core import Core
    from timber.database.lone import LoneStatements
    from timber.database.outcome import Check
    from timber.database.statements import Statement


class Speaker:
    """Sends statements on the connection of the current unit of work, or on one of their own."""

    _core: Core
    _lone: LoneStatements

    async def fetch(self, statement: Statement, args: Sequence[object] = ()) -> list[Any]:
        """The rows of a read."""
        transaction = current_transaction(self._core)
        if transaction is None:
            return await self._lone.fetch(statement, args)
        return await transaction.fetch(statement, args)

    async def write(
        self, statement: Statement, args: Sequence[object] = (), *, check: Check | None = None
    ) -> list[Any]:
        """The rows that a write returns.

        Args:
            check: looks whether the write is there, if it is a lone one whose connection was lost.
        """
        transaction = current_transaction(self._core)
        if transaction is None:
            return await self._lone.write(statement, args, check)
        return await transaction.write(statement, args, check)

    async def execute(
        self, statement: Statement, args: Sequence[object] = (), *, check: Check | None = None
    ) -> int:
        """The number of rows that a write has touched."""

        async def work(driver: Any) -> int:
            # The public execute() gives the command's tag: "UPDATE 3".
            tag: str = await driver.execute(statement.sql, *args)
            return int(tag.rpartition(" ")[2]) if tag[-1:].isdigit() else 0

        return await self._run(statement.label, work, check)

    async def copy(
        self,
        table: str,
        columns: Sequence[str],
        records: Sequence[Sequence[object]],
        *,
        check: Check | None = None,
    ) -> int:
        """Insert rows by COPY; the number of rows."""

        async def work(driver: Any) -> int:
            tag = ""
            try:
                tag = await driver.copy_records_to_table(
                    table, records=records, columns=list(columns)
                )
            except FOREIGN:
                raise
            except (AttributeError, TypeError, ValueError, OverflowError):
                pass  # of the driver's encoders; raised from here it would show the value
            if not tag:
                raise ValidationError("A value does not fit its column.")
            return int(tag.rpartition(" ")[2])

        try:
            return await self._run(f"copy {table}", work, check)
        except ValidationError as error:
            unit = current_unit_of_work(self._core)
            if unit is not None:
                unit.doom(error)  # the server has been told that the COPY failed
            raise

    async def _run(
        self, label: str, work: Callable[[Any], Awaitable[int]], check: Check | None
    ) -> int:
        transaction = current_transaction(self._core)
        if transaction is None:
            result: int = await self._lone.run(label, work, check)
        else:
            result = await transaction.run(label, work)
        return result

    def cursor(
        self, statement: Statement, args: Sequence[object] = (), *, batch: int = 1000
    ) -> AbstractAsyncContextManager[AsyncIterator[list[Any]]]:
        """Batches of the rows of a read, by a cursor on the server; outside a unit of work on a connection of its own."""
        transaction = current_transaction(self._core)
        if transaction is None:
            return stream_alone(self._core, statement, args, batch)
        return stream_inside(transaction, statement, args, batch)
