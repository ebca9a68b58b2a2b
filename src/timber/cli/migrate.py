"""``timber migrate``: the schema of a database, one step after the other."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer

from timber.cli.answers import FOUND, Json, answer
from timber.cli.options import DatabaseURL, Models, settings_of
from timber.errors import ConfigurationError

app: typer.Typer = typer.Typer(
    help="Change the schema of a database step by step, forth and back.", no_args_is_help=True
)

Directory = Annotated[
    Path, typer.Option("--directory", "-d", help="Where the migrations are.", file_okay=False)
]
LockTimeout = Annotated[
    float, typer.Option(help="Seconds that a statement waits for a lock.", min=0.001)
]
Attempts = Annotated[
    int, typer.Option(help="How often a migration that did not get its lock is tried.", min=1)
]
_DIRECTORY = Path("migrations")


@app.command()
def init(directory: Directory = _DIRECTORY, as_json: Json = False) -> None:
    """Write the files that migrations begin with."""
    written = _commands().init(directory)
    answer({"wrote": written}, (f"wrote {path}" for path in written), as_json=as_json)


@app.command()
def new(
    message: Annotated[str, typer.Option("--message", "-m", help="What it changes.")],
    directory: Directory = _DIRECTORY,
    database_url: DatabaseURL = None,
    models: Models = None,
    empty: Annotated[bool, typer.Option("--empty", help="Write one to be filled by hand.")] = False,
    as_json: Json = False,
) -> None:
    """Write a migration from the differences between the models and the database."""
    settings = settings_of(database_url, models)
    files = _commands().new(directory, message=message, settings=settings, empty=empty)
    data = {"wrote": [{"path": _from_here(file.path), "destroys": file.loses} for file in files]}
    answer(data, as_json=as_json)
    if as_json:
        return
    if not files:
        typer.echo("Nothing has changed: no migration was written (--empty writes one).")
    for file in files:
        typer.echo(f"wrote {_from_here(file.path)}")
        for lost in file.loses:
            typer.echo(f"  it destroys data: {lost}", err=True)
    if files and not settings.model_config_dirs:
        typer.echo(
            "  no folder of models is named (TIMBER_MODEL_CONFIG_DIRS, --models): besides Timber's own it knows only those "
            "that env.py passes",
            err=True,
        )
    if files:
        typer.echo("Read before you run it: what it does is your decision.")


@app.command()
def up(
    revision: Annotated[str, typer.Argument(help="The last one to apply.")] = "head",
    directory: Directory = _DIRECTORY,
    database_url: DatabaseURL = None,
    models: Models = None,
    lock_timeout: LockTimeout = 5.0,
    attempts: Attempts = 10,
    as_json: Json = False,
) -> None:
    """Apply the migrations that the database has not seen yet."""
    commands = _commands()
    patience = commands.Patience(lock_timeout, attempts)
    settings = settings_of(database_url, models)
    applied = commands.up(directory, revision, settings=settings, patience=patience)
    lines = [f"applied {done}" for done in applied.revisions]
    if applied.stamped is not None:
        lines.insert(0, f"The tables are what the models want: marked as {applied.stamped}.")
    elif not applied.revisions:
        lines = ["Another process has done it." if applied.waited else "Nothing to do."]
    data = {
        "applied": applied.revisions,
        "stamped": applied.stamped,
        "waited_for_another_process": applied.waited,
    }
    answer(data, lines, as_json=as_json)


@app.command()
def down(
    revision: Annotated[
        str, typer.Argument(help="The last one to keep; `base` takes back all.", show_default="one")
    ] = "-1",
    directory: Directory = _DIRECTORY,
    database_url: DatabaseURL = None,
    models: Models = None,
    lock_timeout: LockTimeout = 5.0,
    attempts: Attempts = 10,
    as_json: Json = False,
) -> None:
    """Take back the last migration, or those after another one."""
    commands = _commands()
    patience = commands.Patience(lock_timeout, attempts)
    settings = settings_of(database_url, models)
    undone = commands.down(directory, revision, settings=settings, patience=patience)
    lines = [f"took back {taken}" for taken in undone.revisions] or ["Nothing to do."]
    answer({"took_back": undone.revisions}, lines, as_json=as_json)


@app.command()
def check(
    directory: Directory = _DIRECTORY,
    database_url: DatabaseURL = None,
    models: Models = None,
    as_json: Json = False,
) -> None:
    """Say what in the database is not as the models want it; the exit code is 1 if anything is."""
    settings = settings_of(database_url, models)
    differences = _commands().check(directory, settings=settings)
    answer({"differences": list(map(str, differences))}, differences, as_json=as_json)
    if differences:
        raise typer.Exit(FOUND)


@app.command()
def sql(
    revisions: Annotated[
        str, typer.Argument(help="The last one, or from:to, also backwards.")
    ] = "head",
    directory: Directory = _DIRECTORY,
    lock_timeout: LockTimeout = 5.0,
    as_json: Json = False,
) -> None:
    """Print the migrations as an SQL script, without a database."""
    script: str = _commands().sql(directory, revisions, lock_timeout=lock_timeout)
    answer({"sql": script}, [script.removesuffix("\n")], as_json=as_json)


def _from_here(path: Path) -> Path:
    """A path as one would type it: below the current folder without what leads there."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _commands() -> ModuleType:
    """The functions behind the commands.

    Raises:
        ConfigurationError: alembic is not installed.
    """
    try:
        return import_module("timber.database.migrations.commands")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("alembic", "mako"):
            raise
        raise ConfigurationError(
            "Migrations need alembic, which is not installed. It comes with "
            "pip install 'timber-async[migrations]'"
        ) from error
