"""Everything that an application needs, in one call."""

from __future__ import annotations

import weakref
from collections.abc import AsyncGenerator

from aiohttp import web

from timber.integrations.aiohttp.middlewares import (
    ActorSource,
    actor_middleware,
    answer_errors,
    deadline_middleware,
    note_beginning,
)
from timber.integrations.aiohttp.requests import TIMBER, timber_of
from timber.integrations.aiohttp.responses import JSON, json_response, problem_response
from timber.integrations.aiohttp.streaming import STREAMS, end_streams
from timber.integrations.deadlines import Deadlines
from timber.integrations.probes import LIVE, readiness
from timber.integrations.problems import Problem
from timber.integrations.running import TimberSource, running


def setup(
    app: web.Application,
    timber: TimberSource = None,
    *,
    actor: ActorSource | None = None,
    deadlines: Deadlines | None = None,
    probes: bool = True,
    drain: float = 10.0,
) -> None:
    """A Timber that begins and ends with the application, problem documents for every error, actor and deadline of each
    request, and probes.

    Call it after the middleware that finds out who asks: what stands before it runs before. Of what it sets up with
    ``cleanup_ctx``, everything that is appended later can use the Timber.

    Args:
        timber: a Timber, or what makes one at the start; by default one by the settings of the environment. One that is
            running already is left running.
        actor: where a request says who acts: ``Header("X-User-Id")``, ``State(USER_ID)`` for ``request[USER_ID]``, or a
            function of the request.
        deadlines: how long requests may take.
        probes: whether there are /livez and /readyz.
        drain: seconds that work which is going on at the end may still take.
    """

    async def of_app(app: web.Application) -> AsyncGenerator[None]:
        async with running(timber, drain) as started:
            app[TIMBER] = started
            yield

    app[STREAMS] = weakref.WeakSet()
    app.cleanup_ctx.append(of_app)
    app.on_shutdown.append(end_streams)
    app.on_response_prepare.append(note_beginning)
    app.middlewares.insert(0, answer_errors)
    app.middlewares.append(deadline_middleware(deadlines or Deadlines()))
    if actor is not None:
        app.middlewares.append(actor_middleware(actor))
    if probes:
        app.router.add_get("/livez", _livez)
        app.router.add_get("/readyz", _readyz)


async def _livez(_request: web.Request) -> web.Response:
    return web.Response(body=LIVE, content_type=JSON)


async def _readyz(request: web.Request) -> web.Response:
    found = await readiness(timber_of(request), request.path)
    return problem_response(found) if isinstance(found, Problem) else json_response(found)
