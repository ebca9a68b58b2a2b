"""A part of a unit of work that may fail alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

from timber.errors import UnitOfWorkClosedError, UnitOfWorkDoomedError, UsageError

if TYPE_CHECKING:
    from types import TracebackType

    from timber.database.levels import Level
    from timber.database.transaction import Transaction


class Whole(Protocol):
    """What a savepoint is a part of: a unit of work."""

    @property
    def transaction(self) -> Transaction: ...

    def check_open(self) -> None: ...


class Savepoint:
    """A part of a unit of work that may fail alone: ``async with uow.savepoint():``.

    An exception that leaves it undoes the part, and the rest goes on if the exception is caught outside.
    """

    def __init__(self, unit: Whole) -> None:
        self._unit = unit
        self._level: Level | None = None

    async def __aenter__(self) -> Self:
        self._unit.check_open()
        if self._level is not None:
            raise UnitOfWorkClosedError("This savepoint has been used: make a new one.")
        self._level = await self._unit.transaction.push()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        transaction = self._unit.transaction
        level = self._level
        assert level is not None
        if transaction.outcome is not None:
            return
        if transaction.levels[-1] is not level:
            raise UsageError("Savepoints end in the reverse order of their beginning.")
        if error is None and level.doom is None:
            await transaction.release(level)
            return
        await transaction.undo(level)
        if error is None:
            raise UnitOfWorkDoomedError(
                "An error was caught inside this savepoint after it had failed the statement; the savepoint was rolled back. "
                "Catch the error outside of `async with uow.savepoint():`."
            ) from level.doom
