"""Where migrations run: the models' tables, the settings, and connections of their own."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import orjson
from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from timber.database.embedded import EmbeddedPostgres
from timber.database.urls import connect_arguments, name_of, parse_url
from timber.dto import encode_json

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable

    from timber.settings import TimberSettings

VERSION_TABLE: Final = "alembic_version"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an ``env.py`` says.

    Attributes:
        metadata: makes the tables of the models, once.
        ignore: patterns of the names of tables that are none of the models' business.
    """

    settings: TimberSettings
    metadata: Callable[[], MetaData]
    ignore: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        settings: TimberSettings,
        tables: MetaData | Callable[[TimberSettings], MetaData],
        ignore: Iterable[str],
    ) -> Surroundings:
        """With tables that are there, or made of the settings when they are first asked for."""

        @cache
        def metadata() -> MetaData:
            return tables if isinstance(tables, MetaData) else tables(settings)

        return cls(settings, metadata, tuple(ignore))

    def leaves_out(self, table: str) -> bool:
        """Whether a table is none of the models' business."""
        return any(fnmatchcase(table, pattern) for pattern in (VERSION_TABLE, *self.ignore))


@dataclass(frozen=True, slots=True)
class Server:
    """A database that can be connected to."""

    engine: AsyncEngine
    target: str
    """How errors call it: never with a password."""


@asynccontextmanager
async def connected_to(settings: TimberSettings, *, lock_timeout: float) -> AsyncGenerator[Server]:
    """The database of the settings; the embedded server is started for it.

    Args:
        lock_timeout: how long a statement waits for a lock, in seconds.

    Raises:
        ConfigurationError: there is none, or it is not one of PostgreSQL.
    """
    embedded = None
    address = settings.database_url
    if address == "embedded":
        embedded = await EmbeddedPostgres.start(settings.embedded_directory / "postgres")
        address = embedded.url
    try:
        url = parse_url(address)
        engine = create_async_engine(
            url.set(query={}),
            poolclass=NullPool,
            hide_parameters=True,
            json_serializer=encode_json,
            json_deserializer=orjson.loads,
            connect_args=_arguments(connect_arguments(url, settings), settings, lock_timeout),
        )
        try:
            yield Server(engine, name_of(url))
        finally:
            await engine.dispose()
    finally:
        if embedded is not None:
            await embedded.stop()


def _arguments(
    arguments: dict[str, Any], settings: TimberSettings, lock_timeout: float
) -> dict[str, Any]:
    # A migration may take its time, as long as it keeps nobody waiting.
    unhurried = {"statement_timeout": "0", "idle_in_transaction_session_timeout": "0"}
    server = {
        **arguments["server_settings"],
        **unhurried,
        "lock_timeout": str(max(1, round(lock_timeout * 1000))),
        "application_name": f"{settings.application_name} migrate",
    }
    return {**arguments, "server_settings": server}
