"""What went wrong in a migration, as Timber's errors."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

from alembic.script.revision import RevisionError
from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from timber.database.errors import FOREIGN, translate
from timber.errors import ConfigurationError, DatabaseError, ServiceError, UsageError

# What PostgreSQL says then names tables and columns and never the value of a row.
_SPEAKABLE: Final = ("0A", "25", "2B", "3F", "42", "54", "55", "58")


def sqlstate_of(error: BaseException) -> str | None:
    """The SQLSTATE of an error of the driver, through SQLAlchemy's wrapping."""
    state = getattr(getattr(error, "orig", error), "sqlstate", None)
    return str(state) if state is not None else None


def failure_of(error: DBAPIError, target: str, what: str) -> ServiceError:
    """The error of a migration whose statement was refused.

    Args:
        what: which migration failed, and what became of what it had done.
    """
    state = sqlstate_of(error) or ""
    said = said_by_server(error) if state.startswith(_SPEAKABLE) else ""
    translated = translate(error, target)
    message = f"{what}: {said or translated.message}"
    if said or not isinstance(translated, DatabaseError):
        return DatabaseError(message, sqlstate=state or None)
    translated.message = message
    translated.args = (message,)
    return translated


def said_by_server(error: DBAPIError) -> str:
    """What PostgreSQL said, in one line."""
    innermost: Any = getattr(error.orig, "driver_exception", None) or error.orig
    text = str(innermost.args[0]) if innermost is not None and innermost.args else ""
    return text.strip().partition("\n")[0]


@contextmanager
def timber_errors(target: str = "the database") -> Generator[None]:
    """What Alembic and the driver raise inside leaves as Timber's errors; what a migration's own code raises, as it is."""
    try:
        yield
    except (CommandError, RevisionError) as error:
        raise UsageError(str(error)) from error
    except FOREIGN as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise ConfigurationError(f"Cannot use {error.filename}: {error.strerror}.") from error
        if isinstance(error, SQLAlchemyError) and not isinstance(error, DBAPIError):
            raise UsageError(f"SQLAlchemy refused a step of the migration: {error}") from error
        raise translate(error, target) from error
