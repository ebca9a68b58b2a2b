"""Listening: what this process hears of the changes that others make, and what it does when it hears nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from timber.cache.coherence.levels import Levels


EVERYTHING: Final = b"*"
"""The announcement that all keys are gone."""


def message_of(names: Sequence[str]) -> bytes:
    """The announcement of a clear."""
    return orjson.dumps(names)


class Listening:
    """The listener of one process: plain calls, made by whatever holds the subscription."""

    def __init__(self, levels: Levels) -> None:
        self._levels = levels
        self.lost_count: int = 0
        self.heard: int = 0

    def message(self, data: bytes) -> None:
        """Somebody has cleared these names, or everything: copies go, loads are overtaken."""
        self.heard += 1
        try:
            names = orjson.loads(data)
        except orjson.JSONDecodeError:
            names = None
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            # Somebody cleared something, and it cannot be read what.
            self._levels.drop_all()
            return
        self._levels.drop(names)

    def lost(self) -> None:
        """Nothing is heard any more: every copy may be old, and L1 stays off."""
        if self._levels.is_heard:
            self.lost_count += 1
        self._levels.is_heard = False
        self._levels.drop_all()

    def subscribed(self) -> None:
        """Changes are heard from here on; what was loaded before is not kept."""
        self._levels.drop_all()
        self._levels.is_heard = True

    def epoch_changed(self) -> None:
        """Another Redis answers, or the same one after a restart: clears may have been lost with the old one."""
        self._levels.drop_all()
