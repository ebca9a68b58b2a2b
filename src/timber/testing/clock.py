"""A clock that stands still until a test moves it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from timber.errors import UsageError

_BEGIN: Final = datetime(2024, 1, 1, 12, tzinfo=UTC)


class StoppedClock:
    """The current time as tests want it: ``Timber(..., clock=StoppedClock())``.

    Args:
        now: where it stands at first, aware.
    """

    def __init__(self, now: datetime = _BEGIN) -> None:
        self._now = _aware(now)

    def __call__(self) -> datetime:
        """The time it shows."""
        return self._now

    def advance(self, seconds: float = 0.0, **parts: float) -> datetime:
        """Move it on: ``clock.advance(30)``, ``clock.advance(days=2)``; the time it shows then."""
        self._now += timedelta(seconds=seconds, **parts)
        return self._now

    def set(self, now: datetime) -> None:
        """Set it to a time, aware.

        Raises:
            UsageError: the time has no zone.
        """
        self._now = _aware(now)


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise UsageError("A clock shows a time with its zone: datetime(..., tzinfo=UTC).")
    return moment
