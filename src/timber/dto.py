"""What services take and return: frozen pydantic models, pages and search hits."""

from __future__ import annotations

import math
from datetime import date, datetime, time
from typing import ClassVar, Generic, Literal, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict

from timber.errors import ValidationError

T = TypeVar("T")

JSON_DEPTH_LIMIT = 254  # where orjson gives up


class DTO(BaseModel):
    """A row as callers see it: frozen, with plain values of its own."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, hide_input_in_errors=True)


class InputDTO(BaseModel):
    """What a caller hands in: frozen, and a field it does not know is an error."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True
    )


class Page(BaseModel, Generic[T]):
    """One numbered page of a list, with the number of all items."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    items: list[T]
    total: int
    page: int
    per_page: int

    @property
    def pages(self) -> int:
        """The number of pages, at least 1."""
        return max(1, -(-self.total // self.per_page))


class CursorPage(BaseModel, Generic[T]):
    """One stretch of a list, with opaque cursors to what follows and what came before (None at an end)."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    items: list[T]
    next_cursor: str | None = None
    previous_cursor: str | None = None


class SearchHit(BaseModel, Generic[T]):
    """One result of a search: the item, its score (higher is better), and a snippet of the text that matched.

    Scores are compared within one search only. Where it went by meaning, too, there are the places that the item has, from
    1, among those with the words and among those with the meaning.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    item: T
    score: float
    snippet: str | None = None
    keyword_rank: int | None = None
    semantic_rank: int | None = None


SearchMode = Literal["keyword", "semantic", "hybrid"]
"""What a search goes by: the words of the query, its meaning, or both."""


def encode_json(value: object, field: str = "value") -> str:
    """JSON text of plain JSON values and aware datetimes, which become ISO 8601 strings.

    Raises:
        ValidationError: naming the path below ``field`` of a value that JSON or PostgreSQL's jsonb cannot hold: a key
            that is not a string, NaN or infinity, an integer beyond 64 bits, a naive datetime, a NUL character.
    """
    try:
        encoded = orjson.dumps(value, _encode_other, _OPTIONS)
    except (TypeError, RecursionError):
        _check(value, field, 0)
        raise ValidationError.of(field, "is not a JSON value") from None
    # orjson writes NaN as null, and jsonb cannot hold NUL: both are rare, so the slow look happens only then.
    if b"null" in encoded or b"\\u0000" in encoded:
        _check(value, field, 0)
    return encoded.decode()


_OPTIONS = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS


_SHOWN = 60
"""How many characters of a path are shown that has hundreds of steps, as where a value contains itself."""


def _encode_other(value: object) -> str:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.isoformat()
    raise TypeError


def _check(value: object, path: str, depth: int) -> None:
    """Find the first thing in a value that JSON or jsonb cannot hold."""
    if depth > JSON_DEPTH_LIMIT:
        way = path if len(path) <= _SHOWN else f"{path[:_SHOWN]}…"
        raise ValidationError.of(way, f"is nested deeper than {JSON_DEPTH_LIMIT} levels")
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ValidationError.of(path, "has a key that is not a string")
            _check(key, f"{path}.{key!r}", depth)
            _check(item, f"{path}.{key}", depth + 1)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check(item, f"{path}.{index}", depth + 1)
    elif (problem := _problem(value)) is not None:
        raise ValidationError.of(path, problem)


def _problem(value: object) -> str | None:  # noqa: PLR0911  # one line for each kind of value
    """What is wrong with a value that holds no others."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, str):
        return _text_problem(value)
    if isinstance(value, int):
        fits = -(2**63) <= value < 2**64
        return None if fits else "is an integer beyond 64 bits; write it as a string"
    if isinstance(value, float):
        return None if math.isfinite(value) else "is NaN or infinite, which JSON does not know"
    if isinstance(value, datetime):
        aware = value.tzinfo is not None
        return None if aware else "is a datetime without a time zone; make it aware"
    if isinstance(value, date | time):
        return "is a date or time, which JSON does not know; write it as a string"
    try:
        orjson.dumps(value, option=_OPTIONS)
    except TypeError:
        return f"is of the type {type(value).__name__}, which is not a JSON value"
    return None


def _text_problem(text: str) -> str | None:
    if "\0" in text:
        return "holds a NUL character, which PostgreSQL cannot store"
    return None if _is_utf8(text) else "holds half of a surrogate pair, which is not text"


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
