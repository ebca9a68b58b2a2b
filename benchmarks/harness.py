"""Rounds: the contenders take turns, and a round's times are compared with one another only."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

from benchmarks.estimates import Estimate, estimate, paired_ratios

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from benchmarks.contenders import Contender
    from benchmarks.database import World
    from benchmarks.operations import Operation

    Call = Callable[[Any], Awaitable[object]]

TASKS = 32
BATCH_SECONDS = 0.1
"""How long the limit's batch of one round takes, about."""
BATCH_CALLS = 4000
BATCH_ROWS = 20_000
"""The most that one batch writes, so that inputs and clean-up stay cheap."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """Seconds per call of every contender, round by round."""

    operation: str
    tasks: int
    calls: int
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def typical(self, contender: str) -> float:
        return median(self.seconds[contender])

    def ratio(self, contender: str, to: str) -> Estimate:
        return estimate(paired_ratios(self.seconds[contender], self.seconds[to]))


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is done: ``rounds`` of each operation; ``calls`` a batch, or as many as fill the time."""

    rounds: int
    calls: int | None = None


async def measure(
    operation: Operation,
    contenders: Sequence[Contender],
    world: World,
    *,
    tasks: int,
    effort: Effort,
) -> Measurement:
    """Time ``operation`` of every contender in ``effort.rounds`` rounds, ``tasks`` at a time."""
    calls = effort.calls or 0
    if effort.calls is None:
        calls = await _calibrate(operation, contenders[0], world, tasks)
        for contender in contenders:
            await _batch(operation, contender, world, 0, calls, tasks)
    result = Measurement(
        operation.name, tasks, calls, {contender.name: [] for contender in contenders}
    )
    for round_ in range(effort.rounds):
        for contender in _order(contenders, round_):
            seconds = await _batch(operation, contender, world, round_, calls, tasks)
            result.seconds[contender.name].append(seconds / calls)
    return result


async def warm_up(operation: Operation, contenders: Sequence[Contender], world: World) -> None:
    """Open every connection and let each prepare its statements; PostgreSQL settles on a plan at the sixth use."""
    for contender in contenders:
        await _batch(operation, contender, world, 0, 10 * TASKS, TASKS)


def _order(contenders: Sequence[Contender], round_: int) -> list[Contender]:
    """Rotated, so that each comes first equally often; every other turn backwards, so that neighbours change."""
    turn, start = divmod(round_, len(contenders))
    rotated = [*contenders[start:], *contenders[:start]]
    return rotated if turn % 2 == 0 else rotated[::-1]


async def _calibrate(operation: Operation, contender: Contender, world: World, tasks: int) -> int:
    """How many calls of the limit fill a batch; a multiple of ``tasks``."""
    trial = tasks * (operation.small if tasks == 1 else 2)
    seconds = min([await _batch(operation, contender, world, 0, trial, tasks) for _ in range(3)])
    most = min(BATCH_CALLS, BATCH_ROWS // operation.rows)
    wanted = min(BATCH_SECONDS / (seconds / trial), most)
    return max(1, round(wanted / tasks)) * tasks


async def _batch(
    operation: Operation,
    contender: Contender,
    world: World,
    round_: int,
    calls: int,
    tasks: int,
) -> float:
    """Seconds that ``calls`` calls take; inputs are made before and traces removed after."""
    inputs = await operation.inputs(world, calls, round_)
    call: Call = getattr(contender, operation.method)
    # The collector stays on, for its work belongs to whoever makes the garbage; each starts with none.
    gc.collect()
    if tasks == 1:
        began = perf_counter()
        await _one_by_one(call, inputs)
        seconds = perf_counter() - began
    else:
        shares = [inputs[number::tasks] for number in range(tasks)]
        began = perf_counter()
        await asyncio.gather(*(_one_by_one(call, share) for share in shares))
        seconds = perf_counter() - began
    if operation.writes:
        await world.restore()
    return seconds


async def _one_by_one(call: Call, inputs: Sequence[object]) -> None:
    for value in inputs:
        await call(value)
