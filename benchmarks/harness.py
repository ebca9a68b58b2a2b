"""Rounds: the contenders take turns, and a round's times are compared with one another only."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

from benchmarks.estimates import Estimate, estimate, paired_ratios
from benchmarks.operations import Batch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from benchmarks.contenders import Contender
    from benchmarks.database import World
    from benchmarks.operations import Operation

    Call = Callable[[Any], Awaitable[object]]

T = TypeVar("T")

TASKS = 32
BATCH_SECONDS = 0.05
"""How long the limit's batch of one round takes, about."""
BATCH_CALLS = 4000
BATCH_ROWS = 20_000
"""The most that one batch writes, so that inputs and clean-up stay cheap."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """Seconds per call of every contender, round by round."""

    tasks: int
    calls: int
    seconds: dict[str, list[float]]

    def typical(self, contender: str) -> float:
        return median(self.seconds[contender])

    def ratio(self, contender: str, to: str) -> Estimate:
        return estimate(paired_ratios(self.seconds[contender], self.seconds[to]))


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is done: ``rounds`` of each operation; ``calls`` a batch, or as many as fill the time."""

    rounds: int
    calls: int | None = None


class Harness:
    """Lets contenders do one operation, ``tasks`` at a time."""

    def __init__(self, operation: Operation, world: World, tasks: int) -> None:
        self._operation = operation
        self._world = world
        self._tasks = tasks

    async def warm_up(self, contenders: Sequence[Contender]) -> None:
        """Open every connection and let each prepare its statements.

        PostgreSQL settles on a plan at the sixth use of a statement on a connection.
        """
        for contender in contenders:
            await self._seconds(contender, calls=10 * self._tasks)

    async def measure(self, contenders: Sequence[Contender], effort: Effort) -> Measurement:
        """Time every contender in ``effort.rounds`` rounds; the first of them decides how many calls a round has."""
        calls = effort.calls
        if calls is None:
            calls = await self._calibrate(contenders[0])
            for contender in contenders:
                await self._seconds(contender, calls)
        seconds: dict[str, list[float]] = {contender.name: [] for contender in contenders}
        for round_ in range(effort.rounds):
            for contender in in_turns(contenders, round_):
                taken = await self._seconds(contender, calls, round_)
                seconds[contender.name].append(taken / calls)
        return Measurement(self._tasks, calls, seconds)

    async def _calibrate(self, contender: Contender) -> int:
        """How many calls fill a batch; a multiple of the tasks."""
        trial = self._tasks * (self._operation.small if self._tasks == 1 else 2)
        seconds = min([await self._seconds(contender, trial) for _ in range(3)])
        most = min(BATCH_CALLS, BATCH_ROWS // self._operation.rows)
        wanted = min(BATCH_SECONDS / (seconds / trial), most)
        return max(1, round(wanted / self._tasks)) * self._tasks

    async def _seconds(self, contender: Contender, calls: int, round_: int = 0) -> float:
        """What ``calls`` calls take; inputs are made before and traces removed after."""
        inputs = await self._operation.inputs(Batch(self._world, calls, round_))
        call: Call = getattr(contender, self._operation.method)
        # The collector stays on, for its work belongs to whoever makes the garbage; each starts with none.
        gc.collect()
        began = perf_counter()
        await share_out(call, inputs, self._tasks)
        seconds = perf_counter() - began
        if self._operation.writes:
            await self._world.restore()
        return seconds


async def share_out(call: Call, inputs: Sequence[object], tasks: int) -> None:
    """Call with every input, ``tasks`` at a time."""
    if tasks == 1:
        await _one_by_one(call, inputs)
    else:
        shares = [inputs[number::tasks] for number in range(tasks)]
        await asyncio.gather(*(_one_by_one(call, share) for share in shares))


async def _one_by_one(call: Call, inputs: Sequence[object]) -> None:
    for value in inputs:
        await call(value)


def in_turns(items: Sequence[T], round_: int) -> list[T]:
    """Rotated, so that each comes first equally often; every other turn backwards, so that neighbours change."""
    turn, start = divmod(round_, len(items))
    rotated = [*items[start:], *items[:start]]
    return rotated if turn % 2 == 0 else rotated[::-1]
