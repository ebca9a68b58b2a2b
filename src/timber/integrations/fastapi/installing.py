"""Everything that an application needs beside its lifespan, in one call."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.exception_handlers import (
    http_exception_handler,
    request_validation_exception_handler,
)
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from timber.errors import ServiceError
from timber.integrations.deadlines import Deadlines
from timber.integrations.fastapi.answering import (
    answer_error,
    answer_http_error,
    answer_invalid,
    problem_response,
)
from timber.integrations.fastapi.dependencies import TimberDep
from timber.integrations.fastapi.documenting import document_problems
from timber.integrations.fastapi.middleware import (
    ActorMiddleware,
    ActorSource,
    DeadlineMiddleware,
)
from timber.integrations.probes import LIVE, Liveness, Readiness, readiness
from timber.integrations.problems import Problem


def install(
    app: FastAPI,
    *,
    actor: ActorSource | None = None,
    deadlines: Deadlines | None = None,
    probes: bool = True,
) -> None:
    """Problem documents for every error, in answers and in OpenAPI, actor and deadline of each request, and probes.

    Its middleware is the innermost whenever it is called, so that an authentication has left its mark before. Handlers of
    exceptions that the application has set already are kept.

    Args:
        actor: where a request says who acts: ``Header("X-User-Id")``, ``State("user_id")`` for ``request.state.user_id``, or a
            function of the request.
        deadlines: how long requests may take.
        probes: whether there are /livez and /readyz.
    """
    _answer_errors(app)
    document_problems(app)
    # Behind those that are there, and not before them as add_middleware does.
    app.user_middleware.append(Middleware(DeadlineMiddleware, deadlines or Deadlines()))
    if actor is not None:
        app.user_middleware.append(Middleware(ActorMiddleware, actor))
    if probes:
        app.add_api_route("/livez", _livez, response_model=Liveness, tags=["probes"])
        app.add_api_route("/readyz", _readyz, response_model=Readiness, tags=["probes"])


def _answer_errors(app: FastAPI) -> None:
    handlers: dict[Any, Any] = app.exception_handlers
    if handlers.get(HTTPException) in (None, http_exception_handler):
        handlers[HTTPException] = answer_http_error
    if handlers.get(RequestValidationError) in (None, request_validation_exception_handler):
        handlers[RequestValidationError] = answer_invalid
    handlers.setdefault(ServiceError, answer_error)
    handlers.setdefault(Exception, answer_error)


async def _livez() -> Response:
    return Response(LIVE, media_type="application/json")


async def _readyz(request: Request, timber: TimberDep) -> Any:
    found = await readiness(timber, request.url.path)
    if isinstance(found, Problem):
        return problem_response(found)
    return Response(found.model_dump_json(), media_type="application/json")
