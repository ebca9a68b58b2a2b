"""Who is working with the database just now, so that a closing one lets nobody new in and waits for the others."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import TYPE_CHECKING

from timber.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from types import TracebackType


class Work:
    """Several statements that belong together: a unit of work, or a call of a service."""

    __slots__ = ("door", "is_open", "outer")

    def __init__(self, door: Door, outer: Work | None) -> None:
        self.door: Door = door
        self.outer: Work | None = outer
        self.is_open: bool = True


_innermost: ContextVar[Work | None] = ContextVar("timber_work", default=None)


class Door:
    """Counts the work that is going on. Once it is shut, only what belongs to that work comes in.

    ``with door:`` counts one statement, :meth:`begin` and :meth:`end` work of several.

    Args:
        target: ``database on host:port``, named to those who are refused.
    """

    __slots__ = ("_empty", "_inside", "_shut", "_target")

    def __init__(self, target: str) -> None:
        self._target = target
        self._inside = 0
        self._shut = False
        self._empty: asyncio.Future[None] | None = None

    def __enter__(self) -> None:
        if self._shut and not self._is_within():
            raise UnavailableError(
                f"The way to {self._target} is being closed, or is closed: nothing new can begin."
            )
        self._inside += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave()

    def begin(self) -> Work:
        """Count work whose statements come in even if the door is shut meanwhile.

        Raises:
            UnavailableError: the door is shut.
        """
        self.__enter__()
        work = Work(self, _innermost.get())
        _innermost.set(work)
        return work

    def end(self, work: Work) -> None:
        """Count it off."""
        work.is_open = False
        if _innermost.get() is work:
            _innermost.set(work.outer)
        self._leave()

    async def shut(self, seconds: float) -> int:
        """Let nothing new in, and wait for what is going on; how much of it goes on after ``seconds``.

        Raises:
            UsageError: called from within that work, which would wait for itself.
        """
        if self._is_within():
            raise UsageError("Closing inside a unit of work or a service call waits for itself.")
        self._shut = True
        if self._inside:
            self._empty = asyncio.get_running_loop().create_future()
            await asyncio.wait({self._empty}, timeout=seconds)
        return self._inside

    def _is_within(self) -> bool:
        work = _innermost.get()
        while work is not None and not (work.door is self and work.is_open):
            work = work.outer
        return work is not None

    def _leave(self) -> None:
        self._inside -= 1
        if self._empty is not None and not self._inside and not self._empty.done():
            self._empty.set_result(None)
