"""The one place where errors of PostgreSQL, its driver and SQLAlchemy become Timber's."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Any

import asyncpg
import orjson
import sqlalchemy.exc
import sqlalchemy.orm.exc

from timber.database.sqlstates import error_of
from timber.errors import (
    ConfigurationError,
    DatabaseError,
    PoolTimeoutError,
    SerializationError,
    ServiceError,
    StaleDataError,
    UnavailableError,
    UsageError,
    ValidationError,
)

if TYPE_CHECKING:
    pass

FOREIGN = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    sqlalchemy.exc.SQLAlchemyError,
    sqlalchemy.exc.EmulatedDBAPIException,  # of a pool that is called without its engine
    OSError,
    EOFError,
)
"""What the layers below raise; everything else is a caller's own and passes unchanged."""

_LAYERS = (sqlalchemy.exc.SQLAlchemyError, sqlalchemy.exc.EmulatedDBAPIException)

_NO_WAY = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN)

LOST_STATES = ("08", "57P01", "57P02", "57P03", "57P05")
UNREACHABLE_STATES = (*LOST_STATES, "53300", "25006")


def translate(error: BaseException, target: str) -> ServiceError:
    """Timber's error for one of :data:`FOREIGN`, which becomes its cause, scrubbed of every value.

    Args:
        target: ``database on host:port``, named where the trouble lies there.
    """
    if isinstance(error, ServiceError):
        return error
    original = _innermost(error)
    if not isinstance(original, FOREIGN):
        original = error  # a value that SQLAlchemy could not convert
    translated = _translate(original, target)
    scrub(error)
    translated.__cause__ = error
    return translated


def is_lost(error: BaseException) -> bool:
    """Whether the connection is gone, so that the server's answer, if there was one, will never come."""
    original = _innermost(error)
    if isinstance(original, asyncpg.PostgresError):
        return (original.sqlstate or "").startswith(LOST_STATES)
    if isinstance(original, asyncpg.InterfaceError):
        return _says_closed(original)
    return isinstance(original, OSError | EOFError | asyncpg.InternalClientError)


def came_from_server(error: BaseException) -> bool:
    """Whether the server said so, and not the driver before anything was sent."""
    original = _innermost(error)
    return isinstance(original, asyncpg.PostgresError) and (
        getattr(original, "severity", None) is not None
    )


def is_refused(error: BaseException) -> bool:
    """Whether the driver said so before anything was sent, and the connection is still there."""
    return not (came_from_server(error) or is_lost(error))


def state_of(error: BaseException) -> str | None:
    """The SQLSTATE that the server gave, if it did."""
    return getattr(_innermost(error), "sqlstate", None)


def scrub(error: BaseException) -> None:
    """Take parameters, row values and statement texts out of ``error`` and of everything it was raised from."""
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        current = pending.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current, asyncpg.PostgresError | asyncpg.InterfaceError):
            _scrub_driver(current)
            continue
        if not isinstance(current, _LAYERS):
            continue
        _scrub_sqlalchemy(current)
        pending += [
            current.__cause__,
            current.__context__,
            getattr(current, "orig", None),
        ]


def _innermost(error: BaseException) -> BaseException:
    """The driver's own exception inside Timber's and SQLAlchemy's wrappers."""
    if isinstance(error, ServiceError) and error.__cause__ is not None:
        error = error.__cause__
    while isinstance(error, _LAYERS):
        # The adapter's error about a changed table forgets the driver's, which is still its cause.
        inner = getattr(error, "orig", None) or error.__cause__
        if inner is None:
            break
        error = inner
    return error


_KEPT = (
    "sqlstate",
    "severity",
    "severity_en",
    "constraint_name",
    "table_name",
    "schema_name",
    "column_name",
)


def _scrub_driver(error: Any) -> None:
    kept = {name: error.__dict__[name] for name in _KEPT if name in error.__dict__}
    state = getattr(error, "sqlstate", None)
    refused = "the connection is closed" if _says_closed(error) else "the driver refused the call"
    error.__dict__.clear()
    error.__dict__.update(kept, detail=None, hint=None)  # it cannot show itself without these two
    error.args = (f"SQLSTATE {state}" if state else refused,)
    # The driver chains the exception of its encoder, which shows the value.
    error.__cause__ = error.__context__ = None


def _scrub_sqlalchemy(error: Any) -> None:
    if isinstance(error, sqlalchemy.exc.StatementError):
        error.params = None
        error.statement = None
    elif hasattr(error, "detail"):
        error.detail = None
    if isinstance(error, sqlalchemy.exc.StatementError | sqlalchemy.exc.EmulatedDBAPIException):
        error.args = (f"SQLSTATE {getattr(_innermost(error), 'sqlstate', None)}",)


def _translate(  # noqa: PLR0911  # one line for each kind of error
    error: BaseException, target: str
) -> ServiceError:
    if isinstance(error, asyncpg.InvalidCachedStatementError):
        return SerializationError(
            "A table changed while the transaction used it. Repeat it as a whole: timber.run() does.",
            sqlstate="0A000",
        )
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return UnavailableError(
            f"None of the servers of {target} is of the wanted kind: one that accepts writes, unless "
            "target_session_attrs says otherwise."
        )
    if isinstance(error, asyncpg.PostgresError):
        return error_of(error, target)
    if isinstance(error, sqlalchemy.exc.TimeoutError):
        return PoolTimeoutError()
    if isinstance(error, sqlalchemy.orm.exc.StaleDataError):
        return StaleDataError()
    if isinstance(error, sqlalchemy.exc.SQLAlchemyError):
        return _of_sqlalchemy(error)
    if isinstance(error, asyncpg.ClientConfigurationError):
        # Its message may show the value.
        return ConfigurationError(
            "The driver (asyncpg) does not take a parameter of database_url, or does not find a file that it, or a PGSSL "
            "variable of the environment, asks for: compare them with those of asyncpg.connect()."
        )
    if isinstance(error, asyncpg.InterfaceError) and not _says_closed(error):
        return DatabaseError(
            "The driver refused the call: wrong number or type of arguments, or a wrong state."
        )
    return UnavailableError(_no_connection(error, target))


def _no_connection(error: BaseException, target: str) -> str:
    reason = None
    if isinstance(error, socket.gaierror):
        reason = "the host name is not known"
    elif isinstance(error, TimeoutError):
        reason = "no answer in time"
    elif isinstance(error, ConnectionRefusedError):
        reason = "nothing listens there"
    elif isinstance(error, FileNotFoundError):
        reason = "there is no such socket or certificate file"
    elif isinstance(error, OSError) and error.errno in _NO_WAY:
        reason = "there is no way to that host"
    if reason is None:
        return f"The connection to {target} was lost."
    return f"Cannot reach {target}: {reason}."


def _says_closed(error: BaseException) -> bool:
    text = str(error)
    return "closed" in text or "connection" in text


def _of_sqlalchemy(error: sqlalchemy.exc.SQLAlchemyError) -> ServiceError:
    if isinstance(error, sqlalchemy.exc.NoResultFound | sqlalchemy.exc.MultipleResultsFound):
        return UsageError(
            "The query was to return exactly one row and did not. Use a method that takes what is there."
        )
    if isinstance(error, sqlalchemy.exc.StatementError) and isinstance(
        error.orig, ValueError | TypeError | orjson.JSONEncodeError
    ):
        return ValidationError("A value does not fit its column.")
    refused = f"SQLAlchemy refused the call ({type(error).__name__})."
    if isinstance(error, sqlalchemy.exc.ArgumentError):
        refused += " SQL as a string has to be wrapped in sqlalchemy.text()."
    if error.code is not None:
        refused += f" What that is about: https://sqlalche.me/e/21/{error.code}"
    return UsageError(refused)
