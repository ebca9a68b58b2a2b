"""pydantic's complaints about a model file in words for the person who wrote the file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel

from timber.models.column_types import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic_core import ErrorDetails

    from timber.models.yaml_source import Location

_EXPECTED = {
    "string_type": "text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


def explain(  # noqa: PLR0911 - one sentence for each kind of error
    error: ErrorDetails, top: type[BaseModel] | None = None
) -> str:
    """One sentence about one error, in a document that should have been a ``top``."""
    kind, location, given = error["type"], error["loc"], error["input"]
    context = error.get("ctx", {})
    if kind == "extra_forbidden":
        word = str(location[-1])
        return f"unknown key {word!r}{nearest(word, known_keys(top, location[:-1]) if top else ())}"
    if kind == "missing":
        return f"`{location[-1]}` is missing"
    if kind in _EXPECTED:
        quote = "; put it in quotes" if kind == "string_type" and _is_plain_word(given) else ""
        return f"expected {_EXPECTED[kind]}, not {_shown(given)}{quote}"
    if kind == "literal_error":
        choices = context["expected"].replace(" or ", ", ").replace("'", "").split(", ")
        hint = nearest(given, choices) if isinstance(given, str) else ""
        one_of = "one of " if len(choices) > 1 else ""
        return f"expected {one_of}{', '.join(choices)}, not {_shown(given)}{hint}"
    if kind == "value_error":
        return str(context["error"])
    if kind == "timber_value":
        return error["msg"]
    if kind in ("too_short", "string_too_short"):
        return "must not be empty"
    if kind == "string_pattern_mismatch":
        return f"{given!r} does not match {context['pattern']}"
    message = error["msg"].removeprefix("Input ")
    return message[0].lower() + message[1:] + f", not {_shown(given)}"


def known_keys(top: type[BaseModel], location: Location) -> list[str]:
    """The keys that a mapping at this place may have."""
    current: Any = top
    for step in location:
        if isinstance(step, str) and isinstance(current, type) and issubclass(current, BaseModel):
            field = current.model_fields.get(step)
            current = field.annotation if field else None
        models = list(_models_in(current))
        current = models[0] if models else current
    if isinstance(current, type) and issubclass(current, BaseModel):
        return list(current.model_fields)
    return []


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _is_plain_word(value: object) -> bool:
    return isinstance(value, bool | int | float)


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
