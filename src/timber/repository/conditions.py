"""Filters as data: checked against the model, and split into a shape to compile once and values to send."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa

from timber.errors import UsageError, ValidationError

if TYPE_CHECKING:
    from sqlalchemy.sql.elements import ColumnElement

    from timber.repository.source import Source


class Binder:
    """Collects the values of conditions under the names that their parameters get."""

    __slots__ = ("fixed", "values")

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.fixed: bool = True
        """False once a condition has no shape that tells all of it."""

    def add(self, value: object) -> None:
        """Take the value of the next parameter."""
        self.values[f"p{len(self.values)}"] = value


class Condition:
    """Something a row does or does not meet; combine with ``&``, ``|`` and ``~``."""

    __slots__ = ()

    def __and__(self, other: Condition) -> Condition:
        return Junction("and", (*_parts(self, "and"), *_parts(other, "and")))

    def __or__(self, other: Condition) -> Condition:
        return Junction("or", (*_parts(self, "or"), *_parts(other, "or")))

    def __invert__(self) -> Condition:
        return Negation(self)

    def __bool__(self) -> bool:
        raise UsageError(
            "A condition has no truth value: combine conditions with & | ~ and parentheses, not with and, or, not."
        )

    def collect(self, source: Source, binder: Binder) -> Hashable:
        """Check the condition and put its values into ``binder``; what is left is its shape."""
        raise NotImplementedError

    def build(self, source: Source, names: Callable[[], str]) -> ColumnElement[Any]:
        """The condition in SQL, with parameters in the order of :meth:`collect`."""
        raise NotImplementedError

    def fields(self) -> Iterator[str]:
        """The columns that it looks at, as far as its shape tells."""
        raise NotImplementedError


Word = Literal["and", "or"]


class Junction(Condition):
    """All or any of several conditions."""

    __slots__ = ("parts", "word")

    def __init__(self, word: Word, parts: tuple[Condition, ...]) -> None:
        self.word = word
        self.parts: tuple[Condition, ...] = parts

    def collect(self, source: Source, binder: Binder) -> Hashable:
        return (self.word, *[part.collect(source, binder) for part in self.parts])

    def build(self, source: Source, names: Callable[[], str]) -> ColumnElement[Any]:
        join = sa.and_ if self.word == "and" else sa.or_
        return join(*(part.build(source, names) for part in self.parts))

    def fields(self) -> Iterator[str]:
        for part in self.parts:
            yield from part.fields()


def _parts(condition: object, word: Word) -> tuple[Condition, ...]:
    """The parts of a junction of the same kind, so that a long chain is wide and not deep."""
    if isinstance(condition, Junction) and condition.word == word:
        return condition.parts
    if not isinstance(condition, Condition):
        raise ValidationError.of(
            "filters", "a condition can only be combined with another one, in parentheses"
        )
    return (condition,)


class Negation(Condition):
    """What does not meet a condition; where that says NULL, neither does this."""

    __slots__ = ("part",)

    def __init__(self, part: Condition) -> None:
        self.part: Condition = part

    def collect(self, source: Source, binder: Binder) -> Hashable:
        return ("not", self.part.collect(source, binder))

    def build(self, source: Source, names: Callable[[], str]) -> ColumnElement[Any]:
        return sa.not_(self.part.build(source, names))

    def fields(self) -> Iterator[str]:
        yield from self.part.fields()
