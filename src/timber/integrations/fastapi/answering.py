"""Errors as answers: problem documents for whatever a handler raises."""

from __future__ import annotations

from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Match

from timber.errors import FieldProblem, ServiceError, ValidationError
from timber.integrations.crud import Answer
from timber.integrations.problems import (
    MEDIA_TYPE,
    Problem,
    problem_of,
    problem_of_status,
    report,
)

_BODILESS = frozenset({204, 205, 304})
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def problem_response(problem: Problem, headers: dict[str, str] | None = None) -> Response:
    """The document as a response."""
    return Response(
        problem.body(),
        problem.status,
        headers={**problem.headers, **(headers or {})},
        media_type=MEDIA_TYPE,
    )


def answer_response(answer: Answer) -> Response:
    """An answer with a JSON body, or none."""
    media_type = "application/json" if answer.body else None
    return Response(answer.body, answer.status, headers=answer.headers, media_type=media_type)


async def answer_error(
    request: HTTPConnection, error: Exception
) -> Response:  # Starlette runs plain functions in a thread
    """The answer to one of Timber's errors, or to any that nobody expected."""
    problem = problem_of(error, request.scope["path"])
    if isinstance(error, ServiceError):  # the server itself logs what is none
        report(error, problem)
    return problem_response(problem)


async def answer_invalid(request: Request, error: Exception) -> Response:
    """The answer to a request that does not fit its declaration."""
    assert isinstance(error, RequestValidationError)
    problems = [
        FieldProblem(_field(detail["loc"], detail["type"]), detail["msg"])
        for detail in error.errors()
    ]
    problem = problem_of_status(422, "The request is not valid.", request.url.path, errors=problems)
    return problem_response(problem)


async def answer_http_error(request: Request, error: Exception) -> Response:
    """The answer to the framework's own error, or one that the application raised as such."""
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code in _BODILESS:
        return Response(status_code=error.status_code, headers=headers)
    if _is_unreadable(error):
        problem = problem_of(ValidationError.of("body", "is not JSON text"), request.url.path)
        return problem_response(problem)
    if error.status_code == 405 and (allowed := _allowed(request)):
        headers["Allow"] = ", ".join(allowed)
    said: Any = error.detail  # FastAPI's own takes anything
    problem = problem_of_status(
        error.status_code,
        said if isinstance(said, str) else None,
        request.url.path,
        more=None if isinstance(said, str) else {"info": said},
    )
    return problem_response(problem, headers)


def _is_unreadable(error: HTTPException) -> bool:
    """Whether it is a body that FastAPI could not even decode: to a client that is no other mistake than wrong JSON."""
    unreadable = isinstance(error.__cause__, UnicodeDecodeError | RecursionError)
    return error.status_code == 400 and unreadable


def _allowed(request: Request) -> list[str]:
    """The methods that the path has; Starlette names those of the first route alone."""
    return [
        method
        for method in _METHODS
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL
            for route in request.app.routes
        )
    ]


def _field(loc: tuple[int | str, ...], kind: str) -> str:
    """The name of a field as a client knows it: of ``("body", "title")`` the second."""
    if kind == "json_invalid":
        return "body"
    return ".".join(map(str, loc[1:])) or str(loc[0])
