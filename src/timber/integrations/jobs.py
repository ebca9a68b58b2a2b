"""How much work is left for workers, asked of the database when somebody looks."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Final

from timber.errors import ServiceError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from timber import Timber

logger: logging.Logger = logging.getLogger(__name__)

FRESH_SECONDS: Final = 5.0
"""For how long figures are reported without asking again: whoever scrapes more often asks no more often."""
_PATIENCE_SECONDS: Final = 2.0

Figures = dict[str, dict[str, float]]


class JobFigures:
    """What is left for the workers of one Timber.

    A reader in another thread, as exporters have it, waits for the database for two seconds at most. One in the thread of
    the event loop cannot wait: it is told what the last answer was, and the next one is asked for.

    Args:
        timber: a running Timber.
    """

    def __init__(self, timber: Timber) -> None:
        self._timber = timber
        self._figures: Figures = {}
        self._asked = -FRESH_SECONDS
        self._asking: asyncio.Task[None] | None = None
        self._is_over = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._notice_loop()

    async def refresh(self) -> None:
        """Ask the database."""
        self._figures = await self._timber.background().figures()
        self._asked = monotonic()

    def look(self) -> Mapping[str, Mapping[str, float]]:
        """The figures; nothing where they could not be had."""
        if monotonic() - self._asked < FRESH_SECONDS or self._is_over:
            return self._figures
        self._notice_loop()
        loop = self._loop
        if loop is not None and loop.is_running():
            if threading.get_ident() != self._thread:
                self._wait(loop)
            elif self._asking is None or self._asking.done():
                self._asking = loop.create_task(self._ask(), context=contextvars.Context())
        return self._figures

    def stop(self) -> None:
        """Ask no more."""
        self._is_over = True
        if self._asking is not None:
            self._asking.cancel()

    def _notice_loop(self) -> None:
        if self._loop is None:
            with suppress(RuntimeError):  # of a thread that has none
                self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()

    def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        future = asyncio.run_coroutine_threadsafe(self._ask(), loop)
        try:
            future.result(_PATIENCE_SECONDS)
        except TimeoutError:
            future.cancel()
            self._figures = {}

    async def _ask(self) -> None:
        try:
            await self.refresh()
        except (ServiceError, UsageError) as error:
            # What is not known is not reported: an old figure would say that all is well.
            logger.info("The work of workers is not known: %s", type(error).__name__)
            self._figures = {}
