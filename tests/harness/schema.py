"""The schema that every test database starts with."""

from __future__ import annotations

from timber.database.manager import AsyncDatabaseManager
from timber.models import ModelRegistry


async def create_schema(url: str) -> None:
    """Make the tables of the built-in models in the template database, once a test run."""
    db = AsyncDatabaseManager(url, metadata=ModelRegistry().metadata)
    try:
        await db.create_all_tables()
    finally:
        await db.dispose()
