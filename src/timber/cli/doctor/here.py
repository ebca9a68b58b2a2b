"""What runs here: versions, and settings that do not go together."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from timber.cli.doctor.findings import Finding, listed
from timber.models.column_types import nearest
from timber.running import EMBEDDED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from timber.settings import TimberSettings

_PACKAGES = ("timber-async", "SQLAlchemy", "asyncpg", "pydantic", "redis")


def versions() -> Iterator[Finding]:
    """Which versions are at work."""
    found = [f"Python {platform.python_version()}"]
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:  # run from a checkout that nobody installed
            found.append(f"{package}, not installed")
    yield Finding("Versions", "ok", listed(found, len(found)))


def names(given: TimberSettings) -> Iterator[Finding]:
    """What is spelt so that it counts for nothing."""
    fields = type(given).model_fields
    for name in sorted(os.environ):
        field = name.lower().removeprefix("timber_")
        if field == name.lower() or field in fields or field.startswith("test_"):
            continue
        # What is like no setting is the application's own.
        if hint := nearest(field, fields):
            yield Finding(
                "Environment",
                "warning",
                f"{name} is not a setting{hint}: it does nothing.",
                "Mend its name, or take it out.",
            )
    if given.env and not given.production and "production".startswith(given.env.lower()):
        yield Finding(
            "Environment",
            "warning",
            f"TIMBER_ENV is {given.env}, which is not production: what is only for development is allowed.",
            "Write TIMBER_ENV=production in full.",
        )


def settings(given: TimberSettings) -> Iterator[Finding]:
    """What the settings forget, or ask for that is not meant for production."""
    if given.production and given.database_url == EMBEDDED:
        yield Finding(
            "Embedded server",
            "problem",
            "TIMBER_ENV is production, and the database is the embedded one.",
            "Set TIMBER_DATABASE_URL to a PostgreSQL that is looked after: backups, monitoring, updates.",
        )
    elif given.database_url == EMBEDDED:
        yield Finding(
            "Embedded server", "note", "The database is the embedded one, for development only."
        )
    if given.idle_in_transaction_session_timeout is None:
        yield Finding(
            "Timeouts",
            "warning",
            "A transaction may stay open for ever: idle_in_transaction_session_timeout is off.",
            "Set TIMBER_IDLE_IN_TRANSACTION_SESSION_TIMEOUT to a minute, say.",
        )
    if given.production and given.lock_timeout is None:
        yield Finding(
            "Timeouts",
            "note",
            f"A statement waits for a lock up to its statement_timeout, {given.statement_timeout:g} s.",
            "Set TIMBER_LOCK_TIMEOUT to a few seconds, so that one stuck transaction does not hold up all others.",
        )
    if given.production and given.echo:
        yield Finding(
            "Echo",
            "warning",
            "Every statement is logged.",
            "Take TIMBER_ECHO out; slow statements are logged anyway.",
        )
