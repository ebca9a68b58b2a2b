"""The subscription to the clears of every process, and the ping that finds it dead."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from timber.cache.coherence.wire import Wire, pack

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from timber.cache.coherence.listening import Listening
    from timber.cache.coherence.redis_store import RedisStore
    from timber.cache.coherence.writing import Writing

logger: logging.Logger = logging.getLogger(__name__)

PING_SECONDS = 1.0
_CONNECT_SECONDS = 1.0
_AGAIN_SECONDS = 0.1
_PING = pack([("PING",)])


class Subscription:
    """Holds the subscription for as long as it runs, on a connection of its own.

    Args:
        client: says how to connect.
        channel: where clears are announced.
    """

    def __init__(
        self, client: Redis, channel: str, store: RedisStore, listening: Listening, writing: Writing
    ) -> None:
        self._client = client
        self._channel = channel
        self._store = store
        self._listening = listening
        self._writing = writing
        self._is_answered = True
        self._is_subscribed: asyncio.Future[None]
        self.ready: asyncio.Event = asyncio.Event()

    async def run(self) -> None:
        """Subscribe, listen, and again whenever it is lost."""
        while True:
            try:
                await self._hold()
            except (RedisError, OSError, TimeoutError) as error:
                logger.info("The cache's subscription was lost: %s", type(error).__name__)
            finally:
                self.ready.clear()
                self._listening.lost()
                # The next server to answer may be another one.
                self._store.suspect()
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _hold(self) -> None:
        loop = asyncio.get_running_loop()
        self._is_subscribed = loop.create_future()
        lost: asyncio.Future[None] = loop.create_future()
        async with asyncio.timeout(_CONNECT_SECONDS):
            wire = await Wire.open(self._client, self._answered, lambda: _end(lost))
        try:
            wire.send(pack([("SUBSCRIBE", self._channel)]))
            self._is_answered = True
            tasks = {
                loop.create_task(self._begin()),
                loop.create_task(self._ping(wire)),
            }
            waiting: set[asyncio.Future[None]] = {lost, *tasks}
            try:
                while not lost.done():
                    done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                    for ended in done:
                        ended.result()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            await wire.close()

    def _answered(self, answer: Any) -> None:
        if isinstance(answer, RedisError):
            if not self._is_subscribed.done():
                self._is_subscribed.set_exception(answer)
            return
        kind = answer[0]
        if kind == b"message":
            self._listening.message(answer[2])
        elif kind == b"pong":
            self._is_answered = True
        elif kind == b"subscribe" and not self._is_subscribed.done():
            self._is_subscribed.set_result(None)

    async def _begin(self) -> None:
        await self._is_subscribed
        if not await self._store.probe():
            raise ConnectionResetError
        self._listening.subscribed()
        if not await self._writing.repeat_recent():
            raise ConnectionResetError
        self.ready.set()

    async def _ping(self, wire: Wire) -> None:
        """Half-open links are found here, and a server that has changed its role."""
        while True:
            await asyncio.sleep(PING_SECONDS)
            if not self._is_answered:
                raise TimeoutError
            self._is_answered = False
            wire.send(_PING)
            await self._store.probe()


def _end(lost: asyncio.Future[None]) -> None:
    if not lost.done():
        lost.set_exception(ConnectionResetError())
