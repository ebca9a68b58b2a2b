"""Cutting a coroutine off at its n-th suspension, in every way that asyncio and anyio have."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import anyio

Timing = Literal["early", "late", "repeated", "late and repeated"]
TIMINGS: tuple[Timing, ...] = ("early", "late", "repeated", "late and repeated")

Body = Callable[[], Coroutine[Any, Any, None]]


class Steps:
    """Drives a coroutine and acts at one of its suspensions.

    ``early``: before what is waited for can have happened; ``late``: when it has happened and the task has not yet taken
    notice; ``repeated``: at each later suspension again.
    """

    def __init__(self, at: int, timing: Timing) -> None:
        self.at = at
        self.timing = timing
        self.act: Callable[[], object] = lambda: None
        self.seen = 0
        self.fired = False

    async def drive(self, coroutine: Coroutine[Any, Any, None]) -> None:
        await self._drive(coroutine)

    @types.coroutine
    def _drive(self, coroutine: Coroutine[Any, Any, None]) -> Generator[Any, None, None]:
        error: BaseException | None = None
        while True:
            try:
                waited = coroutine.send(None) if error is None else coroutine.throw(error)
            except StopIteration:
                return
            error = None
            self.seen += 1
            if self.seen == self.at or ("repeated" in self.timing and self.fired):
                self._fire(waited)
            try:
                yield waited
            except BaseException as thrown:  # noqa: BLE001  # the coroutine gets it
                error = thrown

    def _fire(self, waited: asyncio.Future[Any] | None) -> None:
        self.fired = True
        if waited is None or "late" not in self.timing:
            self.act()
        else:
            # Before the task's own callback, which is added when it gets hold of the future.
            waited.add_done_callback(lambda _: self.act())


class SiblingError(Exception):
    pass


async def by_cancel(steps: Steps, body: Body) -> None:
    task = asyncio.create_task(steps.drive(body()))
    steps.act = task.cancel
    await task


async def by_timeout(steps: Steps, body: Body) -> None:
    with _timers() as timers:
        async with asyncio.timeout(_MARK):
            steps.act = timers[0]
            await steps.drive(body())


async def by_wait_for(steps: Steps, body: Body) -> None:
    with _timers() as timers:
        steps.act = lambda: timers[0]()  # noqa: PLW0108  # there is none yet
        await asyncio.wait_for(steps.drive(body()), _MARK)


async def by_task_group(steps: Steps, body: Body) -> None:
    fails: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    steps.act = partial(_fail, fails)

    async def work() -> None:
        await steps.drive(body())
        if not fails.done():
            fails.set_result(None)

    async with asyncio.TaskGroup() as group:
        group.create_task(_wait(fails))
        group.create_task(work())


async def by_the_task_group_of_its_host(steps: Steps, body: Body) -> None:
    fails: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    steps.act = partial(_fail, fails)
    async with asyncio.TaskGroup() as group:
        group.create_task(_wait(fails))
        await steps.drive(body())
        if not fails.done():
            fails.set_result(None)


async def by_fail_after(steps: Steps, body: Body) -> None:
    with anyio.fail_after(_MARK) as scope:
        steps.act = partial(_expire, scope)
        await steps.drive(body())


async def by_move_on_after(steps: Steps, body: Body) -> None:
    with anyio.move_on_after(_MARK) as scope:
        steps.act = partial(_expire, scope)
        await steps.drive(body())


async def by_anyio_task_group(steps: Steps, body: Body) -> None:
    fails: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    steps.act = partial(_fail, fails)
    async with anyio.create_task_group() as group:
        group.start_soon(_wait, fails)
        await steps.drive(body())
        if not fails.done():
            fails.set_result(None)


Mechanism = Callable[[Steps, Body], Awaitable[None]]

KEEPING: tuple[Mechanism, ...] = (by_timeout, by_wait_for, by_fail_after)
"""An exception comes out that has the outcome on it or on its causes."""
DROPPING: tuple[Mechanism, ...] = (
    by_task_group,
    by_the_task_group_of_its_host,
    by_move_on_after,
    by_anyio_task_group,
)
"""The cancellation that carries the outcome is dropped."""

_MARK = 54321.0


@contextmanager
def _timers() -> Generator[list[Callable[[], object]]]:
    """Gets hold of the timer that is set for :data:`_MARK` seconds, to let it go off at will."""
    loop = asyncio.get_running_loop()
    timers: list[Callable[[], object]] = []
    call_at = loop.call_at

    def listen(when: float, callback: Any, *args: Any, **options: Any) -> asyncio.TimerHandle:
        if abs(when - loop.time() - _MARK) < 100:
            timers.append(partial(callback, *args))
        return call_at(when, callback, *args, **options)

    loop.call_at = listen  # type: ignore[method-assign]
    try:
        yield timers
    finally:
        loop.call_at = call_at  # type: ignore[method-assign]


async def _wait(future: asyncio.Future[None]) -> None:
    await future


def _fail(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_exception(SiblingError())


def _expire(scope: anyio.CancelScope) -> None:
    scope.deadline = anyio.current_time()
