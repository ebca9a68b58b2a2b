"""``timber worker``: the work beside requests, in a process of its own."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from timber.cli.answers import Json, answer
from timber.cli.options import DatabaseURL, Models, settings_of

if TYPE_CHECKING:
    from timber.features.background import Background
    from timber.settings import TimberSettings

app: typer.Typer = typer.Typer(
    help="Do the work beside requests: embed what was written, for instance.",
    invoke_without_command=True,
)

Only = Annotated[
    list[str] | None,
    typer.Option(
        help="The name of some work, and nothing else; may be given again.", show_default=False
    ),
]
_SAYS_EVERY = 10.0  # seconds


@app.callback()
def run(
    context: typer.Context,
    database_url: DatabaseURL = None,
    models: Models = None,
    only: Only = None,
    once: Annotated[bool, typer.Option("--once", help="End when nothing is left to do.")] = False,
    idle_seconds: Annotated[
        float, typer.Option(help="Seconds of pause when there is nothing to do.", min=0.01)
    ] = 1.0,
    as_json: Json = False,
) -> None:
    """Do the work beside requests until it is told to stop: SIGTERM and Ctrl-C let it finish what it is at.

    Any number of workers may run at once.
    """
    if context.invoked_subcommand is not None:
        return
    import asyncio

    from timber.cli.progress import progress

    settings = settings_of(database_url, models)
    with progress("Working", unit="done", quiet=as_json) as bar:
        told = _Told(bar)
        found = asyncio.run(_work(settings, only, told, once=once, idle_seconds=idle_seconds))
    answer(found, _lines(found), as_json=as_json)


@app.command("retry-dead")
def retry_dead(
    database_url: DatabaseURL = None,
    models: Models = None,
    only: Only = None,
    as_json: Json = False,
) -> None:
    """Have everything tried again that was given up."""
    import asyncio

    settings = settings_of(database_url, models)
    found = asyncio.run(_asked(settings, only, "retry_dead"))
    answer(
        {"retried": found},
        (f"{name}: {number} are tried again" for name, number in found.items()),
        as_json=as_json,
    )


@app.command()
def status(
    database_url: DatabaseURL = None,
    models: Models = None,
    only: Only = None,
    as_json: Json = False,
) -> None:
    """Say what is left to do, for how long it has waited, and what was given up."""
    import asyncio

    settings = settings_of(database_url, models)
    found = asyncio.run(_asked(settings, only, "figures"))
    answer({"figures": found}, _lines({"figures": found}), as_json=as_json)


class _Told:
    """What is said while the work goes on: a bar, or now and then a line where nobody looks at a terminal."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar
        self._done: dict[str, int] = {}
        self._next = time.monotonic() + _SAYS_EVERY

    def __call__(self, name: str, number: int) -> None:
        self._bar.advance(number)
        self._done[name] = self._done.get(name, 0) + number
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _SAYS_EVERY
            typer.echo(", ".join(f"{n}: {done} done" for n, done in self._done.items()), err=True)

    @property
    def done(self) -> dict[str, int]:
        return dict(self._done)


async def _work(
    settings: TimberSettings,
    only: list[str] | None,
    told: _Told,
    *,
    once: bool,
    idle_seconds: float,
) -> dict[str, Any]:
    import asyncio
    import signal

    from timber.app import Timber

    async with Timber(settings=settings) as timber:
        background = timber.background(only=only or (), idle_seconds=idle_seconds, report=told)
        loop = asyncio.get_running_loop()
        signals = (signal.SIGTERM, signal.SIGINT)

        def stop() -> None:
            background.stop()
            for each in signals:  # a second one ends it at once
                loop.remove_signal_handler(each)

        for each in signals:
            loop.add_signal_handler(each, stop)
        try:
            await (background.run_once() if once else background.run())
        finally:
            for each in signals:
                loop.remove_signal_handler(each)
        return {"done": told.done, "figures": await background.figures()}


async def _asked(settings: TimberSettings, only: list[str] | None, question: str) -> dict[str, Any]:
    from timber.app import Timber

    async with Timber(settings=settings) as timber:
        background: Background = timber.background(only=only or ())
        found: dict[str, Any] = await getattr(background, question)()
        return found


def _lines(found: dict[str, Any]) -> list[str]:
    lines = [f"{name}: {number} done" for name, number in found.get("done", {}).items()]
    for name, figures in found["figures"].items():
        said = (f"{word.replace('_', ' ')} {value:g}" for word, value in figures.items())
        lines.append(f"{name}: {', '.join(said)}")
    return lines or ["There is no work: no model asks for any."]
