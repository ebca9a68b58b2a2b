"""Errors as problem documents, who acts, and until when, around each handler."""

from __future__ import annotations

import inspect
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from timber.context import acting_as, deadline
from timber.integrations.actors import ActorFinder, Header, State, check_actor
from timber.integrations.aiohttp.responses import http_error_response, problem_response
from timber.integrations.deadlines import Deadlines
from timber.integrations.problems import problem_of, report

ActorSource = Header | State | ActorFinder[web.Request]

LIMIT: Final = "timber_deadline"
"""Where a request has its deadline, for an answer that begins to be streamed."""
BEGUN: Final = "timber_begun"
"""Where a request says that its answer has begun to be streamed."""


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer errors with problem documents; an answer that has begun is broken off instead."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        answer = http_error_response(error, request.path)
        if answer is None:
            raise
        return answer
    except Exception as error:
        if request.get(BEGUN):
            raise
        problem = problem_of(error, request.path)
        report(error, problem)
        return problem_response(problem)


def deadline_middleware(deadlines: Deadlines) -> Middleware:
    """Ends a request whose answer does not begin in time with 504."""

    @web.middleware
    async def within_deadline(request: web.Request, handler: Handler) -> web.StreamResponse:
        name = deadlines.header
        seconds = deadlines.seconds(request.headers.get(name) if name else None)
        if seconds is None:
            return await handler(request)
        async with deadline(seconds) as limit:
            request[LIMIT] = limit
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
        return check_actor(request.get(source.name), source.name)
    found = source(request)
    return check_actor(await found if inspect.isawaitable(found) else found, "actor")
