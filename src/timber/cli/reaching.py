"""The database of the settings, for commands that look at it as it is: nothing is made, and no model is needed."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from timber.database.embedded import EmbeddedPostgres
from timber.database.manager import AsyncDatabaseManager
from timber.running import EMBEDDED

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from timber.settings import TimberSettings


@asynccontextmanager
async def reached(
    settings: TimberSettings, kind: type[AsyncDatabaseManager] = AsyncDatabaseManager
) -> AsyncGenerator[AsyncDatabaseManager]:
    """A manager on the database, whose embedded server runs as long as the block does.

    Raises:
        ConfigurationError: none is configured, or the embedded one cannot run here.
        UnavailableError: it cannot be reached.
    """
    embedded = None
    if settings.database_url == EMBEDDED:
        embedded = await EmbeddedPostgres.start(settings.embedded_directory / "postgres")
    try:
        db = kind(embedded.url if embedded is not None else None, settings=settings)
        try:
            await db.ping()
            yield db
        finally:
            await db.close()
    finally:
        if embedded is not None:
            await embedded.stop()
