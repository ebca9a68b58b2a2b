"""The subscription to the clears of every process, and the ping that finds it dead."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from timber.cache.coherence.listening import Listening
    from timber.cache.coherence.redis_store import RedisStore
    from timber.cache.coherence.writing import Writing

logger: logging.Logger = logging.getLogger(__name__)

PING_SECONDS = 1.0
_CONNECT_SECONDS = 1.0
_AGAIN_SECONDS = 0.1


class Subscription:
    """Holds the subscription for as long as it runs, on a connection of its own.

    Args:
        client: says how to connect, by the older of the two protocols, in which messages are plain answers. A client's own
            PubSub would connect anew by itself, and nobody would know what was missed.
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
        pool: Any = self._client.connection_pool
        connection: Any = pool.make_connection()
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await connection.connect()
                await connection.send_command("SUBSCRIBE", self._channel)
            connection.socket_timeout = None
            self._is_answered = True
            create = asyncio.get_running_loop().create_task
            tasks = {create(self._listen(connection)), create(self._ping(connection))}
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            for task in done:
                task.result()
        finally:
            await connection.disconnect(nowait=True)

    async def _listen(self, connection: Any) -> None:
        while True:
            answer = await connection.read_response(timeout=math.inf)
            kind = answer[0]
            if kind == b"message":
                self._listening.message(answer[2])
            elif kind == b"pong":
                self._is_answered = True
            elif kind == b"subscribe":
                await self._subscribed()

    async def _subscribed(self) -> None:
        if not await self._store.probe():
            raise ConnectionResetError
        self._listening.subscribed()
        if not await self._writing.repeat_recent():
            raise ConnectionResetError
        self.ready.set()

    async def _ping(self, connection: Any) -> None:
        """Half-open links are found here, and a server that has changed its role."""
        while True:
            await asyncio.sleep(PING_SECONDS)
            if not self._is_answered:
                raise TimeoutError
            self._is_answered = False
            await connection.send_command("PING")
            await self._store.probe()
