"""The gate in front of the pool, where everybody waits who waits for a connection."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import NamedTuple

from timber.database.waits import Waits
from timber.errors import PoolTimeoutError


class Gate:
    """Lets a bounded number in at once, the others in the order they came.

    Everybody who waits for a connection waits here, where a place is never lost to a cancellation and the wait has an end.

    Args:
        queue: how many may wait; None for any number.
        waits: where the waits are counted.
    """

    __slots__ = ("_free", "_queue", "_queued", "_sweep", "_waiting", "_waits")

    def __init__(
        self, places: int, *, queue: int | None = None, waits: Waits | None = None
    ) -> None:
        self._free = places
        self._queue = queue
        self._queued = 0
        self._waits = waits or Waits()
        self._waiting: deque[_Waiting] = deque()
        self._sweep: asyncio.TimerHandle | None = None

    async def enter(self, seconds: float) -> None:
        """Take a place.

        Raises:
            PoolTimeoutError: none became free within ``seconds``, or too many wait already.
        """
        waits = self._waits
        if self._free > 0:
            self._free -= 1
            waits.at_once += 1
            return
        if self._queue is not None and self._queued >= self._queue:
            waits.refused += 1
            raise PoolTimeoutError(
                f"{self._queued} callers wait for a database connection already, which is pool_queue: the service gets more "
                "work than it can do. Shorten the transactions, raise pool_size, or take in less."
            )
        await self._wait(seconds)

    async def _wait(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        place: asyncio.Future[None] = loop.create_future()
        began = loop.time()
        until = began + seconds
        self._waiting.append(_Waiting(place, until, seconds))
        # One timer for all who wait: a timer each would cost more than the wait itself under load.
        if self._sweep is None or until < self._sweep.when():
            self._sweep_at(until, loop)
        self._queued += 1
        self._waits.waiting += 1
        try:
            await place
        except BaseException:
            if place.done() and not place.cancelled() and place.exception() is None:
                self.leave()  # given and cancelled at once
            raise
        finally:
            self._queued -= 1
            self._waits.waiting -= 1
            self._waits.note(loop.time() - began)

    def leave(self) -> None:
        """Give the place to the one who has waited longest."""
        while self._waiting:
            place = self._waiting.popleft().place
            if not place.done():
                place.set_result(None)
                return
        self._free += 1

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(not waiting.place.done() for waiting in self._waiting)

    def _sweep_at(self, moment: float, loop: asyncio.AbstractEventLoop) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
        self._sweep = loop.call_at(moment, self._refuse_late, loop)

    def _refuse_late(self, loop: asyncio.AbstractEventLoop) -> None:
        self._sweep = None
        now = loop.time()
        late = [waiting for waiting in self._waiting if not waiting.still_waits(now)]
        self._waits.timed_out += sum(waiting.is_refused for waiting in late)
        self._waiting = deque(waiting for waiting in self._waiting if not waiting.place.done())
        if self._waiting:
            self._sweep_at(min(waiting.until for waiting in self._waiting), loop)


class _Waiting(NamedTuple):
    """One who waits for a place, and until when."""

    place: asyncio.Future[None]
    until: float
    seconds: float

    @property
    def is_refused(self) -> bool:
        """Whether it has waited in vain."""
        return not self.place.cancelled() and self.place.exception() is not None

    def still_waits(self, now: float) -> bool:
        """Whether it goes on waiting; one whose time is over is refused."""
        if self.place.done():
            return False
        if self.until > now:
            return True
        self.place.set_exception(
            PoolTimeoutError(
                f"No database connection became free within {self.seconds:g} s. Shorten the transactions that hold them or "
                "raise pool_size."
            )
        )
        return False
