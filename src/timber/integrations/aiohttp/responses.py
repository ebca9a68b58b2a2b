"""Answers of handlers: DTOs as JSON, and errors as problem documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pydantic
from aiohttp import web
from pydantic_core import to_json

from timber.integrations.crud import Answer
from timber.integrations.problems import MEDIA_TYPE, Problem, problem_of_status

JSON = "application/json"
_DEFAULT_TYPE = "text/plain"


def json_response(
    value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A DTO, a page or a list of them as JSON; numbers, times and ids as pydantic writes them."""
    text = (
        value.model_dump_json().encode()
        if isinstance(value, pydantic.BaseModel)
        else to_json(value)
    )
    return web.Response(body=text, status=status, headers=headers, content_type=JSON)


def answer_response(answer: Answer) -> web.Response:
    """An answer with a JSON body, or none."""
    if not answer.body:
        return web.Response(status=answer.status, headers=answer.headers)
    return web.Response(
        body=answer.body, status=answer.status, headers=answer.headers, content_type=JSON
    )


def problem_response(problem: Problem, headers: Mapping[str, str] | None = None) -> web.Response:
    """The document as a response."""
    return web.Response(
        body=problem.body(),
        status=problem.status,
        headers={**problem.headers, **(headers or {})},
        content_type=MEDIA_TYPE,
    )


def http_error_response(error: web.HTTPException, instance: str) -> web.Response | None:
    """The answer to the framework's own error; None where it is none, or has a body of the application's."""
    if error.status < 400 or error.content_type != _DEFAULT_TYPE:
        return None
    said = error.text if error.text != f"{error.status}: {error.reason}" else None
    problem = problem_of_status(error.status, said, instance)
    kept = {
        name: value
        for name, value in error.headers.items()
        if name.lower() not in ("content-type", "content-length")
    }
    return problem_response(problem, kept)
