"""One examination: every check in its order; what cannot be looked at is itself a finding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from timber.cli.doctor.cache import cache
from timber.cli.doctor.connections import connections, pooler, transactions
from timber.cli.doctor.findings import Finding, Patient, understood
from timber.cli.doctor.here import names, versions
from timber.cli.doctor.here import settings as check_settings
from timber.cli.doctor.indexes import indexes
from timber.cli.doctor.server import extensions, server
from timber.cli.reaching import reached
from timber.errors import ConfigurationError, ServiceError, UnavailableError
from timber.models.registry import ModelRegistry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from timber.settings import TimberSettings

_OF_THE_DATABASE: Final[tuple[Callable[[Patient], AsyncIterator[Finding]], ...]] = (
    server,
    extensions,
    connections,
    pooler,
    transactions,
    indexes,
)


async def examine(
    settings: TimberSettings, *, instances: int = 1, busy_seconds: float = 60.0
) -> list[Finding]:
    """Everything there is to say about these settings and what they lead to."""
    findings = [*versions(), *names(settings), *check_settings(settings)]
    registry = _models(settings, findings)
    try:
        async with reached(settings) as db:
            patient = Patient(settings, db, registry, instances, busy_seconds)
            for check in _OF_THE_DATABASE:
                await _look(check, patient, findings)
    except (ConfigurationError, UnavailableError) as error:
        findings.append(
            Finding(
                "PostgreSQL",
                "problem",
                error.message,
                "Nothing can be said about the database until it is reached.",
            )
        )
    findings += [finding async for finding in cache(settings)]
    return findings


def _models(settings: TimberSettings, findings: list[Finding]) -> ModelRegistry | None:
    try:
        registry = ModelRegistry(
            dirs=settings.model_config_dirs, search_language=settings.search_language
        )
    except ConfigurationError as error:
        findings.append(
            Finding("Models", "problem", error.message, "Mend them; timber check reads them again.")
        )
        return None
    findings.append(understood(settings, registry))
    return registry


async def _look(
    check: Callable[[Patient], AsyncIterator[Finding]], patient: Patient, findings: list[Finding]
) -> None:
    try:
        findings += [finding async for finding in check(patient)]
    except UnavailableError:
        raise
    except ServiceError as error:
        findings.append(
            Finding(
                check.__name__.capitalize(),
                "warning",
                f"This could not be looked at: {error.message}",
                "Let the role read statistics: GRANT pg_monitor TO it.",
            )
        )
