"""The commands and their options; what they do is imported when one of them runs, so that ``--help`` is quick."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

from timber.cli import audit, cache, keys, migrate, worker
from timber.cli.answers import Commands, Json
from timber.cli.beginning import init
from timber.cli.check import check
from timber.cli.dev.command import dev
from timber.cli.doctor.command import doctor
from timber.cli.explain.command import explain
from timber.cli.privacy.command import app as privacy
from timber.cli.schema import schema

app: typer.Typer = typer.Typer(
    name="timber",
    cls=Commands,
    help="Async persistence for Python services on PostgreSQL.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # its boxes cost more time than everything else --help does
)


app.add_typer(migrate.app, name="migrate")
app.add_typer(keys.app, name="keys")
app.add_typer(audit.app, name="audit")
app.add_typer(privacy, name="privacy")
app.add_typer(worker.app, name="worker")
app.add_typer(cache.app, name="cache")
app.command()(init)
app.command()(dev)
app.command()(schema)
app.command()(check)
app.command()(doctor)
app.command()(explain)


def run(arguments: Sequence[str] | None) -> int:
    """Run one command; the answer is the exit code."""
    try:
        app(args=None if arguments is None else list(arguments), prog_name="timber")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _show_version(wanted: bool) -> None:  # noqa: FBT001  # typer calls it
    if wanted:
        try:
            typer.echo(f"timber {version('timber-async')}")
        except PackageNotFoundError:
            typer.echo("timber, not installed")
        raise typer.Exit


@app.callback()
def timber(
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Async persistence for Python services on PostgreSQL."""


@app.command()
def demo(
    database_url: Annotated[
        str,
        typer.Option(
            help="A PostgreSQL of your own, in which the tables are made. "
            "Without it one is started from a wheel; its data is under .timber/.",
            show_default=False,
        ),
    ] = "embedded",
    keep: Annotated[bool, typer.Option("--keep", help="Leave the rows there to look at.")] = False,
    as_json: Json = False,
) -> None:
    """Watch services persist ten years of stock prices in a real PostgreSQL."""
    from timber.cli.demo import run_demo

    raise typer.Exit(run_demo(database_url, keep=keep, as_json=as_json))
