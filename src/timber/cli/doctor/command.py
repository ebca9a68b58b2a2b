"""The command itself: its options, and what its exit code says."""

from __future__ import annotations

from typing import Annotated

import typer

from timber.cli.answers import FOUND, Json, answer
from timber.cli.options import DatabaseURL, Models, settings_of

Instances = Annotated[
    int, typer.Option(help="How many processes of the application run at once.", min=1)
]
Busy = Annotated[
    float, typer.Option(help="Seconds that a transaction may last before it is named.", min=0)
]
Strict = Annotated[bool, typer.Option("--strict", help="Take warnings for problems.")]


def doctor(
    database_url: DatabaseURL = None,
    models: Models = None,
    instances: Instances = 1,
    busy_seconds: Busy = 60.0,
    strict: Strict = False,
    as_json: Json = False,
) -> None:
    """Find what is wrong with the database and the way to it, and say what to do; 1 if there is a problem."""
    import asyncio
    from dataclasses import asdict

    from timber.cli.doctor.examining import examine
    from timber.cli.doctor.findings import LEVELS, worst
    from timber.cli.doctor.showing import show

    settings = settings_of(database_url, models)
    findings = asyncio.run(examine(settings, instances=instances, busy_seconds=busy_seconds))
    if as_json:
        answer({"findings": [asdict(finding) for finding in findings]}, as_json=True)
    else:
        show(findings)
    limit = "warning" if strict else "problem"
    if LEVELS.index(worst(findings)) >= LEVELS.index(limit):
        raise typer.Exit(FOUND)
