"""Whether a row meets a condition, as PostgreSQL would say: yes, no, or not known because something is NULL."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from timber.errors import UsageError
from timber.repository.comparing import Comparison
from timber.repository.conditions import Binder, Condition, Junction, Negation
from timber.repository.source import Source
from timber.testing.memory.json_values import MISSING, at, contains, kind_of, same

Row = Mapping[str, Any]

_ORDERED: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
}
_NULLS: Final = frozenset({"is_null", "not_null"})


class Matcher:
    """Says of rows whether they meet every one of some conditions.

    Args:
        conditions: checked against the model already.
    """

    def __init__(self, source: Source, conditions: Iterable[Condition]) -> None:
        self._source = source
        self._conditions = tuple(conditions)

    def __call__(self, row: Row) -> bool:
        return all(self._meets(row, condition) is True for condition in self._conditions)

    def _meets(self, row: Row, condition: Condition) -> bool | None:
        if isinstance(condition, Comparison):
            return self._compare(row, condition)
        if isinstance(condition, Negation):
            met = self._meets(row, condition.part)
            return None if met is None else not met
        if isinstance(condition, Junction):
            return _joined(condition.word, [self._meets(row, part) for part in condition.parts])
        raise UsageError(
            "A SQLAlchemy expression is PostgreSQL's to read, and there is none behind a repository in memory: write the "
            "filter with repository.where, or test it on a database."
        )

    def _compare(self, row: Row, what: Comparison) -> bool | None:
        column = self._source.column(what.field)
        stored: Any = row[what.field]
        if column.is_json:
            return self._compare_json(stored, what)
        if what.operator in _NULLS:
            return (stored is None) == (what.operator == "is_null")
        if stored is None and what.operator not in ("in", "not_in"):
            return None
        if what.operator == "contains":
            wanted = self._source.check(what.field, what.value)
            return all(value in stored for value in wanted)
        if what.operator in ("like", "ilike"):
            return _like(str(stored), str(what.value), folded=what.operator == "ilike")
        return _held(what, stored, _equal, lambda value: self._source.check(what.field, value))

    def _compare_json(self, stored: Any, what: Comparison) -> bool | None:
        if what.operator == "contains":
            return _contains(stored, what)
        left = stored
        if what.path:
            left = MISSING if stored is None else at(stored, [str(key) for key in what.path])
            if left is None:
                left = MISSING  # a null inside JSON is to a caller what a missing key is
        elif stored is None:
            left = MISSING
        if what.operator in _NULLS:
            return (left is MISSING) == (what.operator == "is_null")
        if what.operator in ("like", "ilike"):
            return None if left is MISSING else _json_like(left, what)
        if what.operator in (*_ORDERED, "between"):
            value: Any = what.value
            first = value[0] if what.operator == "between" else value
            if left is MISSING:
                return None
            if kind_of(left) != kind_of(first):
                return False
        return _held(what, None if left is MISSING else left, same, _plain)


def _equal(left: Any, right: Any) -> bool:
    """To PostgreSQL a NaN equals another one."""
    return bool(left == right) or (left != left and right != right)  # noqa: PLR0124  # so is a NaN told


def _held(
    what: Comparison,
    left: Any,
    equal: Callable[[Any, Any], bool],
    check: Callable[[Any], Any],
) -> bool | None:
    """The comparisons that every kind of value has."""
    given: Any = what.value
    if what.operator in ("in", "not_in"):
        values = [check(value) for value in given]
        if left is None:
            return (what.operator == "not_in") if not values else None
        return any(equal(left, value) for value in values) == (what.operator == "in")
    if left is None:
        return None
    if what.operator == "between":
        lower, upper = map(check, given)
        return bool(lower <= left <= upper)
    value = check(given)
    if what.operator in ("eq", "ne"):
        return equal(left, value) == (what.operator == "eq")
    return bool(_ORDERED[what.operator](left, value))


def _contains(stored: Any, what: Comparison) -> bool | None:
    if stored is None:
        return None
    value = _plain(what.value)
    if what.path:
        found = at(stored, [str(key) for key in what.path])
        return contains(None if found is MISSING else found, value)
    return contains(stored, value)


def _plain(value: Any) -> Any:
    from timber.testing.memory.tables import as_stored_json  # noqa: PLC0415  # tables match rows, too

    return as_stored_json(value)


def _json_like(left: Any, what: Comparison) -> bool:
    from timber.dto import encode_json  # noqa: PLC0415  # as above

    text = left if isinstance(left, str) else encode_json(left)
    return _like(text, str(what.value), folded=what.operator == "ilike")


def _joined(word: str, parts: Sequence[bool | None]) -> bool | None:
    decisive = word == "or"
    if decisive in parts:
        return decisive
    return None if None in parts else not decisive


def _like(text: str, pattern: str, *, folded: bool) -> bool:
    return _pattern(pattern, folded=folded).fullmatch(text) is not None


@lru_cache(maxsize=256)
def _pattern(pattern: str, *, folded: bool) -> re.Pattern[str]:
    parts: list[str] = []
    letters = iter(pattern)
    for letter in letters:
        if letter == "\\":
            parts.append(re.escape(next(letters)))
        else:
            parts.append({"%": ".*", "_": "."}.get(letter, re.escape(letter)))
    return re.compile("".join(parts), re.DOTALL | (re.IGNORECASE if folded else 0))


def check_conditions(source: Source, conditions: Iterable[Condition]) -> tuple[Condition, ...]:
    """The conditions, each held against the model as for a statement.

    Raises:
        ValidationError: a name or value does not fit the model.
    """
    checked = tuple(conditions)
    for condition in checked:
        condition.collect(source, Binder())
    return checked
