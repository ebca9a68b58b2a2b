"""From settings to a running cache over the models of one database."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from timber.cache.binding import Binding
from timber.cache.coherence.cache import CoherentCache
from timber.cache.coherence.connecting import coherent_cache
from timber.cache.embedded import EmbeddedValkey
from timber.cache.memory import MemoryCache
from timber.database.statements import Statement
from timber.errors import ConfigurationError, ServiceError

if TYPE_CHECKING:
    from timber.database.manager import AsyncDatabaseManager
    from timber.models.registry import ModelRegistry
    from timber.settings import TimberSettings

EMBEDDED: Final = "embedded"
MEMORY: Final = "memory"

_SERVER = Statement("SELECT system_identifier FROM pg_control_system()", label="which server")
_DATABASE = Statement(
    "SELECT oid::text || ' ' || datname || ' ' || coalesce(current_schema(), '') AS name "
    "FROM pg_database WHERE datname = current_database()",
    label="which database",
)


async def open_cache(
    settings: TimberSettings, db: AsyncDatabaseManager, registry: ModelRegistry
) -> CoherentCache | None:
    """The cache that settings ask for, started; None if they ask for none.

    Raises:
        ConfigurationError: the URL is not one of Redis, or the embedded server is asked for in production or cannot start.
    """
    url = settings.cache_url
    if url is None or not settings.cache_enabled:
        return None
    server = await _start_embedded(settings) if url == EMBEDDED else None
    try:
        cache = coherent_cache(
            server.url if server is not None else None if url == MEMORY else url,
            db,
            prefix=settings.cache_prefix or await default_prefix(db),
            memory=MemoryCache(max_entries=settings.cache_entries, max_bytes=settings.cache_bytes),
            is_sole_writer=settings.cache_sole_writer,
        )
        binding = Binding(cache, db, registry)
        cache.on_close.append(binding.unbind)
        await cache.start()
    except BaseException:
        if server is not None:
            await server.stop()
        raise
    if server is not None:
        cache.on_close.append(server.stop)
    return cache


async def default_prefix(db: AsyncDatabaseManager) -> str:
    """What the keys of a database begin with: no two have the same, whatever they are called and wherever they are."""
    row = (await db.fetch(_DATABASE))[0]
    try:
        server = (await db.fetch(_SERVER))[0]["system_identifier"]
    except ServiceError:
        server = db.target  # whoever manages the server does not let us ask
    digest = blake2b(f"{server} {row['name']}".encode(), digest_size=6).hexdigest()
    return f"timber:{digest}"


async def _start_embedded(settings: TimberSettings) -> EmbeddedValkey:
    if settings.production:
        raise ConfigurationError(
            "The embedded Valkey is for development and TIMBER_ENV is production: set cache_url to a server's."
        )
    return await EmbeddedValkey(settings.embedded_directory / "valkey").start()
