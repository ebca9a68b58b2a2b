"""Database URLs as people write them, and what the driver wants."""

from __future__ import annotations

import inspect
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import asyncpg
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from timber.database.driver import Driver
from timber.errors import ConfigurationError

if TYPE_CHECKING:
    from timber.settings import TimberSettings

_SCHEMES = ("postgresql", "postgres", "postgresql+asyncpg")
_STATEMENT_CACHE = 1024
_WHOLE_NUMBERS = (
    "statement_cache_size",
    "max_cached_statement_lifetime",
    "prepared_statement_cache_size",
)


def parse_url(url: str | URL | None) -> URL:
    """The URL with SQLAlchemy's name of the driver.

    Raises:
        ConfigurationError: there is none, or it is not one of PostgreSQL; the message never holds the password.
    """
    if not url:
        raise ConfigurationError(
            "No database is configured. Set TIMBER_DATABASE_URL (or database_url=) to "
            "postgresql://user:password@host:port/name, or to `embedded` for a PostgreSQL that Timber starts itself."
        )
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigurationError(
            "database_url is not a URL. It reads postgresql://user:password@host:port/name; special characters in the "
            "password are written as %XX."
        ) from None
    if parsed.drivername not in _SCHEMES:
        raise ConfigurationError(
            f"database_url begins with {parsed.drivername}://. Timber works with PostgreSQL: postgresql://"
        )
    return parsed.set(drivername="postgresql+asyncpg")


def name_of(url: URL) -> str:
    """``database on host:port``, for messages."""
    host = url.host or url.query.get("host") or "localhost"
    if not isinstance(host, str):
        host = ",".join(host)
    port = f":{url.port}" if url.port else ""
    return f"database {url.database or url.username or ''!r} on {host}{port}"


def connect_arguments(url: URL, settings: TimberSettings) -> dict[str, Any]:
    """Keyword arguments for asyncpg.connect, from the URL's query and the settings.

    Raises:
        ConfigurationError: the URL has a parameter that the driver does not know.
    """
    arguments: dict[str, Any] = {
        "timeout": settings.connect_timeout,
        "statement_cache_size": _STATEMENT_CACHE,
        "connection_class": Driver,
    }
    server = {
        "application_name": settings.application_name,
        "statement_timeout": _milliseconds(settings.statement_timeout),
    }
    if settings.lock_timeout is not None:
        server["lock_timeout"] = _milliseconds(settings.lock_timeout)
    if settings.idle_in_transaction_session_timeout is not None:
        server["idle_in_transaction_session_timeout"] = _milliseconds(
            settings.idle_in_transaction_session_timeout
        )
    known = inspect.signature(asyncpg.connect).parameters
    for name, value in url.query.items():
        if name == "sslmode":
            arguments["ssl"] = value
        elif name == "connect_timeout":
            arguments["timeout"] = _number(name, value)
        elif name == "application_name":
            server[name] = str(value)
        elif name in _WHOLE_NUMBERS:
            arguments[name] = int(_number(name, value))
        elif name in known and name != "dsn":
            arguments[name] = list(value) if isinstance(value, tuple) else value
        else:
            raise ConfigurationError(
                f"database_url has a parameter {name!r} that the driver (asyncpg) does not know."
            )
    if arguments["statement_cache_size"] == 0:
        # Behind a pooler such as PgBouncer: SQLAlchemy's adapter must not keep statements, nor two of them share a name.
        arguments["prepared_statement_cache_size"] = 0
        arguments["prepared_statement_name_func"] = lambda: f"timber_{uuid4().hex}"
    return {**arguments, "server_settings": server}


def _number(name: str, value: object) -> float:
    number: float | None = None
    with suppress(ValueError):  # the error would show the value
        number = float(str(value))
    if number is None:
        raise ConfigurationError(f"The parameter {name!r} of database_url is to be a number.")
    return number


def _milliseconds(seconds: float) -> str:
    return str(max(1, round(seconds * 1000)))
