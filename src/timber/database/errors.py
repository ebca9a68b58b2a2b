"""The one place where errors of PostgreSQL, its driver and SQLAlchemy become Timber's."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import asyncpg
import orjson
import sqlalchemy.exc
import sqlalchemy.orm.exc

from timber.errors import (
    ConfigurationError,
    ConflictError,
    DatabaseError,
    PoolTimeoutError,
    QueryTimeoutError,
    SerializationError,
    ServiceError,
    StaleDataError,
    UnavailableError,
    UnitOfWorkDoomedError,
    UsageError,
    ValidationError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

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
    if isinstance(error, asyncpg.PostgresError):
        return _by_sqlstate(error, error.sqlstate or "", target)
    if isinstance(error, sqlalchemy.exc.TimeoutError):
        return PoolTimeoutError()
    if isinstance(error, sqlalchemy.orm.exc.StaleDataError):
        return StaleDataError()
    if isinstance(error, sqlalchemy.exc.SQLAlchemyError):
        return _of_sqlalchemy(error)
    if isinstance(error, socket.gaierror):
        return UnavailableError(f"Cannot reach {target}: the host name is not known.")
    if isinstance(error, TimeoutError):
        return UnavailableError(f"Cannot reach {target}: no answer in time.")
    if isinstance(error, asyncpg.InterfaceError) and not _says_closed(error):
        return DatabaseError(
            "The driver refused the call: wrong number or type of arguments, or a wrong state."
        )
    if isinstance(error, ConnectionRefusedError | FileNotFoundError):
        return UnavailableError(f"Cannot reach {target}: nothing listens there.")
    return UnavailableError(f"The connection to {target} was lost.")


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
    return UsageError(f"SQLAlchemy refused the call ({type(error).__name__}).")


def _by_sqlstate(error: asyncpg.PostgresError, state: str, target: str) -> ServiceError:
    make = _MAKERS.get(state) or _MAKERS.get(state[:2])
    if make is not None:
        translated = make(error, target)
    else:
        translated = DatabaseError(f"PostgreSQL refused the statement (SQLSTATE {state}).")
    if isinstance(translated, DatabaseError):
        translated.sqlstate = state
    return translated


def _conflict(error: Any, _target: str) -> ServiceError:
    constraint = error.constraint_name or None
    table = error.table_name or None
    what = {
        "23505": "A row with this key exists already",
        "23503": "The change breaks a reference between rows",
        "23502": f"Column {error.column_name!r} must not be empty",
        "23514": "The row breaks a rule of its table",
        "23P01": "The row overlaps another one",
    }.get(error.sqlstate, "The table refused the change")
    where = f" (constraint {constraint})" if constraint else ""
    return ConflictError(
        f"{what}{where}.", constraint=constraint, table=table, sqlstate=error.sqlstate
    )


def _invalid(error: Any, _target: str) -> ServiceError:
    column = error.__dict__.get("column_name")
    where = f" in column {column!r}" if column else ""
    return ValidationError(f"A value does not fit its column{where} (SQLSTATE {error.sqlstate}).")


def _missing_table(_error: Any, target: str) -> ServiceError:
    return DatabaseError(
        f"A table is missing in {target}. Create the tables with "
        "`await timber.db.create_all_tables()`, or run the migrations."
    )


def _missing_column(_error: Any, target: str) -> ServiceError:
    return DatabaseError(
        f"A table in {target} lacks a column of its model: the database is older than the code. Run the migrations."
    )


_MAKERS: dict[str, Callable[[Any, str], ServiceError]] = {
    "08": lambda _, target: UnavailableError(f"The connection to {target} was lost."),
    "22": _invalid,
    "23": _conflict,
    "25006": lambda _, target: UnavailableError(
        f"{target} accepts no writes: it is a replica, or read-only."
    ),
    "25P02": lambda *_: UnitOfWorkDoomedError(),
    "25P03": lambda *_: UnavailableError(
        "The transaction sat idle for longer than idle_in_transaction_session_timeout and was ended by PostgreSQL."
    ),
    "28": lambda _, target: ConfigurationError(
        f"Cannot log in to {target}: PostgreSQL refused the user name or password."
    ),
    "3D000": lambda _, target: ConfigurationError(
        f"Cannot open {target}: there is no such database."
    ),
    "40001": lambda *_: SerializationError(),
    "40P01": lambda *_: SerializationError(
        "The transaction waited in a circle with a concurrent one (deadlock) and was rolled back. "
        "Repeat it as a whole: timber.run() does."
    ),
    "42P01": _missing_table,
    "42703": _missing_column,
    "42501": lambda _, target: DatabaseError(
        f"The database user may not do that in {target}: a privilege is missing."
    ),
    "53300": lambda _, target: UnavailableError(
        f"{target} has no connection left: max_connections is reached. Lower pool_size x instances, or raise it."
    ),
    "55P03": lambda *_: QueryTimeoutError(
        "A lock did not become free within lock_timeout: another transaction holds it."
    ),
    "57014": lambda *_: QueryTimeoutError(),
    "57P": lambda _, target: UnavailableError(f"The connection to {target} was lost."),
    **{
        state: lambda _, target: UnavailableError(f"{target} is shutting down or starting up.")
        for state in ("57P01", "57P02", "57P03", "57P05")
    },
}
