"""What an ``env.py`` calls: migrations run here, whether ``timber migrate`` or ``alembic`` itself was called."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol

from alembic import context

from timber.database.migrations.applying import Apply
from timber.database.migrations.failures import timber_errors
from timber.database.migrations.surroundings import VERSION_TABLE, Surroundings
from timber.errors import ConfigurationError
from timber.settings import TimberSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy import MetaData

TASK: Final = "timber_task"
SETTINGS: Final = "timber_settings"


class Task(Protocol):
    """What a command does once it is known where."""

    async def run(self, surroundings: Surroundings) -> None:
        """Do it."""


def run_environment(
    tables: MetaData | Callable[[TimberSettings], MetaData], *, ignore: Iterable[str] = ()
) -> None:
    """Run the command that ``env.py`` is loaded for.

    Args:
        tables: the tables of the models, or a function that makes them of the settings.
        ignore: tables that are none of the models' business, like ``other_*``; ``check`` does not see them and ``new``
            does not drop them.

    Raises:
        ConfigurationError: there is no database URL, or the models are wrong.
        DatabaseError: PostgreSQL refused a step.
        QueryTimeoutError: a lock was not to be had in time.
        ConfigurationError: it is called where an event loop runs.
    """
    given: dict[str, Any] = context.config.attributes
    settings = given.get(SETTINGS) or TimberSettings()
    surroundings = Surroundings.of(settings, tables, ignore)
    if context.is_offline_mode():
        _write_script()
        return
    task: Task = given.get(TASK) or Apply()
    if _loop_runs():
        raise ConfigurationError(
            "Migrations have an event loop of their own: from async code, `await upgrade(...)` of "
            "timber.database.migrations.commands."
        )
    with timber_errors():
        asyncio.run(task.run(surroundings))


def _loop_runs() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _write_script() -> None:
    context.configure(
        url="postgresql+asyncpg://",
        dialect_opts={"paramstyle": "named"},
        literal_binds=True,
        version_table=VERSION_TABLE,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()
