"""What handlers find in a request: the Timber, and its body and query held against a model."""

from __future__ import annotations

import typing
from typing import Any, Final, TypeVar

import pydantic
from aiohttp import web

from timber import Timber, UsageError
from timber.integrations.inputs import parse, problems_of
from timber.integrations.running import NOT_RUNNING

B = TypeVar("B", bound=pydantic.BaseModel)

TIMBER: Final = web.AppKey("timber", Timber)
"""Where an application has its Timber: ``app[TIMBER]``, from its start to its end."""


def timber_of(request: web.Request) -> Timber:
    """The Timber of the application that a request belongs to, or of one around it.

    Raises:
        UsageError: there is none.
    """
    timber = request.config_dict.get(TIMBER)
    if timber is None:
        raise UsageError(NOT_RUNNING.format(how="setup(app, timber)"))
    return timber


async def read_body(request: web.Request, model: type[B]) -> B:
    """The JSON body of a request as this model.

    Raises:
        ValidationError: naming each field that does not fit.
    """
    return parse(model, await request.read())


def read_query(request: web.Request, model: type[B]) -> B:
    """The query of a request as this model; a field that is a list takes a parameter any number of times.

    Raises:
        ValidationError: naming each parameter that does not fit.
    """
    values: dict[str, Any] = {}
    for name in request.query:
        field = model.model_fields.get(name)
        several = field is not None and _is_list(field.annotation)
        values[name] = request.query.getall(name) if several else request.query.getall(name)[-1]
    return _validated(model, values)


def read_path(request: web.Request, model: type[B]) -> B:
    """The variable parts of a request's path as this model.

    Raises:
        ValidationError: naming each part that does not fit.
    """
    return _validated(model, dict(request.match_info))


def _validated(model: type[B], values: dict[str, Any]) -> B:
    try:
        return model.model_validate(values)
    except pydantic.ValidationError as error:
        raise problems_of(error) from None


def _is_list(annotation: Any) -> bool:
    """Whether an annotation is a list, be it one that may be left out."""
    if typing.get_origin(annotation) is list:
        return True
    return any(_is_list(part) for part in typing.get_args(annotation) if part is not type(None))
