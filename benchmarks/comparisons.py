"""Ways of doing one thing, timed beside one another: with a feature and without, by one cache and by another."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from sqlalchemy import URL

from benchmarks.estimates import Estimate
from benchmarks.harness import BATCH_CALLS, BATCH_SECONDS, Measurement, in_turns, share_out

Call = Callable[[Any], Awaitable[object]]


async def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class Comparison:
    """One thing done in several ways, one after another or with several tasks.

    Attributes:
        ways: by their names; ``base`` is the one that the others are divided by.
        inputs: makes one input for each of so many calls; not timed.
        bounds: what a way's time divided by the base's may be at most.
        limits: what one call of a way may take at most, in microseconds, where a ratio would say nothing.
        restore: what is done between two batches; not timed.
    """

    name: str
    title: str
    base: str
    ways: Mapping[str, Call]
    inputs: Callable[[int], Sequence[Any]]
    tasks: int = 1
    bounds: Mapping[str, float] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)
    restore: Callable[[], Awaitable[None]] = _nothing

    async def seconds(self, way: str, calls: int) -> float:
        """What ``calls`` calls take."""
        inputs = self.inputs(calls)
        gc.collect()
        began = perf_counter()
        await share_out(self.ways[way], inputs, self.tasks)
        seconds = perf_counter() - began
        await self.restore()
        return seconds

    async def measure(self, rounds: int) -> Measurement:
        """Time every way in ``rounds`` rounds."""
        for way in self.ways:
            await self.seconds(way, 10 * self.tasks)
        trial = 8 * self.tasks
        taken = min([await self.seconds(self.base, trial) for _ in range(3)])
        share = round(min(BATCH_SECONDS / (taken / trial), BATCH_CALLS) / self.tasks)
        calls = max(1, share) * self.tasks
        return await self.time(rounds, calls)

    async def time(self, rounds: int, calls: int) -> Measurement:
        """Time batches of ``calls`` calls, the ways in rotated order."""
        seconds: dict[str, list[float]] = {way: [] for way in self.ways}
        for round_ in range(rounds):
            for way in in_turns(list(self.ways), round_):
                seconds[way].append(await self.seconds(way, calls) / calls)
        return Measurement(self.tasks, calls, seconds)


@dataclass(frozen=True, slots=True)
class Compared:
    """What came out of one comparison."""

    comparison: Comparison
    measurement: Measurement

    def ratio(self, way: str) -> Estimate:
        """The way's time divided by the base's."""
        return self.measurement.ratio(way, self.comparison.base)

    def microseconds(self, way: str) -> float:
        return self.measurement.typical(way) * 1e6

    def verdict(self, way: str) -> str:
        """What was aimed at and whether it was reached; empty where nothing was."""
        bound, limit = self.comparison.bounds.get(way), self.comparison.limits.get(way)
        if bound is not None:
            reached = self.ratio(way).median <= bound
            return f"≤ {bound:g}: {'reached' if reached else 'not reached'}"
        if limit is not None:
            reached = self.microseconds(way) < limit
            return f"< {limit:g} µs: {'reached' if reached else 'not reached'}"
        return ""


Suite = Callable[[URL], AbstractAsyncContextManager[Sequence[Comparison]]]
"""Comparisons on an empty database of their own."""
