"""``timber audit``: whether the audit is as it was written, where its chain ends, and sealing it by hand."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from timber.cli.answers import FOUND, Json, answer
from timber.cli.options import DatabaseURL, settings_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from timber.cli.progress import Bar
    from timber.database.manager import AsyncDatabaseManager
    from timber.features.audit import Anchor, AuditKeys, AuditReport
    from timber.settings import TimberSettings

app: typer.Typer = typer.Typer(
    help="Prove that the audit is as it was written, and keep it so.", no_args_is_help=True
)

Anchors = Annotated[
    list[Path] | None,
    typer.Option(
        "--anchor",
        help="A file from `timber audit anchor`; may be given again.",
        exists=True,
        dir_okay=False,
        show_default=False,
    ),
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="A file, instead of the screen.", show_default=False),
]


@app.command()
def verify(anchor: Anchors = None, database_url: DatabaseURL = None, as_json: Json = False) -> None:
    """Hold every row against its seal and every seal against the one before; 1 if anything is not as it was."""
    import asyncio

    from timber.cli.progress import progress
    from timber.features.audit import Anchor

    settings = settings_of(database_url)
    anchors = [Anchor.read(path.read_bytes()) for path in anchor or ()]
    with progress("Verifying", resumes=False, quiet=as_json) as bar:
        report = asyncio.run(_verify(settings, anchors, bar))
    data = {"ok": report.ok, **report.model_dump(mode="json")}
    answer(data, _told(report, anchored=bool(anchors)), as_json=as_json)
    if not report.ok:
        raise typer.Exit(FOUND)


@app.command()
def anchor(output: Output = None, database_url: DatabaseURL = None, as_json: Json = False) -> None:
    """Print where the chain of seals ends now, to be kept where nobody who owns the database can change it."""
    import asyncio

    found = asyncio.run(_anchor(settings_of(database_url)))
    text = found.model_dump_json()
    if output is not None:
        output.write_text(text + "\n", encoding="utf-8")
    lines = [text] if output is None else [f"wrote {output}: seal {found.number}"]
    answer(found.model_dump(mode="json"), lines, as_json=as_json)


@app.command()
def seal(database_url: DatabaseURL = None, as_json: Json = False) -> None:
    """Seal what has finished, as the application does by itself."""
    import asyncio

    rows = asyncio.run(_seal(settings_of(database_url)))
    answer({"sealed_rows": rows}, [f"sealed {rows:,} rows"], as_json=as_json)


async def _verify(settings: TimberSettings, anchors: list[Anchor], bar: Bar) -> AuditReport:
    from timber.features.audit import verify as verified

    async with _audit_of(settings) as (db, keys):
        return await verified(db, keys, anchors, on_rows=bar.advance)


async def _anchor(settings: TimberSettings) -> Anchor:
    from timber.errors import NotFoundError
    from timber.features.audit import read_anchor

    async with _audit_of(settings) as (db, _):
        found = await read_anchor(db)
    if found is None:
        raise NotFoundError("Nothing has been sealed yet: `timber audit seal` does it.")
    return found


async def _seal(settings: TimberSettings) -> int:
    from timber.features.audit import Sealer

    async with _audit_of(settings) as (db, keys):
        return await Sealer(db, keys).seal_all()


@asynccontextmanager
async def _audit_of(
    settings: TimberSettings,
) -> AsyncGenerator[tuple[AsyncDatabaseManager, AuditKeys]]:
    from timber.cli.reaching import reached
    from timber.database.statements import Statement
    from timber.errors import ConfigurationError
    from timber.features.audit import AuditKeys

    key = settings.audit_key
    keys = AuditKeys.of_setting(key.get_secret_value() if key is not None else "")
    there = Statement("SELECT to_regclass('timber_audit') IS NOT NULL AS it_is", label="look")
    async with reached(settings) as db:
        if not (await db.fetch(there))[0]["it_is"]:
            raise ConfigurationError(
                f"There is no audit in {db.target}: no model declares `audit: true`, or its tables have not been made "
                "(timber migrate up)."
            )
        yield db, keys


def _told(report: AuditReport, *, anchored: bool) -> Iterator[Any]:
    for problem in report.problems:
        yield f"{problem.kind}: {problem.message}"
    if report.problem_count > len(report.problems):
        yield f"and {report.problem_count - len(report.problems):,} more"
    if report.ok:
        yield f"{report.sealed_rows:,} rows under {report.seals:,} seals are as they were sealed."
    if report.unsealed_rows:
        age = f"{report.unsealed_seconds:,.1f} s"
        yield f"{report.unsealed_rows:,} rows are not sealed yet, the oldest for {age}."
    if report.without_salt:
        yield f"{report.without_salt:,} rows have lost their salts to an erasure."
    if report.ok and not anchored:
        yield "What may have been cut off the end is found with --anchor."
