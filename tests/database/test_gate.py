"""The gate in front of the pool: so many at once, the others in their order."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.database.conftest import MakeDb
from tests.database.ledger import SLEEP, assert_nothing_is_held
from timber.database.gate import Gate
from timber.database.waits import BOUNDS, Waits
from timber.errors import PoolTimeoutError

# ------------------------------------------------------------------------------------------------------------ the gate


async def _enter(gate: Gate, order: list[int], number: int) -> None:
    await gate.enter(5)
    order.append(number)


async def test_the_gate_lets_so_many_in_and_the_others_in_their_order():
    gate, order = Gate(2), list[int]()
    tasks = [asyncio.create_task(_enter(gate, order, n)) for n in range(5)]
    await asyncio.sleep(0.01)
    assert order == [0, 1]
    assert gate.waiting == 3
    for expected in ([0, 1, 2], [0, 1, 2, 3], [0, 1, 2, 3, 4]):
        gate.leave()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert order == expected
    for _ in range(2):
        gate.leave()
    await asyncio.gather(*tasks)
    assert (gate._free, gate.waiting) == (2, 0)


async def test_nobody_overtakes_those_who_wait():
    gate, order = Gate(1), list[int]()
    await gate.enter(1)
    waiting = asyncio.create_task(_enter(gate, order, 1))
    await asyncio.sleep(0)
    gate.leave()
    late = asyncio.create_task(_enter(gate, order, 2))
    await waiting
    assert order == [1]
    assert not late.done()
    gate.leave()
    await late
    assert order == [1, 2]


async def test_the_wait_at_the_gate_has_an_end():
    gate = Gate(1)
    await gate.enter(1)
    started = time.monotonic()
    with pytest.raises(PoolTimeoutError, match=r"0\.03 s"):
        await gate.enter(0.03)
    assert 0.02 < time.monotonic() - started < 0.5
    assert gate.waiting == 0
    gate.leave()
    assert gate._free == 1


@pytest.mark.parametrize("granted", [False, True])
async def test_a_place_is_not_lost_to_a_cancellation(granted: bool):
    gate, order = Gate(1), list[int]()
    await gate.enter(1)
    cancelled = asyncio.create_task(_enter(gate, order, 1))
    following = asyncio.create_task(_enter(gate, order, 2))
    await asyncio.sleep(0)
    if granted:
        gate.leave()  # given to the first, which is cancelled before it takes notice
        cancelled.cancel()
    else:
        cancelled.cancel()
        gate.leave()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    await following
    assert order == [2]
    gate.leave()
    assert gate._free == 1


async def test_a_place_given_when_the_time_is_over_is_not_lost():
    gate = Gate(1)
    await gate.enter(1)
    waiter = asyncio.create_task(gate.enter(0.01))
    await asyncio.sleep(0)
    time.sleep(0.02)  # the timer and the place are due in the same step
    gate.leave()
    try:
        await waiter
    except PoolTimeoutError:
        pass
    else:
        gate.leave()
    assert gate._free == 1


async def test_a_gate_with_no_places_refuses_in_time():
    with pytest.raises(PoolTimeoutError):
        await Gate(0).enter(0.01)


async def test_a_storm_at_the_gate_loses_no_place():
    gate = Gate(3)

    async def visit(number: int) -> None:
        await gate.enter(0.01 if number % 3 else 5)
        try:
            await asyncio.sleep(0.001)
        finally:
            gate.leave()

    tasks = [asyncio.create_task(visit(n)) for n in range(300)]
    for step, task in enumerate(tasks[::4]):
        if step % 2:
            await asyncio.sleep(0)
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(r) for r in results} <= {type(None), PoolTimeoutError, asyncio.CancelledError}
    assert (gate._free, gate.waiting) == (3, 0)


# ----------------------------------------------------------------------------------------------------------- the queue


async def test_one_more_than_the_queue_takes_is_refused_at_once():
    waits = Waits()
    gate = Gate(1, queue=2, waits=waits)
    await gate.enter(1)
    queued = [asyncio.create_task(gate.enter(5)) for _ in range(2)]
    await asyncio.sleep(0)
    started = time.monotonic()
    with pytest.raises(PoolTimeoutError, match="pool_queue"):
        await gate.enter(5)
    assert time.monotonic() - started < 0.5
    assert (waits.refused, waits.waiting) == (1, 2)
    gate.leave()
    await queued[0]
    third = asyncio.create_task(gate.enter(5))
    await asyncio.sleep(0)
    assert waits.refused == 1, "there is room in the queue again"
    for _ in range(3):
        gate.leave()
        await asyncio.sleep(0)
    await asyncio.gather(*queued, third)
    assert (gate._free, waits.waiting) == (1, 0)


async def test_those_who_gave_up_leave_the_queue():
    gate = Gate(1, queue=1)
    await gate.enter(1)
    for _ in range(3):
        with pytest.raises(PoolTimeoutError, match="within"):
            await gate.enter(0.01)
        task = asyncio.create_task(gate.enter(5))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])


async def test_no_queue_at_all():
    gate = Gate(1, queue=0)
    await gate.enter(1)
    with pytest.raises(PoolTimeoutError, match="pool_queue"):
        await gate.enter(1)


async def test_the_waits_are_counted():
    waits = Waits()
    gate = Gate(1, waits=waits)
    await gate.enter(1)
    task = asyncio.create_task(gate.enter(5))
    with pytest.raises(PoolTimeoutError):
        await gate.enter(0.02)
    gate.leave()
    await task
    assert (waits.at_once, waits.waited, waits.timed_out, waits.refused) == (1, 2, 1, 0)
    assert 0.03 < waits.seconds < 2
    assert sum(waits.buckets) == 2
    assert len(waits.buckets) == len(BOUNDS) + 1


def test_a_wait_falls_into_its_bucket():
    waits = Waits()
    for seconds in (0.0, 0.001, 0.002, 11.0):
        waits.note(seconds)
    assert waits.buckets[0] == 2
    assert waits.buckets[1] == 1
    assert waits.buckets[-1] == 1


async def test_a_manager_has_a_queue_and_counts(make_db: MakeDb):
    db = make_db(pool_size=1, max_overflow=0, pool_queue=3)
    answers = await asyncio.gather(
        *(db.fetch(SLEEP, (0.05,)) for _ in range(10)), return_exceptions=True
    )
    assert sum(isinstance(answer, PoolTimeoutError) for answer in answers) == 6
    waits = db.pool_waits
    assert (waits.at_once, waits.waited, waits.refused, waits.waiting) == (1, 3, 6, 0)
    assert waits.seconds > 0.2
    assert_nothing_is_held(db)
