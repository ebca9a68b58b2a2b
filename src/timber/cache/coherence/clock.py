"""Time, waiting and chance, as the protocol is given them: a test gives it others and scripts every order of events."""

from __future__ import annotations

import asyncio
import contextvars
import os
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Coroutine

TOKEN_BYTES = 12


class Event(Protocol):
    """Something that several wait for and that happens once."""

    def set(self) -> None: ...

    async def wait(self) -> object: ...


class Clock(Protocol):
    """What the protocol knows of the world beside its stores."""

    def now(self) -> float:
        """Monotonic seconds."""
        raise NotImplementedError

    async def sleep(self, seconds: float) -> None:
        """Let others run for so long."""
        raise NotImplementedError

    def event(self) -> Event:
        """A new event."""
        raise NotImplementedError

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` in the background."""
        raise NotImplementedError

    def token(self) -> bytes:
        """Twelve random bytes."""
        raise NotImplementedError


class LoopClock:
    """The running event loop's time and tasks."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def now(self) -> float:
        return monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def event(self) -> Event:
        return asyncio.Event()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        # An empty context: the unit of work of whoever happens to be running is none of the background's.
        task = asyncio.get_running_loop().create_task(work, context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def token(self) -> bytes:
        return os.urandom(TOKEN_BYTES)

    async def close(self) -> None:
        """Cancel what is in the background and wait until it has ended."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
