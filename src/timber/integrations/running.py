"""The Timber of a web application: begun and ended with it, and found again by its handlers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final, TypedDict

from timber import Timber, TimberSettings
from timber.database.levels import Isolation
from timber.errors import UsageError
from timber.features.built_in import features_of
from timber.models.registry import ModelRegistry

TimberSource = Timber | Callable[[], Timber] | None
"""A Timber, what makes one when the application starts, or None: one by the settings of the environment."""

NOT_RUNNING: Final = "No Timber is running in this application: give it `{how}`, and a server or test client that runs its start."


@asynccontextmanager
async def running(source: TimberSource, drain: float) -> AsyncGenerator[Timber]:
    """A Timber that runs inside; one that runs already is left running.

    Args:
        drain: seconds that work which is going on at the end may still take.
    """
    timber = source if isinstance(source, Timber) else (source or Timber)()
    if _is_running(timber):
        yield timber
        return
    await timber.start()
    try:
        yield timber
    finally:
        await timber.close(drain)


def models_of(timber: Timber | None) -> ModelRegistry:
    """The models of a Timber, running or not; without one, those that the environment's settings name."""
    if timber is not None:
        return timber.registry
    settings = TimberSettings()
    return ModelRegistry(
        dirs=settings.model_config_dirs,
        features=features_of(settings).providers,
        search_language=settings.search_language,
    )


def _is_running(timber: Timber) -> bool:
    try:
        timber.db  # noqa: B018  # it raises
    except UsageError:
        return False
    return True


class UnitOptions(TypedDict, total=False):
    """The options of :meth:`Timber.unit_of_work`."""

    isolation: Isolation | None
    read_only: bool
    deferrable: bool
    statement_timeout: float | None
    lock_timeout: float | None
    independent: bool
