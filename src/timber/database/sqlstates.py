"""Timber's error for each SQLSTATE, or for its class."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from timber.errors import (
    ConfigurationError,
    ConflictError,
    DatabaseError,
    QueryTimeoutError,
    SerializationError,
    ServiceError,
    UnavailableError,
    UnitOfWorkDoomedError,
    ValidationError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import asyncpg

_EXTENSION: Final = re.compile(r'extension "(\w+)" is not available|/(\w+)\.control"')


def error_of(error: asyncpg.PostgresError, target: str) -> ServiceError:
    """Timber's error for one of PostgreSQL's.

    Args:
        target: ``database on host:port``, named where the trouble lies there.
    """
    state = error.sqlstate or ""
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
        "`await timber.db.create_all_tables()`, or run the migrations; in a statement of your own, look at the table's name."
    )


def _missing_column(_error: Any, target: str) -> ServiceError:
    return DatabaseError(
        f"A statement names a column that is not there in {target}. In a statement or expression of your own, mend the name; "
        "else a table is older than its model: `timber migrate check` says which, and `timber migrate up` brings it on."
    )


def _other_type(error: Any, target: str) -> ServiceError:
    return DatabaseError(
        f"The types in a statement do not go together (SQLSTATE {error.sqlstate}). In a statement or expression of your own, "
        "look at the types of what is compared and at the names of functions; else a column has another type in "
        f"{target} than in its model: `timber migrate check` says which."
    )


def _protocol(error: Any, target: str) -> ServiceError:
    if "startup parameter" in str(error):
        return ConfigurationError(
            f"{target} leads to a pooler that refuses settings of a connection. Set pgbouncer=True, or "
            "TIMBER_PGBOUNCER=true: then each transaction makes them for itself."
        )
    return DatabaseError(
        "The driver and the server do not understand one another (SQLSTATE 08P01)."
    )


def _missing_extension(error: Any, target: str) -> ServiceError:
    found = _EXTENSION.search(str(error))
    name = found and (found[1] or found[2])
    if not name:
        return DatabaseError(f"PostgreSQL refused the statement (SQLSTATE {error.sqlstate}).")
    package = " of pgvector" if name == "vector" else ""
    return ConfigurationError(
        f"The server of {target} has no extension {name!r}, and the tables need it: install the package{package} on "
        "the server, or take out of the models what needs it."
    )


def _missing_statement(error: Any, target: str) -> ServiceError:
    return DatabaseError(
        f"A prepared statement is not there, or there twice (SQLSTATE {error.sqlstate}). If a pooler such as PgBouncer is on "
        f"the way to {target}, set pgbouncer=True, or TIMBER_PGBOUNCER=true."
    )


_MAKERS: dict[str, Callable[[Any, str], ServiceError]] = {
    "08": lambda _, target: UnavailableError(f"The connection to {target} was lost."),
    "08P01": _protocol,
    "0A000": _missing_extension,
    "22": _invalid,
    "23": _conflict,
    "25006": lambda _, target: UnavailableError(
        f"{target} accepts no writes: it is a replica, or read-only."
    ),
    "25P02": lambda *_: UnitOfWorkDoomedError(),
    "25P03": lambda *_: UnavailableError(
        "The transaction sat idle for longer than idle_in_transaction_session_timeout and was ended by PostgreSQL."
    ),
    "26": _missing_statement,
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
    "42P05": _missing_statement,
    "42703": _missing_column,
    "42804": _other_type,
    "42883": _other_type,
    "42601": lambda *_: DatabaseError(
        "PostgreSQL does not understand the statement: there is an error in its syntax (SQLSTATE 42601)."
    ),
    "42702": lambda *_: DatabaseError(
        "A statement names a column that several of its tables have (SQLSTATE 42702): write the table before it."
    ),
    "42501": lambda _, target: DatabaseError(
        f"The database user may not do that in {target}: a privilege is missing."
    ),
    "58P01": _missing_extension,
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
