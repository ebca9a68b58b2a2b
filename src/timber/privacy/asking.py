"""Statements made for one question, sent on the driver's connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from timber.database.statements import compile_statement

if TYPE_CHECKING:
    from timber.database.manager import AsyncDatabaseManager


async def ask(db: AsyncDatabaseManager, statement: Any, label: str) -> list[Any]:
    """The rows of a read."""
    compiled = compile_statement(statement, db.dialect, label=label, expand=True)
    return await db.fetch(compiled, compiled.bind({}))


async def tell(db: AsyncDatabaseManager, statement: Any, label: str) -> int:
    """The number of rows that a write has touched."""
    compiled = compile_statement(statement, db.dialect, label=label, expand=True)
    return await db.execute(compiled, compiled.bind({}))
