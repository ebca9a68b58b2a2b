"""Checks of arguments that no column's own check can make."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
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


def duration(value: object, field: str) -> timedelta:
    """A length of time, given as such or as a number of seconds.

    Raises:
        ValidationError: it is something else, or negative.
    """
    length = value if isinstance(value, timedelta) else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            length = timedelta(seconds=value)
        except (OverflowError, ValueError):
            length = None
    if length is None or length < timedelta(0):
        raise ValidationError.of(field, "is to be a timedelta or a number of seconds, from 0")
    return length


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
