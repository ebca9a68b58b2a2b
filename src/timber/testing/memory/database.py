"""A database in memory: units of work as they are, and nothing behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn
from weakref import WeakKeyDictionary

from timber.database.manager import AsyncDatabaseManager
from timber.errors import ServiceError, UsageError
from timber.models.registry import ModelRegistry
from timber.settings import TimberSettings
from timber.testing.memory.tables import Tables, refused_deletion

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from timber.database.transaction import Transaction
    from timber.testing.memory.tables import Row, Table

_ABSENT: Any = object()
_NOWHERE = "postgresql://memory@localhost/memory"
"""Never connected to: a unit of work that sends nothing asks for no connection."""


class InMemoryDatabase(AsyncDatabaseManager):
    """The rows of all models for unit tests: ``InMemoryDatabase(registry)`` in the place of a manager.

    Units of work, savepoints and callbacks are the real ones. What another task has not committed yet is seen all the same:
    there is no isolation here.

    Args:
        registry: the models; the built-in ones where none is given.
        clock: gives the current time, aware.
    """

    def __init__(
        self,
        registry: ModelRegistry | None = None,
        *,
        clock: Callable[[], datetime] | None = None,
        settings: TimberSettings | None = None,
    ) -> None:
        super().__init__(
            _NOWHERE, settings=settings or TimberSettings(database_url=_NOWHERE), clock=clock
        )
        self.registry: ModelRegistry = registry if registry is not None else ModelRegistry()
        self.tables: Tables = Tables(self.registry)
        self._journals: WeakKeyDictionary[Transaction, list[tuple[Table, Any, Any]]] = (
            WeakKeyDictionary()
        )

    async def ping(self) -> None:
        """It is always there."""

    def enter(self) -> None:
        """Hold a call to what holds of every statement in a unit of work.

        Raises:
            UnitOfWorkDoomedError: an earlier call in it failed.
        """
        unit = self.current()
        if unit is not None:
            unit.transaction.check_usable()

    def put(self, table: Table, key: Any, row: Row) -> None:
        """Store a row; a rollback of the unit of work takes it back."""
        self._note(table, key)
        table.rows[key] = row

    def remove(self, table: Table, key: Any) -> None:
        """Delete a row, and what refers to it as its references say.

        Raises:
            ConflictError: a row that refers to it has to stay as it is.
        """
        row = table.rows[key]
        for other, reference, found, candidate in self.tables.referring(table, row):
            action = (reference.ondelete or "").upper()
            if action == "CASCADE" and found in other.rows:
                self.remove(other, found)
            elif action == "SET NULL":
                self.put(other, found, other.changed(candidate, {reference.parent.name: None}))
            elif action != "CASCADE":
                raise refused_deletion(other, reference)
        self._note(table, key)
        table.rows.pop(key, None)

    def fail(self, error: ServiceError) -> NoReturn:
        """Raise an error that a statement would have failed with, which dooms the unit of work that it is in."""
        unit = self.current()
        if unit is not None:
            unit.doom(error)
        else:
            error.outcome = "rolled_back"
        raise error

    def _note(self, table: Table, key: Any) -> None:
        unit = self.current()
        if unit is None:
            return
        transaction = unit.transaction
        journal = self._journals.setdefault(transaction, [])
        here = len(journal)
        journal.append((table, key, table.rows.get(key, _ABSENT)))
        transaction.writes += 1

        def undo() -> None:
            # Callbacks run in the order they were given: the first undoes what the later ones would.
            while len(journal) > here:
                where, which, before = journal.pop()
                if before is _ABSENT:
                    where.rows.pop(which, None)
                else:
                    where.rows[which] = before

        unit.on_rollback(undo)

    async def fetch(self, statement: Any, args: Any = ()) -> Any:
        del args
        return self._nowhere(statement.label)

    async def write(self, statement: Any, args: Any = (), *, check: Any = None) -> Any:
        del args, check
        return self._nowhere(statement.label)

    async def execute(self, statement: Any, args: Any = (), *, check: Any = None) -> Any:
        del args, check
        return self._nowhere(statement.label)

    async def copy(self, table: str, columns: Any, records: Any, *, check: Any = None) -> Any:
        del columns, records, check
        return self._nowhere(f"copy {table}")

    def cursor(self, statement: Any, args: Any = (), *, batch: int = 1000) -> Any:
        del args, batch
        return self._nowhere(statement.label)

    def _nowhere(self, label: str) -> NoReturn:
        raise UsageError(
            f"{label!r} needs a PostgreSQL, and this test has its rows in memory: test it with the fixture `timber`."
        )
