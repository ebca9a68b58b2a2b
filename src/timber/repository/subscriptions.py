"""A subscription: rows as they are committed, read from a position that its owner can keep and come back to."""

from __future__ import annotations

import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Generic, NamedTuple, Self, TypeVar

from pydantic import BaseModel

from timber.database.listen import Watch
from timber.errors import PoolTimeoutError, UnavailableError, UsageError
from timber.repository.positions import Position

logger: logging.Logger = logging.getLogger(__name__)

D = TypeVar("D", bound=BaseModel)

_RETRY_SECONDS: Final = 0.1
_RETRY_LIMIT_SECONDS: Final = 5.0


class Batch(NamedTuple, Generic[D]):
    """Rows of a feed, each with the position behind it, and the position behind all of them."""

    rows: list[tuple[D, Position]]
    position: Position
    more: bool
    """Whether there may be more to read already."""


@dataclass(frozen=True, slots=True)
class Feed(Generic[D]):
    """The feed of one owner's rows."""

    name: str
    """A digest of the table and the owner, so that a cursor of another feed is found out."""
    check_key: Callable[[object], Any]
    watch: Callable[[], Watch]
    start: Callable[[], Awaitable[Position]]
    read: Callable[[Position], Awaitable[Batch[D]]]


class Subscription(Generic[D]):
    """``async with subscription:`` gives an async iterator of rows as they are committed; it ends with the manager's disposal.

    Each row comes once. Transactions come as their commits are noticed, the rows of one in the order of their keys. Rows are
    read as they are asked for, one batch at a time, so that a reader may be as slow as it likes: what it has not asked
    for stays in the table. An outage of the database is waited for.
    """

    def __init__(self, feed: Feed[D], after: str | None) -> None:
        self._feed = feed
        self._position: Position | None = None
        if after is not None:
            self._position = Position.decode(feed.name, after, feed.check_key)
        self._ahead: Position | None = None
        self._queue: deque[tuple[D, Position]] = deque()
        self._watch: Watch | None = None
        self._is_reading = False

    @property
    def cursor(self) -> str:
        """Where the last row given stands, for the ``after`` of a later subscription. It is opaque.

        Raises:
            UsageError: the subscription has not begun.
        """
        if self._position is None:
            raise UsageError(
                "A subscription has a cursor once it has begun: `async with` it first."
            )
        return self._position.encode(self._feed.name)

    @property
    def queued(self) -> int:
        """How many rows have been read ahead of the reader: never more than one batch of 100."""
        return len(self._queue)

    async def __aenter__(self) -> Self:
        if self._watch is not None:
            raise UsageError("This subscription has been used: make a new one, after its cursor.")
        if self._position is None:
            self._position = await self._feed.start()
        self._ahead = self._position
        self._watch = self._feed.watch()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._queue.clear()
        if self._watch is not None:
            self._watch.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> D:
        """The next row, when there is one."""
        if self._watch is None:
            raise UsageError("A subscription begins with `async with`: iterate inside of it.")
        if self._is_reading:
            raise UsageError("Somebody reads this subscription already: give each reader its own.")
        self._is_reading = True
        try:
            while not self._queue:
                await self._watch.wait()
                if self._watch.is_closed:
                    raise StopAsyncIteration
                await self._read_ahead(self._watch)
        finally:
            self._is_reading = False
        row, self._position = self._queue.popleft()
        return row

    async def _read_ahead(self, watch: Watch) -> None:
        assert self._ahead is not None
        wait = _RETRY_SECONDS
        while not watch.is_closed:
            watch.settle()  # before the read: what is heard during it calls for another one
            try:
                batch = await self._feed.read(self._ahead)
            except (UnavailableError, PoolTimeoutError) as error:
                watch.stir()
                logger.warning("A subscription waits for the database (%s).", type(error).__name__)
                await watch.pause(wait * random.uniform(0.5, 1.0))  # noqa: S311  # no secret
                wait = min(wait * 2, _RETRY_LIMIT_SECONDS)
            except BaseException:
                watch.stir()
                raise
            else:
                break
        else:
            return
        if batch.more:
            watch.stir()
        self._ahead = batch.position
        if batch.rows:
            self._queue.extend(batch.rows)
        else:
            self._position = batch.position
