"""What an examination finds: how bad it is, what was seen, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from timber.database.manager import AsyncDatabaseManager
    from timber.models.registry import ModelRegistry
    from timber.settings import TimberSettings

Level = Literal["ok", "note", "warning", "problem"]
LEVELS: Final[tuple[Level, ...]] = ("ok", "note", "warning", "problem")
"""From the best to the worst."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        about: what it was, in a word or three.
        level: how it is.
        found: what was seen.
        advice: what to do, where something is to be done.
    """

    about: str
    level: Level
    found: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Patient:
    """What is examined.

    Attributes:
        instances: how many processes of the application run at once.
        busy_seconds: how long a transaction may last before it is worth a word.
    """

    settings: TimberSettings
    db: AsyncDatabaseManager
    registry: ModelRegistry | None
    instances: int = 1
    busy_seconds: float = 60.0


def worst(findings: Iterable[Finding]) -> Level:
    """The worst level among them."""
    found = {finding.level for finding in findings}
    worst_found: Level = "ok"
    for level in LEVELS:
        if level in found:
            worst_found = level
    return worst_found


def understood(settings: TimberSettings, registry: ModelRegistry) -> Finding:
    """That the models have been read; where none are named, those of the application are not among them."""
    models = f"{len(registry.list_models())}, read and understood"
    if settings.model_config_dirs:
        return Finding("Models", "ok", models)
    return Finding(
        "Models",
        "note",
        f"{models}: all are Timber's own.",
        "Name the folder of yours by TIMBER_MODEL_CONFIG_DIRS or --models, and look again.",
    )


def listed(names: Iterable[str], most: int = 5) -> str:
    """``a, b and c``, or the first few and how many more."""
    names = list(names)
    shown, rest = names[:most], len(names) - most
    if rest > 0:
        return f"{', '.join(shown)} and {rest} more"
    return " and ".join(filter(None, [", ".join(shown[:-1]), *shown[-1:]]))
