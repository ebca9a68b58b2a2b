"""A subscription as server-sent events: live rows that a browser's EventSource reads, and goes on reading after a break."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Final

from timber.repository.subscriptions import Subscription

MEDIA_TYPE: Final = "text/event-stream"
HEADERS: Final = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
LAST_EVENT_ID: Final = "Last-Event-ID"
"""The header with which a client that comes back says where it was: the ``after`` of its new subscription."""
_RETRY_MILLISECONDS = 1000


class Events:
    """The rows of a subscription, each an event whose id is the cursor behind it.

    Args:
        subscription: one that has not begun.
        name: the type of the events.
        heartbeat: seconds of silence after which a comment is sent, so that whoever is between keeps the connection.
    """

    def __init__(
        self, subscription: Subscription[Any], *, name: str = "message", heartbeat: float = 15.0
    ) -> None:
        self._subscription = subscription
        self._name = name
        self._heartbeat = heartbeat

    async def begin(self) -> None:
        """Begin the subscription, while what is wrong can still be answered with a status.

        Raises:
            UnavailableError: the database cannot be reached.
        """
        await self._subscription.__aenter__()

    async def end(self) -> None:
        """Let go of the subscription."""
        await self._subscription.__aexit__(None, None, None)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The stream; it ends with the subscription."""
        # An id of its own at the beginning: a client that loses the connection before the first row misses nothing.
        yield f"retry: {_RETRY_MILLISECONDS}\nid: {self._subscription.cursor}\n\n".encode()
        following: asyncio.Task[Any] | None = None
        try:
            while True:
                # A task that outlives the heartbeats: cutting off a read would cost its connection.
                following = following or asyncio.create_task(self._following())
                done, _ = await asyncio.wait({following}, timeout=self._heartbeat)
                if not done:
                    yield b":\n\n"
                    continue
                row = following.result()
                following = None
                if row is None:
                    return
                cursor = self._subscription.cursor
                data = row.model_dump_json()
                yield f"event: {self._name}\nid: {cursor}\ndata: {data}\n\n".encode()
        finally:
            if following is not None:
                following.cancel()
                with suppress(asyncio.CancelledError):
                    await following

    async def _following(self) -> Any:
        return await anext(self._subscription, None)
