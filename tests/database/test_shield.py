"""Shield: a coroutine goes on to its end, or to a deadline, whatever cancellations arrive."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import pytest

from tests.database.cancelling import Steps
from timber.database.shield import Shield


def _never() -> object:
    raise AssertionError("it was to be in time")


def shield(
    seconds: float = 5, give_up: Callable[[], object] = _never, *, patient: bool = False
) -> Shield:
    return Shield(lambda: seconds, give_up, patient=patient)


async def _several_steps(seen: list[int], steps: int = 3) -> str:
    for number in range(steps):
        await asyncio.sleep(0.002)
        seen.append(number)
    return "done"


async def test_the_result_comes_through():
    seen: list[int] = []
    guard = shield()
    assert await guard.run(_several_steps(seen)) == "done"
    assert (guard.cancelled, guard.expired) == (None, False)
    guard.reraise()


async def test_an_exception_comes_through_with_its_traceback():
    async def fail() -> None:
        await asyncio.sleep(0)
        raise LookupError("inside")

    with pytest.raises(LookupError, match="inside") as caught:
        await shield().run(fail())
    assert caught.traceback[-1].name == "fail"


async def test_what_is_awaited_may_fail_and_may_be_done_already():
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    future.set_result(3)

    async def three() -> int:
        return await future

    assert await shield().run(three()) == 3
    failed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(failed.set_exception, KeyError("x"))

    async def fail() -> int:
        return await failed

    with pytest.raises(KeyError):
        await shield().run(fail())


async def test_it_stays_in_the_task_and_context_of_its_caller():
    async def where() -> Any:
        await asyncio.sleep(0)
        return asyncio.current_task()

    assert await shield().run(where()) is asyncio.current_task()


async def test_a_coroutine_that_does_not_wait_needs_no_loop_step():
    async def at_once() -> int:
        return 1

    steps = Steps(0, "early")

    async def run() -> None:
        assert await shield().run(at_once()) == 1

    await steps.drive(run())
    assert steps.seen == 0


@pytest.mark.parametrize("timing", ["early", "late", "repeated", "late and repeated"])
@pytest.mark.parametrize("at", range(1, 6))
async def test_a_cancellation_at_any_step_is_kept_for_afterwards(at: int, timing: Any):
    seen: list[int] = []
    kept: list[BaseException | None] = []

    async def run() -> None:
        async def inner() -> str:
            await asyncio.sleep(0)
            result = await _several_steps(seen)
            await asyncio.sleep(0)
            return result

        guard = shield()
        assert await guard.run(inner()) == "done"
        kept.append(guard.cancelled)
        guard.reraise()

    steps = Steps(at, timing)
    task = asyncio.create_task(steps.drive(run()))
    steps.act = lambda: task.cancel("stop")
    with pytest.raises(asyncio.CancelledError, match="stop") as caught:
        await task
    assert seen == [0, 1, 2]
    assert kept == [caught.value]


async def test_a_storm_of_cancellations_does_not_reach_it():
    seen: list[int] = []

    async def run() -> None:
        guard = shield()
        await guard.run(_several_steps(seen, 5))
        guard.reraise()

    task = asyncio.create_task(run())
    await asyncio.sleep(0)
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == [0, 1, 2, 3, 4]


async def test_the_deadline_gives_up_and_raises_inside():
    gave_up: list[float] = []
    loop = asyncio.get_running_loop()
    caught: list[BaseException] = []

    async def hang() -> None:
        try:
            await loop.create_future()
        except TimeoutError as error:
            caught.append(error)
            raise

    guard = shield(0.02, lambda: gave_up.append(loop.time()))
    started = loop.time()
    with pytest.raises(TimeoutError):
        await guard.run(hang())
    assert guard.expired
    assert len(caught) == len(gave_up) == 1
    assert 0.015 < gave_up[0] - started < 1


async def test_giving_up_may_end_what_is_waited_for(caplog: pytest.LogCaptureFixture):
    """As terminating a connection does; nobody is told of an error that nobody looked at."""

    async def wait() -> None:
        waited: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        give_up.append(lambda: waited.set_exception(ConnectionError()))
        await waited

    give_up: list[Callable[[], None]] = []
    with pytest.raises(TimeoutError):
        await shield(0.01, lambda: give_up[0]()).run(wait())  # noqa: PLW0108  # there is none yet
    await asyncio.sleep(0)
    gc.collect()
    assert not caplog.records


async def test_a_coroutine_that_goes_on_after_the_deadline_is_stopped_at_each_step():
    tries = 0

    async def stubborn() -> str:
        nonlocal tries
        for _ in range(3):
            tries += 1
            try:
                await asyncio.sleep(10)
            except TimeoutError:
                continue
        return "in the end"

    assert await shield(0.01, lambda: None).run(stubborn()) == "in the end"
    assert tries == 3


async def test_a_deadline_that_is_over_already_lets_the_first_message_out():
    sent: list[str] = []

    async def send() -> None:
        sent.append("COMMIT")
        await asyncio.get_running_loop().create_future()

    with pytest.raises(TimeoutError):
        await shield(0, lambda: None).run(send())
    assert sent == ["COMMIT"]


async def test_the_deadline_holds_while_cancellations_arrive():
    async def run() -> None:
        guard = shield(0.03, lambda: None)
        with pytest.raises(TimeoutError):
            await guard.run(asyncio.sleep(10))
        guard.reraise()

    task = asyncio.create_task(run())
    async with asyncio.timeout(1):
        while not task.done():
            task.cancel()
            await asyncio.sleep(0.001)
    assert task.cancelled()


async def test_a_patient_one_has_no_deadline_until_it_is_cancelled():
    asked: list[float] = []
    loop = asyncio.get_running_loop()

    def seconds() -> float:
        asked.append(loop.time())
        return 0.02

    async def run() -> None:
        guard = Shield(seconds, lambda: None, patient=True)
        try:
            await guard.run(asyncio.sleep(10))
        finally:
            assert guard.expired
            guard.reraise()

    task = asyncio.create_task(run())
    await asyncio.sleep(0.06)
    assert not task.done()
    assert not asked
    task.cancel()
    await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(1):
            await task
    assert len(asked) == 1, "a second cancellation does not put it off"


async def test_no_timer_and_no_warning_is_left_behind(caplog: pytest.LogCaptureFixture):
    loop = asyncio.get_running_loop()

    async def wait() -> None:
        future: asyncio.Future[None] = loop.create_future()
        loop.call_later(0.02, future.set_exception, LookupError("nobody waits any more"))
        await future

    with pytest.raises(TimeoutError):
        await shield(0.01, lambda: None).run(wait())
    await shield().run(asyncio.sleep(0.02))
    gc.collect()
    await asyncio.sleep(0)
    assert not caplog.records
    assert not [handle for handle in loop._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]


async def test_shields_inside_one_another():
    seen: list[int] = []
    inner, outer = shield(), shield()

    async def nested() -> str:
        result = await inner.run(_several_steps(seen))
        inner.reraise()
        return result

    async def run() -> None:
        assert await outer.run(nested()) == "done"
        assert inner.cancelled is None, "the outer one keeps it"
        outer.reraise()

    task = asyncio.create_task(run())
    await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == [0, 1, 2]
