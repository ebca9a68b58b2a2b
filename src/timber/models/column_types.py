"""The types a column can have, and how their short notation is read: ``String(255)``, ``Enum[low, high]``."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pydantic_core import core_schema

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue

PLAIN_KINDS: Final = (
    "Text",
    "Integer",
    "BigInteger",
    "SmallInteger",
    "Float",
    "Boolean",
    "Date",
    "Time",
    "DateTime",
    "Interval",
    "UUID",
    "JSON",
    "JSONB",
    "Binary",
)
KINDS: Final = ("String", "Numeric", "Enum", "Array", "Vector", *PLAIN_KINDS)
TEXT_KINDS: Final = frozenset({"String", "Text"})
INTEGER_KINDS: Final = frozenset({"Integer", "BigInteger", "SmallInteger"})
JSON_KINDS: Final = frozenset({"JSON", "JSONB"})
TIME_KINDS: Final = frozenset({"Date", "Time", "DateTime"})

SEARCH_VECTOR: Final = "SearchVector"
"""The kind of the hidden column that full-text search uses; not to be declared by hand."""

LABEL_LIMIT: Final = 63
_STRING_LIMIT = 10_485_760  # PostgreSQL's own limit for varchar(n)
_NUMERIC_LIMIT = 1000
_VECTOR_LIMIT = 16_000
_NOT_IN_ARRAYS = JSON_KINDS | {"Array", "Vector", SEARCH_VECTOR}

_NOTATION = re.compile(r"(?P<kind>[A-Za-z]+)\s*(?:\((?P<sizes>[^()\[\]]*)\)|\[(?P<items>.*)\])?")


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint `` (did you mean 'x'?)`` that names the nearest known word, or nothing."""
    words = {known_word.lower(): known_word for known_word in known}
    close = difflib.get_close_matches(word.lower(), words, n=1, cutoff=0.6)
    return f" (did you mean {words[close[0]]!r}?)" if close else ""


@dataclass(frozen=True, slots=True)
class ColumnType:
    """The type of a column: its kind, with the sizes, labels or item type that kind has.

    ``length`` counts the characters of a String or the dimensions of a Vector; ``precision`` and ``scale`` the digits of
    a Numeric.
    """

    kind: str
    length: int | None = None
    precision: int | None = None
    scale: int | None = None
    labels: tuple[str, ...] = ()
    item: ColumnType | None = None

    @classmethod
    def parse(cls, text: str) -> ColumnType:  # noqa: C901 - one branch for each notation
        """Read the notation of a type.

        Raises:
            ValueError: the notation is unknown or its sizes make no sense.
        """
        match = _NOTATION.fullmatch(text.strip())
        if match is None:
            quotes = ", in quotes inside of { }" if "(" in text or "[" in text else ""
            raise ValueError(
                f"{text!r} is not a type; write it like String(255) or Enum[a, b]{quotes}"
            )
        kind, sizes, items = match["kind"], match["sizes"], match["items"]
        if kind not in KINDS:
            raise ValueError(f"unknown type {kind!r}{nearest(kind, KINDS)}")
        if kind in ("Enum", "Array"):
            if items is None:
                example = "Enum[low, high]" if kind == "Enum" else "Array[Integer]"
                raise ValueError(f"{kind} needs square brackets, like {example}")
            return _enum(items) if kind == "Enum" else _array(items)
        if items is not None:
            raise ValueError(f"{kind} takes no square brackets")
        numbers = None if sizes is None else _numbers(kind, sizes)
        if kind == "Numeric":
            return _numeric(numbers)
        if kind in ("String", "Vector"):
            limit = _STRING_LIMIT if kind == "String" else _VECTOR_LIMIT
            if numbers is None:
                also = ", or use Text" if kind == "String" else ""
                raise ValueError(f"{kind} needs a length, like {kind}(255){also}")
            if len(numbers) != 1 or not 1 <= numbers[0] <= limit:
                raise ValueError(f"{kind} takes one length between 1 and {limit}")
            return cls(kind, length=numbers[0])
        if numbers is not None:
            raise ValueError(f"{kind} takes no size")
        return cls(kind)

    def __str__(self) -> str:
        if self.kind == "Enum":
            return f"Enum[{', '.join(self.labels)}]"
        if self.item is not None:
            return f"{self.kind}[{self.item}]"
        sizes = [str(n) for n in (self.length, self.precision, self.scale) if n is not None]
        return f"{self.kind}({', '.join(sizes)})" if sizes else self.kind

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: object, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._validate, serialization=core_schema.to_string_ser_schema()
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        # Two alternatives, so that an editor completes the plain names and still checks the others.
        return {
            "anyOf": [
                {"enum": list(PLAIN_KINDS)},
                {
                    "type": "string",
                    "pattern": r"^(String\(\d+\)|Numeric(\(\d+(, *\d+)?\))?|Vector\(\d+\)|Enum\[.+\]|Array\[.+\])$",
                    "examples": ["String(255)", "Numeric(12, 2)", "Enum[low, high]"],
                },
            ],
            "description": "The type of the column.",
        }

    @classmethod
    def _validate(cls, value: Any) -> ColumnType:
        if isinstance(value, ColumnType):
            return value
        if not isinstance(value, str):
            raise ValueError("expected a type, like String(255)")  # noqa: TRY004 - pydantic collects ValueError
        return cls.parse(value)


def _numbers(kind: str, sizes: str) -> list[int]:
    parts = [part.strip() for part in sizes.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise ValueError(f"the size of {kind} is not a whole number")
    return [int(part) for part in parts]


def _numeric(numbers: list[int] | None) -> ColumnType:
    if numbers is None:
        return ColumnType("Numeric")
    precision, scale = numbers[0], (numbers[1] if len(numbers) > 1 else 0)
    if len(numbers) > 2 or not 1 <= precision <= _NUMERIC_LIMIT or scale > precision:
        raise ValueError(
            f"Numeric takes a precision between 1 and {_NUMERIC_LIMIT} and a scale not above it"
        )
    return ColumnType("Numeric", precision=precision, scale=scale)


def _enum(items: str) -> ColumnType:
    labels = tuple(_unquoted(label.strip()) for label in items.split(","))
    if not all(labels):
        raise ValueError("an Enum label is empty")
    if len(set(labels)) != len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        raise ValueError(f"the Enum label {twice!r} is there twice")
    if too_long := next((label for label in labels if len(label) > LABEL_LIMIT), None):
        raise ValueError(f"the Enum label {too_long[:20]!r}... is longer than {LABEL_LIMIT}")
    return ColumnType("Enum", labels=labels)


def _unquoted(label: str) -> str:
    quoted = len(label) > 1 and label[0] in "'\"" and label[0] == label[-1]
    return label[1:-1] if quoted else label


def _array(items: str) -> ColumnType:
    item = ColumnType.parse(items)
    if item.kind in _NOT_IN_ARRAYS:
        raise ValueError(f"an Array cannot hold {item.kind}; JSONB can")
    return ColumnType("Array", item=item)
