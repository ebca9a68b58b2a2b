"""What is reported after its caller has gone on."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

logger: logging.Logger = logging.getLogger(__name__)

_SECONDS: Final = 0.005
"""How long calls are gathered: in a row they take two thirds of the time that they take one by one, between other work. Too many
would hold up the event loop."""


class Afterwards:
    """Calls that are made a moment later, in order, each in the context in which it was put off.

    No more can wait than ends in the time for which they are gathered: a statement ends only where the event loop goes on.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[Context, Callable[..., object], tuple[Any, ...]]] = deque()
        self._promised: asyncio.AbstractEventLoop | None = None
        """The loop that will flush. Another one, should there be one, does not rely on it."""

    def put_off(self, call: Callable[..., object], *args: object) -> None:
        """Call it a moment later."""
        self._waiting.append((copy_context(), call, args))
        loop = asyncio.get_running_loop()
        if self._promised is not loop:
            self._promised = loop
            loop.call_later(_SECONDS, self.flush, context=Context())

    def flush(self) -> None:
        """Make now all calls that wait."""
        self._promised = None
        with suppress(IndexError):  # there is none left, be it because another thread flushes too
            while True:
                context, call, args = self._waiting.popleft()
                try:
                    context.run(call, *args)
                except Exception:  # samplers and processors are the application's own
                    logger.exception("A span or a measurement could not be reported.")
