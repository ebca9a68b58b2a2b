"""Runs Alembic over a folder of migrations."""

from __future__ import annotations

import threading
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory

from timber.database.migrations.environment import SETTINGS, TASK
from timber.errors import ConfigurationError

if TYPE_CHECKING:
    from timber.database.migrations.environment import Task
    from timber.settings import TimberSettings

# What `op` and `context` mean in a migration is a global of Alembic's.
_ONE_AT_A_TIME: Final = threading.Lock()


def scripts_in(directory: Path | str) -> ScriptDirectory:
    """The migrations of a folder.

    Raises:
        ConfigurationError: there are none.
    """
    return ScriptDirectory.from_config(_config(directory))


def run(
    directory: Path | str,
    settings: TimberSettings | None,
    task: Task | None,
    command: Callable[[Config], object],
    *,
    output: TextIO | None = None,
) -> None:
    """Have Alembic run the folder's ``env.py`` for one of its commands, and there the task.

    Args:
        task: None for a script, which needs no database.
        output: where a script goes.
    """
    config = _config(directory, output)
    config.attributes[TASK] = task
    config.attributes[SETTINGS] = settings
    with _ONE_AT_A_TIME:
        command(config)


def only_the_task(config: Config) -> None:
    """No command of Alembic's: the task does everything."""
    scripts = ScriptDirectory.from_config(config)
    with EnvironmentContext(config, scripts, fn=lambda *_: []):
        scripts.run_env()


def _config(directory: Path | str, output: TextIO | None = None) -> Config:
    directory = Path(directory)
    if not (directory / "env.py").exists():
        raise ConfigurationError(
            f"There are no migrations in {directory}: `timber migrate init` begins with them."
        )
    # What it would print about files, the caller does.
    quiet = Namespace(quiet=True)
    config = Config(directory / "alembic.ini", output_buffer=output, cmd_opts=quiet)
    config.set_main_option("script_location", str(directory.absolute()).replace("%", "%%"))
    return config
