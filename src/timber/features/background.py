"""Work that goes on beside requests: what it is, and the loop that keeps it going, in an application or in ``timber worker``."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from timber.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

logger: logging.Logger = logging.getLogger(__name__)

_FIRST_WAIT: Final = 0.5
_LONGEST_WAIT: Final = 30.0


class BackgroundWork(Protocol):
    """Work in pieces: each is bounded, and may be done by any number of processes at once."""

    @property
    def name(self) -> str:
        """What it is called in logs and on the command line."""
        raise NotImplementedError

    async def step(self) -> int:
        """Do one piece, and say how much that was; 0 where there is nothing to do now."""
        raise NotImplementedError

    async def figures(self) -> Mapping[str, float]:
        """How it stands: what is left to do, how old the oldest of it is, what could not be done."""
        raise NotImplementedError


@runtime_checkable
class GivesUp(BackgroundWork, Protocol):
    """Work that can fail for good, and leaves that for somebody to look at."""

    async def retry_dead(self) -> int:
        """Have everything tried again that was given up; how much that is."""
        raise NotImplementedError


class Background:
    """Keeps work going until it is told to stop: each kind by itself, pausing when there is nothing to do.

    An error of Timber's is logged, and the work taken up again after a while, from 0.5 to 30 s; any other one ends it all.

    Args:
        idle_seconds: how long a kind of work pauses that had nothing to do.
        grace_seconds: how long the piece that is being done may take to finish when it is told to stop, before it is
            cancelled.
        report: told of each piece that was done: the name of the work, and how much it was.
    """

    def __init__(
        self,
        work: Sequence[BackgroundWork],
        *,
        idle_seconds: float = 1.0,
        grace_seconds: float = 10.0,
        report: Callable[[str, int], None] | None = None,
    ) -> None:
        self._work = tuple(work)
        self._idle_seconds = idle_seconds
        self._grace_seconds = grace_seconds
        self._report = report or _say_nothing
        self._over = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def figures(self) -> dict[str, dict[str, float]]:
        """How each kind of work stands."""
        return {work.name: dict(await work.figures()) for work in self._work}

    async def retry_dead(self) -> dict[str, int]:
        """Have everything tried again that was given up; how much of each kind of work."""
        return {
            work.name: await work.retry_dead() for work in self._work if isinstance(work, GivesUp)
        }

    # In an application

    def start(self) -> None:
        """Begin, in a task of its own."""
        if self._task is None:
            self._over.clear()
            self._task = asyncio.get_running_loop().create_task(
                self.run(), name="timber-background"
            )
            self._task.add_done_callback(_say_why_it_ended)

    async def close(self) -> None:
        """Finish the pieces that are being done, within the grace, and end."""
        self.stop()
        if self._task is not None:
            await asyncio.wait([self._task])
            self._task = None

    # The loop

    def stop(self) -> None:
        """Have :meth:`run` return after the pieces that are being done."""
        self._over.set()

    async def run(self) -> None:
        """Work until :meth:`stop` is called."""
        tasks = [asyncio.create_task(self._keep_going(work)) for work in self._work]
        tasks.append(asyncio.create_task(self._wait_for_the_end()))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            self._over.set()
            await asyncio.wait(tasks, timeout=self._grace_seconds)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in tasks:
            if not task.cancelled():
                task.result()

    async def run_once(self) -> dict[str, int]:
        """Work until nothing is left to do now; how much was done of each kind.

        Raises:
            ServiceError: what stopped the work.
        """
        done = dict.fromkeys((work.name for work in self._work), 0)
        for work in self._work:
            while not self._over.is_set() and (number := await work.step()):
                done[work.name] += number
                self._report(work.name, number)
        return done

    async def _keep_going(self, work: BackgroundWork) -> None:
        wait = _FIRST_WAIT
        while not self._over.is_set():
            try:
                number = await work.step()
            except ServiceError as error:
                logger.warning("%s failed and goes on in %.1f s: %s", work.name, wait, error)
                await self._pause(wait)
                wait = min(wait * 2, _LONGEST_WAIT)
                continue
            wait = _FIRST_WAIT
            if number:
                self._report(work.name, number)
            else:
                await self._pause(self._idle_seconds)

    async def _wait_for_the_end(self) -> None:
        await self._over.wait()

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._over.wait()
        except TimeoutError:
            pass


def _say_nothing(_name: str, _number: int) -> None:
    pass


def _say_why_it_ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("Background work ended with %s.", type(error).__name__, exc_info=error)
