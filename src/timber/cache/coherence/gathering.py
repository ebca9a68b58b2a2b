"""The reads of one tick of the event loop, sent as one MGET."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    Values = list[bytes | None]
    Ask = Callable[[Sequence[str]], Awaitable[Values]]

_LIMIT = 1000


class _Batch:
    __slots__ = ("error", "places", "values", "waiting")

    def __init__(self) -> None:
        self.places: dict[str, int] = {}
        self.waiting: list[asyncio.Future[None]] = []
        self.values: Values = []
        self.error: Exception | None = None

    def add(self, keys: Sequence[str]) -> list[int]:
        places = self.places
        return [places.setdefault(key, len(places)) for key in keys]

    def end(self) -> None:
        for future in self.waiting:
            if not future.done():
                future.set_result(None)


class Gathering:
    """Collects keys until the tick is over. The first reader asks for all; alone, it needs no task for that.

    Args:
        ask: gives the values of keys.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._open: _Batch | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def read(self, keys: Sequence[str]) -> Values:
        """The values of the keys, in their order."""
        batch = self._open
        if batch is None or len(batch.places) + len(keys) > _LIMIT:
            batch = self._open = _Batch()
            places = batch.add(keys)
            await self._lead(batch)
        else:
            places = batch.add(keys)
            await self._wait(batch)
        if batch.error is not None:
            raise batch.error
        values = batch.values
        return [values[place] for place in places]

    async def _lead(self, batch: _Batch) -> None:
        try:
            await asyncio.sleep(0)  # whoever reads in this tick joins
        finally:
            if self._open is batch:
                self._open = None
            if batch.waiting:
                # Of its own, so that a leader who is cancelled takes nobody with it.
                task = asyncio.get_running_loop().create_task(self._run(batch))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        if batch.waiting:
            await self._wait(batch)
        else:
            await self._run(batch)

    async def _wait(self, batch: _Batch) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        batch.waiting.append(future)
        await future

    async def _run(self, batch: _Batch) -> None:
        try:
            batch.values = await self._ask(tuple(batch.places))
        except Exception as error:  # noqa: BLE001  # raised in each reader's own task
            batch.error = error
        finally:
            batch.end()
