"""What a web client may send for a model: its generated input without the owner, who is the actor of the request."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import pydantic
from pydantic import BeforeValidator, create_model

from timber.dto import InputDTO
from timber.errors import FieldProblem, ValidationError
from timber.models.config import ModelConfig

B = TypeVar("B", bound=pydantic.BaseModel)


def web_input(config: ModelConfig, dto: type[InputDTO]) -> type[InputDTO]:
    """A generated input as JSON can carry it."""
    fields: dict[str, Any] = {}
    for name, field in dto.model_fields.items():
        if name == config.owner:
            continue
        annotation: Any = field.annotation
        for marker in field.metadata:
            annotation = Annotated[annotation, marker]
        if config.column(name).type.kind == "Numeric":
            annotation = Annotated[annotation, BeforeValidator(_decimal_text)]
        fields[name] = (annotation, field)
    return create_model(
        dto.__name__, __base__=InputDTO, __doc__=dto.__doc__, __module__=__name__, **fields
    )


def parse(model: type[B], text: bytes) -> B:
    """A body as this model.

    Raises:
        ValidationError: naming each field that does not fit.
    """
    try:
        return model.model_validate_json(text)
    except pydantic.ValidationError as error:
        raise problems_of(error) from None


def problems_of(error: pydantic.ValidationError) -> ValidationError:
    """The same failures, without the values."""
    found = ValidationError.from_pydantic(error)
    if all(problem.field == "value" for problem in found.errors):
        return ValidationError(errors=[FieldProblem("body", e.problem) for e in found.errors])
    return found


def given(values: InputDTO) -> dict[str, Any]:
    """The fields that a client has sent."""
    return {name: getattr(values, name) for name in values.model_fields_set}


def _decimal_text(value: object) -> object:
    """A JSON number that was read as a float, as it was written: with up to 15 digits they are the same."""
    return repr(value) if isinstance(value, float) else value
