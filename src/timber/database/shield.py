"""Finishing a conversation with the server although the task that began it is cancelled.

``asyncio.shield`` needs a task of its own for that (about 17 microseconds, and another current task inside). Here the
coroutine is driven by the same task: what it waits for is waited for through a stand-in future, so that a cancellation
hits the stand-in and is kept for later, and the wait goes on.
"""

from __future__ import annotations

import asyncio
import types
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

T = TypeVar("T")


class Shield:
    """Runs one coroutine to its end, or to a deadline, whatever cancellations arrive meanwhile.

    Args:
        seconds: tells how long it may take from now; asked at the start or, with ``patient``, at the first cancellation.
        give_up: called at the deadline, before TimeoutError is raised inside the coroutine. It must not wait.

    The coroutine must not rely on cancelling its own task (``asyncio.timeout`` inside it does): that is shielded off too.
    """

    __slots__ = ("_give_up", "_patient", "_seconds", "_timer", "_waking", "cancelled", "expired")

    def __init__(
        self, seconds: Callable[[], float], give_up: Callable[[], object], *, patient: bool = False
    ) -> None:
        self._seconds = seconds
        self._give_up = give_up
        self._patient = patient
        self._timer: asyncio.TimerHandle | None = None
        self._waking: asyncio.Future[None] | None = None
        self.cancelled: asyncio.CancelledError | None = None
        """The first cancellation that arrived. Whoever runs the shield raises it afterwards."""
        self.expired: bool = False

    async def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The coroutine's result.

        Raises:
            TimeoutError: the deadline passed first.
        """
        loop = asyncio.get_running_loop()
        if not self._patient:
            self._timer = loop.call_later(self._seconds(), self._expire)
        try:
            return await self._drive(coroutine, loop)
        finally:
            if self._timer is not None:
                self._timer.cancel()

    def reraise(self) -> None:
        """Raise the cancellation that was kept back, if any."""
        if self.cancelled is not None:
            raise self.cancelled

    def _expire(self) -> None:
        self.expired = True
        self._give_up()
        if self._waking is not None and not self._waking.done():
            self._waking.set_result(None)

    def _keep(self, error: asyncio.CancelledError, loop: asyncio.AbstractEventLoop) -> None:
        if self.cancelled is None:
            self.cancelled = error
        if self._timer is None:
            self._timer = loop.call_later(self._seconds(), self._expire)

    @types.coroutine
    def _drive(
        self, coroutine: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop
    ) -> Generator[Any, None, T]:
        try:
            while True:
                try:
                    waited = (
                        coroutine.throw(TimeoutError()) if self.expired else coroutine.send(None)
                    )
                except StopIteration as stop:
                    result: T = stop.value
                    return result
                if waited is None:  # a bare yield, as of asyncio.sleep(0)
                    try:
                        yield None
                    except asyncio.CancelledError as error:
                        self._keep(error, loop)
                    continue
                waited._asyncio_future_blocking = False
                while not waited.done() and not self.expired:
                    self._waking = waking = loop.create_future()
                    wake = _Waker(waking)
                    waited.add_done_callback(wake)
                    try:
                        yield from waking
                    except asyncio.CancelledError as error:
                        self._keep(error, loop)
                    finally:
                        waited.remove_done_callback(wake)
                if self.expired:
                    waited.add_done_callback(_retrieve)
        finally:
            coroutine.close()


class _Waker:
    __slots__ = ("_future",)

    def __init__(self, future: asyncio.Future[None]) -> None:
        self._future = future

    def __call__(self, _waited: asyncio.Future[Any]) -> None:
        if not self._future.done():
            self._future.set_result(None)


def _retrieve(future: asyncio.Future[Any]) -> None:
    """Look at the exception that nobody awaits any more, so that asyncio does not report it as forgotten."""
    if not future.cancelled():
        future.exception()
