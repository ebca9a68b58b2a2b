"""The commands and what they do; how they answer is in ``answers``."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from timber.cli.answers import FOUND, Json, answer
from timber.cli.options import DatabaseURL, Models, settings_of
from timber.cli.privacy.answers import as_data, erased, purged, show
from timber.errors import UsageError, ValidationError

if TYPE_CHECKING:
    from timber.cli.progress import Bar
    from timber.privacy.erasing import ErasureReport
    from timber.privacy.exporting import Manifest
    from timber.privacy.purging import PurgeReport
    from timber.privacy.summarising import UserDataSummary
    from timber.privacy.verifying import DeletionReport
    from timber.settings import TimberSettings

app: typer.Typer = typer.Typer(
    help="Show, copy and erase a person's data, and delete what has had its time.",
    no_args_is_help=True,
)

User = Annotated[str, typer.Argument(help="The person's id.", metavar="USER")]
Batch = Annotated[int, typer.Option(help="Rows in one transaction.", min=1, max=10_000)]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@app.command()
def summary(
    user: User,
    database_url: DatabaseURL = None,
    models: Models = None,
    as_json: Json = False,
) -> None:
    """Count the rows of each model that are about a person, and say what an erasure does with them."""
    import asyncio

    found = asyncio.run(_summary(settings_of(database_url, models), user))
    if as_json:
        answer({"rows": found.rows, **asdict(found)}, as_json=True)
    else:
        show(found)


@app.command()
def export(
    user: User,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A file, instead of the screen.", show_default=False),
    ] = None,
    database_url: DatabaseURL = None,
    models: Models = None,
    as_json: Json = False,
) -> None:
    """Copy everything that is about a person, as lines of JSON with a manifest at the end."""
    import asyncio

    settings = settings_of(database_url, models)
    if output is None:
        if as_json:
            raise UsageError("With --json the copy goes to a file: name it by --output.")
        asyncio.run(_print_export(settings, user))
        return
    manifest = asyncio.run(_export(settings, user, output))
    lines = [f"wrote {manifest.rows:,} rows to {output}"]
    answer({"file": output, **asdict(manifest)}, lines, as_json=as_json)


@app.command("check-export")
def check_export(
    file: Annotated[Path, typer.Argument(help="What `export` wrote.", exists=True, dir_okay=False)],
    as_json: Json = False,
) -> None:
    """Hold an exported file against its manifest; 1 if it is not as it was written."""
    from timber.privacy.exporting import check_export as check

    try:
        manifest = check(file)
    except ValidationError as error:
        answer({"ok": False, "problem": error.message}, [error.message], as_json=as_json)
        raise typer.Exit(FOUND) from None
    lines = [f"{manifest.rows:,} rows, as they were written at {manifest.made_at}"]
    answer({"ok": True, **asdict(manifest)}, lines, as_json=as_json)


@app.command()
def erase(
    user: Annotated[
        str | None, typer.Argument(help="The person's id.", metavar="USER", show_default=False)
    ] = None,
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Go on with every erasure that was interrupted.")
    ] = False,
    yes: Yes = False,
    batch: Batch = 1000,
    database_url: DatabaseURL = None,
    models: Models = None,
    as_json: Json = False,
) -> None:
    """Erase a person as the models say, and look for what is left; 1 if there is anything.

    Interrupted, it goes on from there when it is called again.
    """
    import asyncio

    from timber.cli.progress import progress

    if (user is None) is not unfinished:
        raise UsageError("Whom? Name a person, or say --unfinished.")
    settings = settings_of(database_url, models)
    people = [user] if user is not None else asyncio.run(_unfinished(settings))
    if not yes and not unfinished:
        _confirm(settings, people[0], as_json=as_json)
    with progress("Erasing", quiet=as_json) as bar:
        done = [(person, *asyncio.run(_erase(settings, person, batch, bar))) for person in people]
    data = {
        "erasures": [
            {
                "user": person,
                **asdict(report),
                "complete": bool(report),
                "rows": report.rows,
                "verified": as_data(verified),
            }
            for person, report, verified in done
        ]
    }
    answer(data, erased(done), as_json=as_json)
    if not all(report and verified for _, report, verified in done):
        raise typer.Exit(FOUND)


@app.command()
def verify(
    user: User,
    database_url: DatabaseURL = None,
    models: Models = None,
    as_json: Json = False,
) -> None:
    """Look for a person everywhere; 1 if anything is left, or if somewhere could not be looked."""
    import asyncio

    report = asyncio.run(_verify(settings_of(database_url, models), user))
    answer(as_data(report), str(report).splitlines(), as_json=as_json)
    if not report:
        raise typer.Exit(FOUND)


@app.command()
def purge(
    retention: Annotated[
        list[str] | None,
        typer.Option(
            help="How long soft-deleted rows of a model are kept, instead of what it says, like Session=90 days; may be "
            "given again.",
            metavar="MODEL=DAYS",
            show_default=False,
        ),
    ] = None,
    batch: Batch = 1000,
    database_url: DatabaseURL = None,
    models: Models = None,
    as_json: Json = False,
) -> None:
    """Delete for good what was soft-deleted long enough ago, and what has expired."""
    import asyncio

    from timber.cli.progress import progress

    settings = settings_of(database_url, models)
    kept = dict(_retention(word) for word in retention or ())
    with progress("Purging", quiet=as_json) as bar:
        report = asyncio.run(_purge(settings, kept, batch, bar))
    data = {"rows": report.rows, "deleted": report.deleted, "left": report.left}
    answer(data, purged(report), as_json=as_json)


async def _summary(settings: TimberSettings, user: str) -> UserDataSummary:
    from timber.app import Timber

    async with Timber(settings=settings) as timber:
        return await timber.privacy.get_user_data_summary(user)


async def _export(settings: TimberSettings, user: str, path: Path) -> Manifest:
    from timber.app import Timber

    async with Timber(settings=settings) as timber:
        return await timber.privacy.write_user_data(user, path)


async def _print_export(settings: TimberSettings, user: str) -> None:
    from timber.app import Timber

    async with Timber(settings=settings) as timber:
        async for line in timber.privacy.export_user_data(user):
            sys.stdout.write(line.decode())


async def _unfinished(settings: TimberSettings) -> list[str]:
    from timber.app import Timber

    async with Timber(settings=settings) as timber:
        return await timber.privacy.unfinished_erasures()


async def _erase(
    settings: TimberSettings, user: str, batch: int, bar: Bar
) -> tuple[ErasureReport, DeletionReport]:
    from timber.app import Timber
    from timber.privacy.erasing import ErasureProgress

    def told(step: ErasureProgress) -> None:
        bar.name(f"Erasing {step.name}")
        bar.expect(step.total)
        bar.advance(step.rows - bar.done)

    async with Timber(settings=settings) as timber:
        report = await timber.privacy.delete_user_data(user, batch=batch, progress=told)
        bar.name("Verifying")
        return report, await timber.privacy.verify_deletion(user)


async def _verify(settings: TimberSettings, user: str) -> DeletionReport:
    from timber.app import Timber

    async with Timber(settings=settings) as timber:
        return await timber.privacy.verify_deletion(user)


async def _purge(
    settings: TimberSettings, retention: dict[str, timedelta], batch: int, bar: Bar
) -> PurgeReport:
    from timber.app import Timber
    from timber.privacy.purging import PurgeProgress

    def told(step: PurgeProgress) -> None:
        bar.name(f"Purging {step.name}")
        bar.advance(step.rows - bar.done)

    async with Timber(settings=settings) as timber:
        return await timber.privacy.purge(batch=batch, retention=retention, progress=told)


def _confirm(settings: TimberSettings, user: str, *, as_json: bool) -> None:
    """Show what there is of a person, and ask.

    Raises:
        UsageError: nobody can be asked, or the answer is no.
    """
    import asyncio

    if as_json or not sys.stdin.isatty():
        raise UsageError("Nothing was erased: nobody can be asked here, so say --yes.")
    found = asyncio.run(_summary(settings, user))
    show(found)
    if not typer.confirm(f"Erase this person, {found.rows:,} rows?", err=True):
        raise UsageError("Nothing was erased.")


def _retention(word: str) -> tuple[str, timedelta]:
    model, _, days = word.partition("=")
    try:
        return model, timedelta(days=float(days))
    except (ValueError, OverflowError):
        raise UsageError(f"--retention {word}: write it like Session=90.") from None
