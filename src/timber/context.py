"""What the current work carries along: who acts, and until when."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from contextvars import Context, ContextVar, copy_context
from typing import TYPE_CHECKING, Final

from timber.errors import QueryTimeoutError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

_actor: ContextVar[str | None] = ContextVar("timber_actor", default=None)
_deadline: ContextVar[Deadline | None] = ContextVar("timber_deadline", default=None)


def current_actor() -> str | None:
    """Who does the current work, as set by :func:`acting_as` or a web adapter."""
    return _actor.get()


@contextmanager
def acting_as(actor: str | None) -> Generator[None]:
    """Do the work inside as ``actor``: history and audit rows carry the name."""
    token = _actor.set(actor)
    try:
        yield
    finally:
        _actor.reset(token)


class Deadline:
    """Until when the work inside a :func:`deadline` may go on."""

    __slots__ = ("_outer", "_timeout", "at", "is_lifted")

    def __init__(self, at: float, timeout: asyncio.Timeout, outer: Deadline | None) -> None:
        self.at: float | None = at
        self.is_lifted: bool = False
        self._timeout = timeout
        self._outer = outer

    def lift(self) -> None:
        """Let what is left take its time: a stream to a slow client, once its first part is there."""
        self.is_lifted = True
        self.at = self._outer.at if self._outer is not None else None
        self._timeout.reschedule(None)


@asynccontextmanager
async def deadline(seconds: float) -> AsyncGenerator[Deadline]:
    """Bound everything awaited inside to ``seconds`` from now; an outer, earlier deadline stays in force.

    Raises:
        QueryTimeoutError: when the time is over. ``outcome_of`` tells what became of a transaction it cut off.
    """
    loop = asyncio.get_running_loop()
    outer = _deadline.get()
    at = loop.time() + seconds
    if outer is not None and outer.at is not None:
        at = min(at, outer.at)
    timeout = asyncio.timeout_at(at)
    limit = Deadline(at, timeout, outer)
    token = _deadline.set(limit)
    try:
        async with timeout:
            yield limit
    except TimeoutError as error:
        if limit.is_lifted or loop.time() < at:
            raise  # somebody else's timeout, not this deadline
        raise QueryTimeoutError(f"The deadline of {seconds:g} s is over.") from error
    finally:
        _deadline.reset(token)


GRACE: Final = 0.15
"""Seconds after a deadline in which what was cut off may still be brought to a known end."""


def remaining(limit: float, *, grace: float = 0.0) -> float:
    """Seconds that a step bounded by ``limit`` may take under the current deadline, never below 0.

    Args:
        grace: seconds that it may go on after the deadline.
    """
    current = _deadline.get()
    at = None if current is None else current.at
    if at is None:
        return limit
    return max(0.0, min(limit, at + grace - asyncio.get_running_loop().time()))


def check_deadline() -> None:
    """Refuse to begin something new after the current deadline: whoever caught its error, or cleans up, is late too.

    Raises:
        QueryTimeoutError: it is over.
    """
    current = _deadline.get()
    if (
        current is not None
        and current.at is not None
        and current.at <= asyncio.get_running_loop().time()
    ):
        raise QueryTimeoutError("The deadline is over: nothing new can begin under it.")


def without_deadline() -> Context:
    """A copy of the current context for work that has to be finished whatever the deadline."""
    context = copy_context()
    context.run(_deadline.set, None)
    return context
