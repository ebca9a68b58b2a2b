"""Hearing of what others have committed: LISTEN on one connection of its own, shared by all who watch.

A notification says only that there is something to read. Whoever watches is woken also whenever notifications may have been
lost, that is after each (re)connection, so that it reads again and nothing depends on each of them arriving.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final

from timber.database.errors import FOREIGN
from timber.database.pgbouncer import check_listening, connect_past
from timber.database.statements import Statement
from timber.errors import ServiceError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import asyncpg

    from timber.database.core import Core
    from timber.database.lone import LoneStatements

logger: logging.Logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS: Final = 10.0
_BACKOFF_SECONDS: Final = 0.05
_BACKOFF_LIMIT_SECONDS: Final = 5.0
_PROBE_SECONDS: Final = 5.0
_CLOSE_SECONDS: Final = 2.0

_Heard = tuple[str, str]
_PROBE = Statement("SELECT pg_notify($1, '')", label="probe")


class Watch:
    """What one watcher hears of one key on one channel. It is set at first, since there may be something to read already."""

    __slots__ = ("_heard", "_key", "_listener", "_over")

    def __init__(self, listener: Listener, key: _Heard) -> None:
        self._listener = listener
        self._key = key
        self._heard = asyncio.Event()
        self._heard.set()
        self._over = asyncio.Event()

    @property
    def is_closed(self) -> bool:
        """Whether the watch is over."""
        return self._over.is_set()

    async def wait(self) -> None:
        """Wait until something was heard or may have been missed, or the watch is over."""
        await self._heard.wait()

    async def pause(self, seconds: float) -> None:
        """Wait so long, or until the watch is over."""
        await _within(seconds, self._over)

    def stir(self) -> None:
        """Have the next :meth:`wait` return at once."""
        self._heard.set()

    def settle(self) -> None:
        """Take note: from now on only what is heard later counts."""
        if not self.is_closed:
            self._heard.clear()

    def close(self) -> None:
        """Watch no longer; whoever waits goes on."""
        self._over.set()
        self._heard.set()
        self._listener.forget(self._key, self)


class Listener:
    """The listening connection of one database manager: opened for the first watcher, closed a while after the last.

    It does not take a place in the pool. When it is lost it is opened again, with waits from 50 ms to 5 s. Every
    ``heartbeat_seconds`` another connection sends it a notification, which finds links that are half open and poolers
    that do not pass notifications on; behind one of those a watcher still reads at each heartbeat.
    """

    def __init__(self, core: Core, lone: LoneStatements) -> None:
        self.heartbeat_seconds = HEARTBEAT_SECONDS
        self._core = core
        self._lone = lone
        self._watches: dict[_Heard, set[Watch]] = {}
        self._task: asyncio.Task[None] | None = None
        self._probe = f"timber_probe_{secrets.token_hex(8)}"
        self._probe_heard = asyncio.Event()
        self._changed = asyncio.Event()
        """The connection has ended, or there is a channel to be listened to."""
        self._over = asyncio.Event()
        self._listening: set[str] = set()
        self._wait = _BACKOFF_SECONDS

    @property
    def is_listening(self) -> bool:
        """Whether the connection stands and hears every channel that is watched."""
        return bool(self._listening) and self._channels() <= self._listening

    def watch(self, channel: str, key: str) -> Watch:
        """Hear of each notification on ``channel`` with the payload ``key``, until the watch is closed.

        Raises:
            ConfigurationError: there is a pooler that does not let it be heard.
        """
        check_listening(self._core.settings)
        watch = Watch(self, (channel, key))
        self._watches.setdefault((channel, key), set()).add(watch)
        if channel not in self._listening:
            self._changed.set()
        if self._task is None or self._task.done():
            self._over.clear()
            # In a context of its own: neither the deadline nor the unit of work of the first watcher is its.
            self._task = asyncio.get_running_loop().create_task(
                self._run(), name="timber-listener", context=Context()
            )
        return watch

    def forget(self, key: _Heard, watch: Watch) -> None:
        """Wake ``watch`` no longer."""
        watches = self._watches.get(key, set())
        watches.discard(watch)
        if not watches:
            self._watches.pop(key, None)

    async def close(self) -> None:
        """End every watch and close the connection."""
        self._end_watches()
        if self._task is not None:
            # What is under way comes to its end, since the driver does not like a cancelled connection attempt.
            for awaited in (self._over, self._changed, self._probe_heard):
                awaited.set()
            await asyncio.wait([self._task], timeout=_CLOSE_SECONDS)
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
            self._end_watches()

    def _end_watches(self) -> None:
        for watch in [watch for watches in self._watches.values() for watch in watches]:
            watch.close()

    # The connection

    async def _run(self) -> None:
        while self._watches:
            try:
                await self._hold_connection()
            except (*FOREIGN, ServiceError) as error:
                logger.warning(
                    "Listening on %s broke off (%s); it is taken up again.",
                    self._core.target,
                    type(error).__name__,
                )
            if self._watches:
                await _within(self._wait * random.uniform(0.5, 1.0), self._over)  # noqa: S311  # no secret
                self._wait = min(self._wait * 2, _BACKOFF_LIMIT_SECONDS)

    async def _hold_connection(self) -> None:
        """Open a connection and listen until it is lost, or until nobody watches any more."""
        connections = self._core.connections
        if self._core.settings.listen_url is not None:
            driver = await connect_past(self._core.settings)
        else:
            driver = connections.take_out(await connections.acquire())
        try:
            driver.add_termination_listener(self._ended)
            await driver.add_listener(self._probe, self._probe_received)
            while self._watches:
                self._changed.clear()
                if await self._listen_to_new_channels(driver) or await self._is_time():
                    await self._beat(driver)
                if driver.is_closed():
                    raise UnavailableError
        finally:
            self._listening.clear()
            await _close(driver)

    async def _listen_to_new_channels(self, driver: asyncpg.Connection) -> bool:
        channels = self._channels() - self._listening
        for channel in channels:
            await driver.add_listener(channel, self._received)
            self._listening.add(channel)
            # What was committed before this moment has not been told here.
            for (name, _), watches in self._watches.items():
                if name == channel:
                    _stir(watches)
        return bool(channels)

    async def _is_time(self) -> bool:
        """Wait until something has changed; whether a heartbeat is due instead."""
        return not await _within(self.heartbeat_seconds, self._changed)

    async def _beat(self, driver: asyncpg.Connection) -> None:
        """Have a notification sent by another connection, and hear it or find the connection closed."""
        self._probe_heard.clear()
        if not driver.is_closed():
            async with asyncio.timeout(_PROBE_SECONDS):
                await self._lone.fetch(_PROBE, [self._probe])
                await self._probe_heard.wait()
            self._wait = _BACKOFF_SECONDS

    def _channels(self) -> set[str]:
        return {channel for channel, _ in self._watches}

    # What the driver calls

    def _received(self, _driver: Any, _pid: int, channel: str, payload: object) -> None:
        _stir(self._watches.get((channel, str(payload)), ()))

    def _probe_received(self, _driver: Any, _pid: int, _channel: str, _payload: object) -> None:
        self._probe_heard.set()

    def _ended(self, _driver: Any) -> None:
        self._changed.set()
        self._probe_heard.set()  # nobody need wait for what cannot come any more


async def _within(seconds: float, event: asyncio.Event) -> bool:
    """Whether the event was set within so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _stir(watches: Iterable[Watch]) -> None:
    for watch in watches:
        watch.stir()


async def _close(driver: asyncpg.Connection) -> None:
    try:
        await driver.close(timeout=_CLOSE_SECONDS)
    except FOREIGN:
        driver.terminate()
    except BaseException:
        driver.terminate()
        raise
