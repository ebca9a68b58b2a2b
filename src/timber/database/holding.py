"""Connections held over a wait that is not the database's: found while they are, with the line of code that waits."""

from __future__ import annotations

import asyncio
import logging
import sysconfig
from math import inf
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from timber.database.links import Link

logger: logging.Logger = logging.getLogger("timber.pool")

BUSY: Final = inf
"""``quiet_since`` of a link on which a statement runs."""

_OURS: Final = str(Path(__file__).parent.parent)
_LIBRARIES: Final = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib"))


class Holder(Protocol):
    """A transaction that holds a connection."""

    @property
    def link(self) -> Link | None: ...
    @property
    def owner(self) -> asyncio.Task[Any] | None: ...


class Holding:
    """Looks from time to time at the open transactions, and warns once of each that sends nothing for too long.

    Args:
        seconds: how long that is; None for never.
        target: ``database on host:port``, named in the warning.
    """

    def __init__(self, seconds: float | None, target: str) -> None:
        self._seconds = seconds
        self._target = target
        self._open: dict[Holder, bool] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.warned: int = 0
        """How often it has warned."""

    def begin(self, holder: Holder) -> None:
        """A transaction has begun."""
        if self._seconds is None:
            return
        self._open[holder] = False
        loop = asyncio.get_running_loop()
        if self._timer is None or self._loop is not loop:
            self._loop = loop
            self._timer = loop.call_later(self._seconds / 2, self._look, self._seconds)

    def end(self, holder: Holder) -> None:
        """It sends nothing more, or its end."""
        self._open.pop(holder, None)

    def _look(self, seconds: float) -> None:
        self._timer = None
        now = perf_counter()
        for holder, known in list(self._open.items()):
            link = holder.link
            if not known and link is not None and now - link.quiet_since >= seconds:
                self._open[holder] = True
                self._warn(holder, now - link.quiet_since)
        if self._open and self._loop is not None:
            self._timer = self._loop.call_later(seconds / 2, self._look, seconds)

    def _warn(self, holder: Holder, seconds: float) -> None:
        self.warned += 1
        frame = _waiting_frame(holder.owner)
        where = (
            f"{frame.f_code.co_filename}:{frame.f_lineno}, in {frame.f_code.co_name}"
            if frame is not None
            else "unknown code"
        )
        logger.warning(
            "A unit of work holds a connection to %s and has sent nothing for %.1f s: it waits for something else at %s. "
            "Do that before or after the unit of work.",
            self._target,
            seconds,
            where,
        )


def _waiting_frame(task: asyncio.Task[Any] | None) -> FrameType | None:
    """The innermost line of the application in what a task awaits; a library's only if there is none."""
    frames = list(_frames(task.get_coro())) if task is not None and not task.done() else []
    own = [f for f in frames if not f.f_code.co_filename.startswith((_OURS, *_LIBRARIES))]
    others = [f for f in frames if not f.f_code.co_filename.startswith(_OURS)]
    found = own or others or frames
    return found[-1] if found else None


def _frames(awaited: Any) -> Iterator[FrameType]:
    """The frames of a coroutine and of what it awaits, outermost first."""
    while awaited is not None:
        for prefix, following in (("cr", "await"), ("gi", "yieldfrom"), ("ag", "await")):
            frame = getattr(awaited, f"{prefix}_frame", None)
            if frame is not None:
                yield frame
                awaited = getattr(awaited, f"{prefix}_{following}")
                break
        else:
            return
