"""Who acts and until when, for everything that a request does. Plain ASGI: the handler stays in its task and context."""

from __future__ import annotations

import inspect

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from timber.context import acting_as, deadline
from timber.errors import QueryTimeoutError, ServiceError, ValidationError
from timber.integrations.actors import ActorFinder, Header, State, check_actor
from timber.integrations.deadlines import Deadlines
from timber.integrations.fastapi.answering import answer_error, answer_http_error

ActorSource = Header | State | ActorFinder[HTTPConnection]


class ActorMiddleware:
    """Has each request and websocket done as its actor.

    Args:
        actor: a header, a name in ``request.state``, or a function of the connection.
    """

    def __init__(self, app: ASGIApp, actor: ActorSource) -> None:
        self._app = app
        self._actor = actor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        try:
            actor = await self._find(HTTPConnection(scope))
        except (ServiceError, HTTPException) as error:
            if scope["type"] == "websocket":
                raise
            request = Request(scope)
            answer = answer_http_error if isinstance(error, HTTPException) else answer_error
            await (await answer(request, error))(scope, receive, send)
            return
        with acting_as(actor):
            await self._app(scope, receive, send)

    async def _find(self, connection: HTTPConnection) -> str | None:
        source = self._actor
        if isinstance(source, Header):
            return check_actor(connection.headers.get(source.name), source.name)
        if isinstance(source, State):
            name = str(source.key)
            return check_actor(getattr(connection.state, name, None), name)
        found = source(connection)
        return check_actor(await found if inspect.isawaitable(found) else found, "actor")


class DeadlineMiddleware:
    """Ends a request whose answer does not begin in time with 504; what has begun to be sent may take as long as it takes."""

    def __init__(self, app: ASGIApp, deadlines: Deadlines | None = None) -> None:
        self._app = app
        self._deadlines = deadlines or Deadlines()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        name = self._deadlines.header
        try:
            seconds = self._deadlines.seconds(Headers(scope=scope).get(name) if name else None)
        except ValidationError as error:
            await (await answer_error(Request(scope), error))(scope, receive, send)
            return
        if seconds is None:
            await self._app(scope, receive, send)
            return
        has_begun = False
        try:
            async with deadline(seconds) as limit:

                async def sending(message: Message) -> None:
                    nonlocal has_begun
                    if message["type"] == "http.response.start":
                        has_begun = True
                        limit.lift()
                    await send(message)

                await self._app(scope, receive, sending)
        except QueryTimeoutError as error:
            if has_begun:
                raise
            await (await answer_error(Request(scope), error))(scope, receive, send)
