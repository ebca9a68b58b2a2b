"""How long callers wait for a connection, counted for telemetry."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

BOUNDS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the histogram's buckets in seconds; one more bucket takes what is above."""


class Waits:
    """Counts of one manager, which only grow: whoever reports them takes differences.

    Attributes:
        at_once: how many had a connection without a wait.
        waited: how many had to wait, whatever came of it.
        seconds: how long they waited together.
        buckets: how many of them waited up to each of :data:`BOUNDS`, and above the last; not cumulative.
        timed_out: how many waited in vain.
        refused: how many found the queue full.
        waiting: how many wait now.
        listeners: told of each wait that is over, in seconds.
    """

    __slots__ = (
        "at_once",
        "buckets",
        "listeners",
        "refused",
        "seconds",
        "timed_out",
        "waited",
        "waiting",
    )

    def __init__(self) -> None:
        self.at_once: int = 0
        self.waited: int = 0
        self.seconds: float = 0.0
        self.buckets: list[int] = [0] * (len(BOUNDS) + 1)
        self.timed_out: int = 0
        self.refused: int = 0
        self.waiting: int = 0
        self.listeners: list[Callable[[float], object]] = []

    def note(self, seconds: float) -> None:
        """Count one wait that is over."""
        self.waited += 1
        self.seconds += seconds
        self.buckets[bisect_left(BOUNDS, seconds)] += 1
        for listener in self.listeners:
            listener(seconds)
