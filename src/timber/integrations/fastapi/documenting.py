"""Problem documents in OpenAPI: their schema, and the statuses that any operation may answer with."""

from __future__ import annotations

import http
from collections.abc import Iterator
from typing import Any, Final

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from timber.integrations.problems import MEDIA_TYPE, Problem

_REFERENCE: Final = "#/components/schemas/"
_METHODS: Final = frozenset({"get", "put", "post", "delete", "patch", "options", "head", "trace"})
_READING: Final = frozenset({"get", "options", "head", "trace"})
_ALWAYS: Final = (422, 500, 503, 504)
_FRAMEWORKS_OWN: Final = ("HTTPValidationError", "ValidationError")


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Further statuses that an operation answers with a problem: ``@app.get(..., responses=problems(403))``."""
    return {status: _response(status) for status in statuses}


def document_problems(app: FastAPI) -> None:
    """Have the OpenAPI of an application tell of problem documents: 422, 500, 503 and 504 of every operation, 404 of those
    with a path parameter, 409 of those that change something.
    """
    make = app.openapi

    def openapi() -> dict[str, Any]:
        schema = make()
        if "Problem" not in schema.setdefault("components", {}).setdefault("schemas", {}):
            _add_problems(schema)
        return schema

    app.openapi = openapi  # type: ignore[method-assign]  # the documented way to extend it


def _add_problems(schema: dict[str, Any]) -> None:
    schemas = schema["components"]["schemas"]
    _, made = models_json_schema([(Problem, "serialization")], ref_template=_REFERENCE + "{model}")
    schemas.update(made["$defs"])
    for path, operations in schema.get("paths", {}).items():
        for method, operation in operations.items():
            if method in _METHODS:
                _add_responses(path, method, operation.setdefault("responses", {}))
    for name in _FRAMEWORKS_OWN:
        if name in schemas and not any(_references({**schema, "components": {}}, schemas, name)):
            del schemas[name]


def _add_responses(path: str, method: str, responses: dict[str, Any]) -> None:
    statuses: list[int] = [*_ALWAYS]
    if "{" in path:
        statuses.append(404)
    if method not in _READING:
        statuses.append(409)
    for status in statuses:
        known = responses.get(str(status))
        if known is None or _is_frameworks_own(known):
            responses[str(status)] = _response(status)


def _response(status: int) -> dict[str, Any]:
    return {
        "description": http.HTTPStatus(status).phrase,
        "content": {MEDIA_TYPE: {"schema": {"$ref": f"{_REFERENCE}Problem"}}},
    }


def _is_frameworks_own(response: dict[str, Any]) -> bool:
    content = response.get("content", {}).get("application/json", {})
    reference: object = content.get("schema", {}).get("$ref")
    return reference == f"{_REFERENCE}HTTPValidationError"


def _references(schema: Any, schemas: dict[str, Any], name: str) -> Iterator[Any]:
    """Where a schema is referred to, but for the framework's own schemas."""
    others = {key: value for key, value in schemas.items() if key not in _FRAMEWORKS_OWN}
    stack: list[Any] = [schema, others]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            if node.get("$ref") == _REFERENCE + name:
                yield node
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)
