"""One connection that every task of a process shares: commands go out in order, and answers come back in order.

A pool costs a checkout for each command and a connection for each task, and it connects anew behind one's back, perhaps to
another server. Here a broken connection is known at once, and whoever opens the next one asks it who it is.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from timber.cache.coherence.wire import Wire, pack

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redis.asyncio import Redis

    from timber.cache.coherence.wire import Command

_STALL_SECONDS = 0.005


class Line:
    """A connection made with a client's settings: its login, its database, its TLS.

    Args:
        client: nothing is sent by it; it only says how to connect.
        on_loss: called when the connection breaks by itself.
    """

    def __init__(self, client: Redis, on_loss: Callable[[], object]) -> None:
        self._client = client
        self._on_loss = on_loss
        self._wire: Wire | None = None
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._opening = asyncio.Lock()

    async def open(self) -> None:
        """Connect, if there is no connection."""
        async with self._opening:
            if self._wire is None:
                self._wire = await Wire.open(self._client, self._answered, self._lost)

    async def ask(self, *command: str | bytes | int, deadline: float) -> Any:
        """The answer to one command, as :meth:`ask_all` gives it."""
        return (await self.ask_all([command], deadline=deadline))[0]

    async def ask_all(self, commands: Sequence[Command], *, deadline: float) -> list[Any]:
        """The answers to commands that are sent together; the first error among them is raised.

        Args:
            deadline: seconds after which the connection is given up.

        Raises:
            RedisError: the server's own, or that there is no connection.
            TimeoutError: no answer in time.
            UnicodeEncodeError: a command holds half a character; nothing was sent.
        """
        wire = self._wire
        if wire is None:
            raise RedisConnectionError
        # What cannot be sent is not waited for: each answer that nobody asked for would shift all that follow.
        wire.send(pack(commands))
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in commands]
        self._waiting.extend(futures)
        timer = _Timer(loop, deadline, futures[-1], self._on_loss)
        try:
            answers = [await future for future in futures]
        finally:
            timer.cancel()
        for answer in answers:
            if isinstance(answer, RedisError):
                raise answer
        return answers

    def _answered(self, answer: Any) -> None:
        if not self._waiting:
            self.drop()  # nobody knows whose the next ones would be
            self._on_loss()
            return
        future = self._waiting.popleft()
        if not future.done():
            future.set_result(answer)

    def _lost(self) -> None:
        self._abandon()
        self._on_loss()

    def drop(self) -> None:
        """Break the connection: whatever comes back on it is of no use any more."""
        if self._wire is not None:
            self._wire.drop()
        self._abandon()

    def _abandon(self) -> None:
        self._wire = None
        waiting, self._waiting = self._waiting, deque()
        for future in waiting:
            if not future.done():
                future.set_exception(RedisConnectionError())
                future.exception()  # its owner may have gone already

    async def close(self) -> None:
        """Break the connection and wait until it is gone."""
        wire = self._wire
        self.drop()
        if wire is not None:
            await wire.close()


class _Timer:
    """Gives an operation up at its deadline, unless it was this process that had no time to look at the answer."""

    __slots__ = ("_deadline", "_due", "_future", "_handle", "_is_last", "_loop", "_on_loss")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        deadline: float,
        future: asyncio.Future[Any],
        on_loss: Callable[[], object],
    ) -> None:
        self._loop = loop
        self._deadline = deadline
        self._future = future
        self._on_loss = on_loss
        self._is_last = False
        self._due = loop.time() + deadline
        self._handle = loop.call_at(self._due, self._expire)

    def _expire(self) -> None:
        now = self._loop.time()
        if now - self._due > _STALL_SECONDS and not self._is_last:
            self._is_last = True
            self._due = now + self._deadline
            self._handle = self._loop.call_at(self._due, self._expire)
            return
        if not self._future.done():
            self._future.set_exception(TimeoutError())
            self._future.exception()  # its owner may have gone already
        self._on_loss()

    def cancel(self) -> None:
        self._handle.cancel()
