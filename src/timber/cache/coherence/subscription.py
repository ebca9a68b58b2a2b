"""The subscription to the clears of every process, and the ping that finds it dead."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from timber.cache.coherence.listening import Listening
    from timber.cache.coherence.redis_store import RedisStore
    from timber.cache.coherence.writing import Writing

logger = logging.getLogger(__name__)

PING_SECONDS = 1.0
_PONG_SECONDS = 1.0
_AGAIN_SECONDS = 0.1


class Subscription:
    """Holds the subscription for as long as it runs.

    Args:
        client: a client that does not repeat commands: one that quietly subscribed anew would hide what it missed.
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
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Subscribe, listen, and again whenever it is lost."""
        while True:
            try:
                await self._listen()
            except (RedisError, OSError, TimeoutError) as error:
                logger.info("The cache's subscription was lost: %s", type(error).__name__)
            finally:
                self.ready.clear()
                self._listening.lost()
                # The next server to answer may be another one.
                self._store.forget_epoch()
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        pubsub = self._client.pubsub()
        try:
            async with asyncio.timeout(_PONG_SECONDS):
                await pubsub.subscribe(self._channel)
            next_ping = loop.time() + _PONG_SECONDS
            is_subscribed = False
            pong_by = next_ping
            while True:
                message: Any = await pubsub.get_message(timeout=max(0.001, next_ping - loop.time()))
                if message is not None:
                    kind = message["type"]
                    if kind == "message":
                        self._listening.message(message["data"])
                    elif kind == "pong":
                        pong_by = float("inf")
                    elif kind == "subscribe":
                        if is_subscribed:
                            raise ConnectionResetError  # the client has connected anew behind our back
                        is_subscribed = True
                        pong_by = float("inf")
                        await self._subscribed()
                now = loop.time()
                if now >= pong_by:
                    raise TimeoutError
                if now >= next_ping:
                    next_ping = now + PING_SECONDS
                    pong_by = min(pong_by, now + _PONG_SECONDS)
                    async with asyncio.timeout(_PONG_SECONDS):
                        await pubsub.ping()
                    await self._store.probe()
        finally:
            await pubsub.aclose()  # type: ignore[no-untyped-call]

    async def _subscribed(self) -> None:
        if not await self._store.probe():
            raise ConnectionResetError
        self._listening.subscribed()
        if not await self._writing.repeat_recent():
            raise ConnectionResetError
        self.ready.set()
