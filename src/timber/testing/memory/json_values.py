"""JSON as PostgreSQL's jsonb compares it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

MISSING: Final = object()
"""What is nowhere in a JSON value; NULL in SQL, unlike a null inside JSON."""


def kind_of(value: Any) -> str:
    """What ``jsonb_typeof`` calls it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "object" if isinstance(value, dict) else "array"


def same(left: Any, right: Any) -> bool:
    """Whether they are equal: true is not 1, and 1 is 1.0."""
    kind = kind_of(left)
    if kind != kind_of(right):
        return False
    if kind == "object":
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if kind == "array":
        return len(left) == len(right) and all(map(same, left, right))
    if kind == "number":
        return bool(left == right) or math.isclose(left, right, rel_tol=0, abs_tol=0)
    return bool(left == right)


def contains(whole: Any, part: Any, *, inside: bool = False) -> bool:
    """``whole @> part``."""
    if isinstance(whole, dict):
        return isinstance(part, dict) and all(
            key in whole and contains(whole[key], value, inside=True) for key, value in part.items()
        )
    if isinstance(whole, list):
        if isinstance(part, list):
            return all(any(contains(w, p, inside=True) for w in whole) for p in part)
        # A list at the top contains a plain value.
        return not inside and not isinstance(part, dict) and any(same(w, part) for w in whole)
    return same(whole, part)


def at(value: Any, path: Sequence[str]) -> Any:
    """``value #> path``: what is at the end of a path, or :data:`MISSING`."""
    for key in path:
        if isinstance(value, dict):
            value = value.get(key, MISSING)
        elif isinstance(value, list):
            value = _item(value, key)
        else:
            return MISSING
        if value is MISSING:
            return MISSING
    return value


def _item(items: list[Any], key: str) -> Any:
    try:
        return items[int(key)]
    except (ValueError, IndexError):
        return MISSING
