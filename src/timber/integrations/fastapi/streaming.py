"""Answers that go on for as long as the client reads."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from timber.integrations import events, lines
from timber.integrations.events import Events
from timber.integrations.lines import JSONLines
from timber.repository import Repository
from timber.repository.ordering import OrderBy
from timber.repository.subscriptions import Subscription


async def json_lines(
    repository: Repository[Any],
    *filters: object,
    batch: int = 200,
    order_by: OrderBy = None,
    owner: str | None = None,
    **equals: Any,
) -> StreamingResponse:
    """All rows that meet the filters, a JSON document a line.

    No connection is held while the client reads: each page is a read of its own, see :class:`JSONLines`.

    Args:
        batch: rows read at once, 1 to 1000.

    Raises:
        ValidationError: a filter or the order does not fit.
    """
    rows = JSONLines(repository, *filters, batch=batch, order_by=order_by, owner=owner, **equals)
    return _Lines(await rows.begin(), media_type=lines.MEDIA_TYPE)


async def event_stream(
    subscription: Subscription[Any], *, name: str = "message", heartbeat: float = 15.0
) -> StreamingResponse:
    """A subscription as server-sent events, which a browser goes on reading after a break.

    Args:
        subscription: one that has not begun; its ``after`` is the request's ``Last-Event-ID``.
        name: the type of the events.
        heartbeat: seconds of silence after which a comment is sent.

    Raises:
        UnavailableError: the database cannot be reached.
    """
    stream = Events(subscription, name=name, heartbeat=heartbeat)
    await stream.begin()
    return _EventStream(stream)


class _Lines(StreamingResponse):
    async def stream_response(self, send: Send) -> None:
        # Closed here and not whenever the iterator is collected.
        async with aclosing(self.body_iterator):  # type: ignore[type-var]
            await super().stream_response(send)


class _EventStream(_Lines):
    def __init__(self, stream: Events) -> None:
        super().__init__(
            stream.chunks(), headers=dict(events.HEADERS), media_type=events.MEDIA_TYPE
        )
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._stream.end()
