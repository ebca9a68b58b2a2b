"""Answers that go on for as long as the client reads."""

from __future__ import annotations

import weakref
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, Final

from aiohttp import web

from timber.integrations import events, lines
from timber.integrations.events import Events
from timber.integrations.lines import JSONLines
from timber.repository import Repository
from timber.repository.ordering import OrderBy
from timber.repository.subscriptions import Subscription

STREAMS: Final = web.AppKey("timber_streams", weakref.WeakSet[Events])
"""The event streams of an application, which its end has to end: clients would hold them for ever."""


async def json_lines(
    request: web.Request,
    repository: Repository[Any],
    *filters: object,
    batch: int = 200,
    order_by: OrderBy = None,
    owner: str | None = None,
    **equals: Any,
) -> web.StreamResponse:
    """All rows that meet the filters, a JSON document a line.

    No connection is held while the client reads: each page is a read of its own, see :class:`JSONLines`.

    Args:
        batch: rows read at once, 1 to 1000.

    Raises:
        ValidationError: a filter or the order does not fit.
    """
    rows = JSONLines(repository, *filters, batch=batch, order_by=order_by, owner=owner, **equals)
    return await _send(request, await rows.begin(), lines.MEDIA_TYPE, {})


async def event_stream(
    request: web.Request,
    subscription: Subscription[Any],
    *,
    name: str = "message",
    heartbeat: float = 15.0,
) -> web.StreamResponse:
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
    open_streams = request.config_dict.get(STREAMS)
    if open_streams is not None:
        open_streams.add(stream)
    try:
        return await _send(request, stream.chunks(), events.MEDIA_TYPE, events.HEADERS)
    finally:
        await stream.end()


async def end_streams(app: web.Application) -> None:
    """End the event streams of an application."""
    streams = app[STREAMS]
    for stream in list(streams):
        await stream.end()


async def _send(
    request: web.Request,
    chunks: AsyncIterator[bytes],
    media_type: str,
    headers: Mapping[str, str],
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": media_type, **headers})
    await response.prepare(request)
    async with aclosing(chunks):  # type: ignore[type-var]  # of a generator
        async for chunk in chunks:
            await response.write(chunk)
    await response.write_eof()
    return response
