"""``timber migrate``: the schema of a database, one step after the other."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated

import typer

from timber.errors import ConfigurationError, ServiceError

if TYPE_CHECKING:
    from timber.settings import SettingsKeywords, TimberSettings

app = typer.Typer(
    help="Change the schema of a database step by step, forth and back.", no_args_is_help=True
)

Directory = Annotated[
    Path, typer.Option("--directory", "-d", help="Where the migrations are.", file_okay=False)
]
DatabaseURL = Annotated[
    str | None,
    typer.Option(help="The database, instead of TIMBER_DATABASE_URL.", show_default=False),
]
Models = Annotated[
    list[Path] | None,
    typer.Option(
        help="A folder with YAML models, instead of TIMBER_MODEL_CONFIG_DIRS; may be given again.",
        show_default=False,
    ),
]
LockTimeout = Annotated[
    float, typer.Option(help="Seconds that a statement waits for a lock.", min=0.001)
]
Attempts = Annotated[
    int, typer.Option(help="How often a migration that did not get its lock is tried.", min=1)
]
_DIRECTORY = Path("migrations")


@app.command()
def init(directory: Directory = _DIRECTORY) -> None:
    """Write the files that migrations begin with."""
    with _migrations() as commands:
        for path in commands.init(directory):
            typer.echo(f"wrote {path}")


@app.command()
def new(
    message: Annotated[str, typer.Option("--message", "-m", help="What it changes.")],
    directory: Directory = _DIRECTORY,
    database_url: DatabaseURL = None,
    models: Models = None,
    empty: Annotated[  # noqa: FBT002  # an option by name
        bool, typer.Option("--empty", help="Write one to be filled by hand.")
    ] = False,
) -> None:
    """Write a migration from the differences between the models and the database."""
    with _migrations() as commands:
        settings = _settings(database_url, models)
        files = commands.new(directory, message=message, settings=settings, empty=empty)
        if not files:
            typer.echo("Nothing has changed: no migration was written (--empty writes one).")
        for file in files:
            typer.echo(f"wrote {file.path}")
            for lost in file.loses:
                typer.echo(f"  it destroys data: {lost}", err=True)
        if files:
            typer.echo("Read before you run it: what it does is your decision.")


@app.command()
def up(  # noqa: PLR0917  # a command's options
    revision: Annotated[str, typer.Argument(help="The last one to apply.")] = "head",
    directory: Directory = _DIRECTORY,
    database_url: DatabaseURL = None,
    models: Models = None,
    lock_timeout: LockTimeout = 5.0,
    attempts: Attempts = 10,
) -> None:
    """Apply the migrations that the database has not seen yet."""
    with _migrations() as commands:
        patience = commands.Patience(lock_timeout, attempts)
        settings = _settings(database_url, models)
        applied = commands.up(directory, revision, settings=settings, patience=patience)
        if applied.stamped is not None:
            typer.echo(f"The tables are what the models want: marked as {applied.stamped}.")
        elif not applied.revisions:
            who = "Another process has done it." if applied.waited else "Nothing to do."
            typer.echo(who)
        for done in applied.revisions:
            typer.echo(f"applied {done}")


@app.command()
def down(  # noqa: PLR0917  # a command's options
    revision: Annotated[
        str, typer.Argument(help="The last one to keep; `base` takes back all.", show_default="one")
    ] = "-1",
    directory: Directory = _DIRECTORY,
    database_url: DatabaseURL = None,
    models: Models = None,
    lock_timeout: LockTimeout = 5.0,
    attempts: Attempts = 10,
) -> None:
    """Take back the last migration, or those after another one."""
    with _migrations() as commands:
        patience = commands.Patience(lock_timeout, attempts)
        settings = _settings(database_url, models)
        undone = commands.down(directory, revision, settings=settings, patience=patience)
        for revision_undone in undone.revisions:
            typer.echo(f"took back {revision_undone}")
        if not undone.revisions:
            typer.echo("Nothing to do.")


@app.command()
def check(
    directory: Directory = _DIRECTORY, database_url: DatabaseURL = None, models: Models = None
) -> None:
    """Say what in the database is not as the models want it; the exit code is 1 if anything is."""
    with _migrations() as commands:
        differences = commands.check(directory, settings=_settings(database_url, models))
    for difference in differences:
        typer.echo(difference)
    if differences:
        raise typer.Exit(1)


@app.command()
def sql(
    revisions: Annotated[
        str, typer.Argument(help="The last one, or from:to, also backwards.")
    ] = "head",
    directory: Directory = _DIRECTORY,
    lock_timeout: LockTimeout = 5.0,
) -> None:
    """Print the migrations as an SQL script, without a database."""
    with _migrations() as commands:
        typer.echo(commands.sql(directory, revisions, lock_timeout=lock_timeout), nl=False)


def _settings(database_url: str | None, models: list[Path] | None) -> TimberSettings:
    from timber.settings import make_settings  # noqa: PLC0415  # --help does without

    keywords: SettingsKeywords = {"model_config_dirs": tuple(models)} if models else {}
    return make_settings(database_url, None, keywords)


@contextmanager
def _migrations() -> Generator[ModuleType]:
    """The functions behind the commands; an error leaves as its message and the exit code 2."""
    try:
        yield _commands()
    except ServiceError as error:
        typer.echo(f"timber: {error}", err=True)
        raise typer.Exit(2) from error


def _commands() -> ModuleType:
    try:
        return import_module("timber.database.migrations.commands")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("alembic", "mako"):
            raise
        raise ConfigurationError(
            "Migrations need alembic, which is not installed. It comes with "
            "pip install 'timber-async[migrations]'"
        ) from error
