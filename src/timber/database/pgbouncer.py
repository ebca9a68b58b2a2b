"""What a pooler such as PgBouncer changes: connections are not sessions, so nothing may be kept on one."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, Protocol

import asyncpg

from timber.database.urls import connect_arguments, parse_url
from timber.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from timber.settings import TimberSettings

logger: logging.Logger = logging.getLogger(__name__)

_OF_THE_ADAPTER: Final = ("prepared_statement_cache_size", "prepared_statement_name_func")


def check_listening(settings: TimberSettings) -> None:
    """Refuse LISTEN on a connection that PgBouncer gives to somebody else after each transaction.

    Raises:
        ConfigurationError: there is a pooler, and no way past it is configured.
    """
    if settings.pgbouncer and settings.listen_url is None:
        raise ConfigurationError(
            "LISTEN, by which subscriptions hear of new rows, does not work through PgBouncer. Set listen_url, or "
            "TIMBER_LISTEN_URL, to the URL of the PostgreSQL server behind it."
        )


def warn_of_feeds(settings: TimberSettings, models: Iterable[str]) -> None:
    """Say at the start what cannot be subscribed to."""
    names = ", ".join(models)
    if settings.pgbouncer and settings.listen_url is None and names:
        logger.warning(
            "Behind PgBouncer nobody can subscribe to new rows of %s: it does not let LISTEN through. If somebody wants to, set "
            "listen_url, or TIMBER_LISTEN_URL, to the URL of the PostgreSQL server behind it.",
            names,
        )


def check_migrating(settings: TimberSettings) -> None:
    """Refuse to migrate where a lock that lasts longer than a transaction is nobody's.

    Raises:
        ConfigurationError: ``database_url`` leads to a pooler.
    """
    if settings.pgbouncer:
        raise ConfigurationError(
            "Migrations hold a lock of their session, which PgBouncer may give to somebody else. Run them with the URL of the "
            "PostgreSQL server behind it, and without pgbouncer=True (TIMBER_PGBOUNCER)."
        )


async def connect_past(settings: TimberSettings) -> asyncpg.Connection[Any]:
    """A connection to the server itself, by ``listen_url``."""
    url = parse_url(settings.listen_url)
    arguments = connect_arguments(url, settings.model_copy(update={"pgbouncer": False}))
    connect: Any = arguments.pop("async_creator_fn", asyncpg.connect)
    for name in _OF_THE_ADAPTER:
        arguments.pop(name, None)
    place = {
        "host": url.host,
        "port": url.port,
        "user": url.username,
        "password": url.password,
        "database": url.database,
    }
    given = {name: value for name, value in place.items() if value is not None}
    driver: asyncpg.Connection[Any] = await connect(**{**given, **arguments})
    return driver


class Reached(Protocol):
    """A way to a server: a manager."""

    @property
    def settings(self) -> TimberSettings: ...

    @property
    def is_pooled(self) -> bool: ...

    async def ping(self) -> None: ...


async def pooler_advice(db: Reached) -> str | None:
    """What to set because of a pooler on the way to the server, None where nothing is to be done.

    A pooler shows by the process number that it gives a new connection: it is not that of the server process which answers.

    Raises:
        ServiceError: the server cannot be asked.
    """
    await db.ping()
    settings, pooled = db.settings, db.is_pooled
    if pooled and not settings.pgbouncer:
        return (
            "There is a pooler such as PgBouncer on the way to the server. Set pgbouncer=True, or TIMBER_PGBOUNCER=true: then "
            "nothing is kept on a connection that the next transaction may not have."
        )
    if pooled and settings.listen_url is None:
        return "Subscriptions cannot listen through PgBouncer: set listen_url to the server's own URL if they are used."
    if settings.pgbouncer and not pooled:
        return (
            "pgbouncer=True is set and no pooler is on the way to the server: every statement is planned anew for nothing. "
            "Take it out."
        )
    return None
