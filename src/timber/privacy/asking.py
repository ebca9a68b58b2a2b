"""Statements made for one question, sent on the driver's connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from timber.database.statements import compile_statement

if TYPE_CHECKING:
    from timber.database.manager import AsyncDatabaseManager


class Question:
    """A read with its values, to be asked again and again."""

    __slots__ = ("_args", "_db", "_statement")

    def __init__(self, db: AsyncDatabaseManager, statement: Any, label: str) -> None:
        self._db = db
        self._statement = compile_statement(statement, db.dialect, label=label, expand=True)
        self._args = self._statement.bind({})

    async def rows(self) -> list[Any]:
        """What the database says now."""
        return await self._db.fetch(self._statement, self._args)


async def ask(db: AsyncDatabaseManager, statement: Any, label: str) -> list[Any]:
    """The rows of a read."""
    return await Question(db, statement, label).rows()


async def tell(db: AsyncDatabaseManager, statement: Any, label: str) -> int:
    """The number of rows that a write has touched."""
    compiled = compile_statement(statement, db.dialect, label=label, expand=True)
    return await db.execute(compiled, compiled.bind({}))
