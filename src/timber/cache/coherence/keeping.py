"""What goes on in the background: probing a Redis that was lost, repeating clears, deleting and replaying owed rows."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from timber.errors import ServiceError

if TYPE_CHECKING:
    from timber.cache.coherence.breaker import Breaker
    from timber.cache.coherence.clock import Clock
    from timber.cache.coherence.owing import Owing
    from timber.cache.coherence.redis_store import RedisStore
    from timber.cache.coherence.writing import Writing

logger: logging.Logger = logging.getLogger(__name__)

BEAT_SECONDS = 0.1
POLL_SECONDS = 0.5


class Keeping:
    """One loop for all of it, a beat every 0.1 s; owed rows of others are looked for every 0.5 s."""

    def __init__(
        self,
        clock: Clock,
        store: RedisStore,
        breaker: Breaker,
        writing: Writing,
        owing: Owing | None,
    ) -> None:
        self._clock = clock
        self._store = store
        self._breaker = breaker
        self._writing = writing
        self._owing = owing
        self._next_poll = clock.now()
        self._is_waiting = False

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            await self._clock.sleep(BEAT_SECONDS)
            await self.beat()

    async def beat(self) -> None:
        """One round."""
        if self._breaker.is_open and not await self._store.probe():
            return
        await self._writing.retry()
        is_due = self._clock.now() >= self._next_poll
        if is_due:
            self._next_poll = self._clock.now() + POLL_SECONDS
        await self._pay(replay=is_due)

    async def settle(self) -> None:
        """Delete the rows whose clears are confirmed."""
        await self._pay(replay=False)

    async def finish(self) -> None:
        """A last round, without the rows of others."""
        await self._writing.retry()
        await self._pay(replay=False)

    async def _pay(self, *, replay: bool) -> None:
        if self._owing is None:
            return
        try:
            await self._owing.delete_settled()
            if replay:
                await self._owing.replay()
        except ServiceError as error:
            # The rows stay, and so does what they owe.
            level = logging.DEBUG if self._is_waiting else logging.INFO
            logger.log(level, "Owed invalidations wait for the database: %s", type(error).__name__)
            self._is_waiting = True
        else:
            self._is_waiting = False
