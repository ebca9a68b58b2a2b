"""Database URLs as people write them, and what the driver wants."""

from __future__ import annotations

import inspect
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import asyncpg
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from timber.database.driver import Driver
from timber.database.hosts import Host, Hosts, hosts_of, spread_hosts
from timber.database.levels import local_settings
from timber.errors import ConfigurationError

if TYPE_CHECKING:
    from timber.settings import TimberSettings

_SCHEMES = ("postgresql", "postgres", "postgresql+asyncpg")
_STATEMENT_CACHE = 1024
_OF_SEVERAL_HOSTS = ("host", "port", "target_session_attrs")
_NOT_IN_A_URL = ("dsn", "connection_class", "record_class", "loop", "server_settings")
_WHOLE_NUMBERS = (
    "statement_cache_size",
    "max_cached_statement_lifetime",
    "max_cacheable_statement_size",
    "prepared_statement_cache_size",
)
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_SECONDS = ("timeout", "command_timeout")


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
        parsed = make_url(spread_hosts(url) if isinstance(url, str) else url)
    except (ArgumentError, ValueError):
        raise ConfigurationError(
            "database_url is not a URL. It reads postgresql://user:password@host:port/name, with several host:port and "
            "commas between them for several servers; special characters in the password are written as %XX."
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
    server = _session_settings(settings)
    arguments: dict[str, Any] = {
        "timeout": settings.connect_timeout,
        "statement_cache_size": _STATEMENT_CACHE,
        "connection_class": Driver,
        "server_settings": server,
    }
    hosts = _hosts(url)
    if hosts:
        wanted = str(url.query.get("target_session_attrs", "read-write"))
        arguments["async_creator_fn"] = Hosts(hosts, wanted).connect
    for name, value in url.query.items():
        if name == "application_name":
            server[name] = str(value)
        elif not (hosts and name in _OF_SEVERAL_HOSTS):
            arguments.update(_argument(name, value))
    if settings.pgbouncer:
        arguments["statement_cache_size"] = 0
    if arguments["statement_cache_size"] == 0:
        # Behind a pooler such as PgBouncer: SQLAlchemy's adapter must not keep statements, nor two of them share a name.
        arguments["prepared_statement_cache_size"] = 0
        arguments["prepared_statement_name_func"] = lambda: f"timber_{uuid4().hex}"
    return arguments


def _session_settings(settings: TimberSettings) -> dict[str, str]:
    server = {"application_name": settings.application_name}
    if (
        not settings.pgbouncer
    ):  # which refuses the others; there each transaction sets them for itself
        server |= {
            name: _milliseconds(seconds) for name, seconds in local_settings(settings).items()
        }
    return server


def _argument(name: str, value: str | tuple[str, ...]) -> dict[str, Any]:
    """What a parameter of the URL means to the driver."""
    if name == "sslmode":
        if str(value).replace("_", "-") not in _SSL_MODES:
            raise ConfigurationError(f"sslmode in database_url is one of {', '.join(_SSL_MODES)}.")
        return {"ssl": value}
    if name == "connect_timeout":
        return {"timeout": _number(name, value)}
    if name in _SECONDS:
        return {name: _number(name, value)}
    if name in _WHOLE_NUMBERS:
        return {name: int(_number(name, value))}
    if name in inspect.signature(asyncpg.connect).parameters and name not in _NOT_IN_A_URL:
        return {name: list(value) if isinstance(value, tuple) else value}
    raise ConfigurationError(
        f"database_url has a parameter {name!r} that the driver (asyncpg) does not know."
    )


def _hosts(url: URL) -> list[Host]:
    """Several servers, of which one is to be found; a single one is the driver's business."""
    hosts: list[Host] | None = None
    with suppress(ValueError):  # the error would show the value
        hosts = hosts_of(url)
    if hosts is None:
        raise ConfigurationError(
            "A port in database_url is not a number, or there is not one for each host."
        )
    return hosts if len(hosts) > 1 else []


def _number(name: str, value: object) -> float:
    number: float | None = None
    with suppress(ValueError):  # the error would show the value
        number = float(str(value))
    if number is None or not math.isfinite(number):
        raise ConfigurationError(f"The parameter {name!r} of database_url is to be a number.")
    return number


def _milliseconds(seconds: float) -> str:
    return str(max(1, round(seconds * 1000)))
