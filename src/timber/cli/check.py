"""``timber check``: whether the application could start here; for CI and before a rollout."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Final

import typer

from timber.cli.answers import FOUND, Json, answer
from timber.cli.options import DatabaseURL, Models, settings_of

if TYPE_CHECKING:
    from timber.cli.doctor.findings import Finding
    from timber.settings import TimberSettings

Offline = Annotated[
    bool,
    typer.Option("--offline", help="Look at settings and models only; reach for no server."),
]
_ABOUT_TABLES: Final = frozenset({"Tables", "Missing indexes", "Broken indexes"})


def check(
    database_url: DatabaseURL = None,
    models: Models = None,
    offline: Offline = False,
    as_json: Json = False,
) -> None:
    """Say whether settings, models, keys and servers are such that the application starts; 1 if not."""
    import asyncio

    from timber.cli.doctor.findings import worst
    from timber.cli.doctor.showing import show

    settings = settings_of(database_url, models)
    findings = asyncio.run(look(settings, offline=offline))
    if as_json:
        answer({"findings": [asdict(finding) for finding in findings]}, as_json=True)
    else:
        show(findings)
    if worst(findings) == "problem":
        raise typer.Exit(FOUND)


async def look(settings: TimberSettings, *, offline: bool) -> list[Finding]:
    """Everything that has to be right before a start."""
    from timber.app import Timber
    from timber.cli.doctor.cache import cache
    from timber.cli.doctor.findings import Finding, Patient, understood
    from timber.cli.doctor.here import names
    from timber.cli.doctor.indexes import indexes
    from timber.cli.doctor.server import extensions, server
    from timber.cli.reaching import reached
    from timber.errors import ServiceError
    from timber.models.registry import ModelRegistry

    findings = [Finding("Settings", "ok", f"for {settings.env}"), *names(settings)]
    try:
        registry = ModelRegistry(
            dirs=settings.model_config_dirs, search_language=settings.search_language
        )
        findings.append(understood(settings, registry))
        if offline:
            return findings
        async with reached(settings) as db:
            patient = Patient(settings, db, registry)
            findings += [found async for found in server(patient)]
            findings += [f async for f in extensions(patient) if f.level == "problem"]
            findings += [f async for f in indexes(patient) if f.about in _ABOUT_TABLES]
        findings += [found async for found in cache(settings)]
        async with Timber(settings=settings):
            findings.append(Finding("Start", "ok", "a Timber with these settings starts"))
    except ServiceError as error:
        findings.append(
            Finding(type(error).__name__, "problem", error.message, "Mend it, and check again.")
        )
    return findings
