"""Errors as problem documents, who acts, and until when, around each handler."""

from __future__ import annotations

import inspect
from contextvars import ContextVar
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from timber.context import Deadline, acting_as, deadline
from timber.integrations.actors import ActorFinder, Header, State, check_actor
from timber.integrations.aiohttp.responses import http_error_response, problem_response
from timber.integrations.deadlines import Deadlines
from timber.integrations.problems import problem_of, report

ActorSource = Header | State | ActorFinder[web.Request]


class _Answering:
    """How far the answer to a request is."""

    __slots__ = ("has_begun", "limit")

    def __init__(self) -> None:
        self.has_begun = False
        self.limit: Deadline | None = None


_answering: ContextVar[_Answering | None] = ContextVar("timber_answering", default=None)


async def note_beginning(_request: web.Request, _response: web.StreamResponse) -> None:
    """An answer begins to be sent: what a handler streams may take as long as it takes."""
    answering = _answering.get()
    if answering is not None:
        answering.has_begun = True
        if answering.limit is not None:
            answering.limit.lift()


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer errors with problem documents; an answer that has begun is broken off instead."""
    answering = _Answering()
    token = _answering.set(answering)
    try:
        return await handler(request)
    except web.HTTPException as error:
        answer = http_error_response(error, request.path)
        if answer is None:
            raise
        return answer
    except Exception as error:
        if answering.has_begun:
            raise
        problem = problem_of(error, request.path)
        report(error, problem)
        return problem_response(problem)
    finally:
        _answering.reset(token)


def deadline_middleware(deadlines: Deadlines) -> Middleware:
    """Ends a request whose answer does not begin in time with 504."""

    @web.middleware
    async def within_deadline(request: web.Request, handler: Handler) -> web.StreamResponse:
        name = deadlines.header
        seconds = deadlines.seconds(request.headers.get(name) if name else None)
        if seconds is None:
            return await handler(request)
        async with deadline(seconds) as limit:
            if (answering := _answering.get()) is not None:
                answering.limit = limit
            return await handler(request)

    return within_deadline


def actor_middleware(actor: ActorSource) -> Middleware:
    """Has each request done as its actor."""

    @web.middleware
    async def as_actor(request: web.Request, handler: Handler) -> web.StreamResponse:
        with acting_as(await _find(request, actor)):
            return await handler(request)

    return as_actor


async def _find(request: web.Request, source: ActorSource) -> str | None:
    if isinstance(source, Header):
        return check_actor(request.headers.get(source.name), source.name)
    if isinstance(source, State):
        key: Any = source.key
        return check_actor(request.get(key), "actor")
    found = source(request)
    return check_actor(await found if inspect.isawaitable(found) else found, "actor")
