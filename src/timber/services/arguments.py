"""Checks of arguments that no column's own check can make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from timber.errors import ValidationError


def text(value: object, field: str) -> str:
    """Text that is not empty.

    Raises:
        ValidationError: it is something else.
    """
    if not isinstance(value, str) or not value:
        raise ValidationError.of(field, "is to be text, and not empty")
    return value


def user(value: object, field: str = "user_id") -> str:
    """The id of a user who must be named: None or nothing would mean everybody's rows.

    Raises:
        ValidationError: it is not text, or empty.
    """
    if not isinstance(value, str) or not value:
        raise ValidationError.of(field, "is to be the id of a user, as text")
    return value


def json_object(value: object, field: str) -> dict[str, Any]:
    """A JSON object, as metadata are.

    Raises:
        ValidationError: it is some other value.
    """
    if isinstance(value, dict):
        return value
    if isinstance(value, Mapping):
        return dict(value)
    raise ValidationError.of(field, "is to be a JSON object, a mapping")
