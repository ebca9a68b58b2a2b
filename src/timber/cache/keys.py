"""Names of cached things, the tags that lists hang on, and the keys they have in Redis.

A row is its own name (``Session:ID``), an answer to a question hangs on tags (``user_sessions:USER``), and everything of
a model hangs on the model's name. Names are the same in every version of the code, so that a process can clear what
another one, of the release before, has stored: the schema's fingerprint stands in the payload of a row and in the name of
a question, never in what a clear has to know.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_FIELD = re.compile(r"\{([a-z_][a-z0-9_]*)\}")
_BRACES = re.compile(r"\{[^{}]*\}")
_TEXT_KINDS = frozenset({"String", "Text", "Enum", "Integer", "BigInteger", "SmallInteger", "UUID"})


def row_name(model: str, key: object) -> str:
    """The name of one row."""
    return f"{model}:{key}"


def question_name(model: str, fingerprint: str, question: object) -> str:
    """The name of an answer.

    Args:
        question: anything whose ``repr`` tells it from every other: the verb, the shape of the filters, their values.
    """
    digest = blake2b(f"{fingerprint}\n{question!r}".encode(), digest_size=16).hexdigest()
    return f"{model}?{digest}"


def skeleton(tag: str) -> str:
    """A tag's template without what is in its braces: whoever fills them in, it is the same tag."""
    return _BRACES.sub("{}", tag)


def versioned(name: str, version: object) -> str:
    """The name of one version of something: what is stored under it never changes, it is only no longer asked for."""
    return f"{name}@{version}"


class TagTemplate:
    """A tag with columns in it: ``user_sessions:{user_id}``.

    Args:
        kinds: the kinds of the model's columns. Only text, whole numbers and UUIDs are written alike by Python and by
            PostgreSQL, which both have to arrive at the same tag.

    Raises:
        ValueError: naming the column that cannot be part of a tag.
    """

    def __init__(self, text: str, kinds: Mapping[str, str]) -> None:
        self.text = text
        self.columns: tuple[Any, ...] = tuple(_FIELD.findall(text))
        for column in self.columns:
            if kinds.get(column) not in _TEXT_KINDS:
                raise ValueError(
                    f"the tag {text!r} names {column!r}, which is not a text, whole number or UUID column"
                )
        self._parts = _FIELD.split(text)
        self._fields: tuple[str, ...] = tuple(self._parts[1::2])
        plain = [part.replace("{", "{{").replace("}", "}}") for part in self._parts[::2]]
        self._format = "{}".join(plain)

    def of(self, row: Mapping[str, Any]) -> str:
        """The tag of a row; an empty column is empty in it."""
        return self._format.format(*[_written(row[column]) for column in self._fields])

    def sql(self, row: str) -> str:
        """The expression that gives the same in PostgreSQL.

        Args:
            row: the alias of the row.
        """
        literals = [
            _literal(part) if index % 2 == 0 else f'{row}."{part}"::text'
            for index, part in enumerate(self._parts)
            if part or index % 2
        ]
        return f"concat({', '.join(literals)})"


def _written(value: object) -> str:
    return "" if value is None else str(value)


def _literal(text: str) -> str:
    doubled = text.replace("'", "''")
    return f"'{doubled}'"


@dataclass(frozen=True, slots=True)
class Keyspace:
    """The keys of one Timber in Redis."""

    prefix: str = "timber"

    def entry(self, name: str) -> str:
        """Where a value or a lease is."""
        return f"{self.prefix}:e:{name}"

    def generation(self, name: str) -> str:
        """Where the random generation of a tag is."""
        return f"{self.prefix}:g:{name}"

    @property
    def channel(self) -> str:
        """Where clears are announced."""
        return f"{self.prefix}:clear"
