"""Filter trees as plain data, made into conditions, and evaluated in Python as SQL evaluates them."""

from __future__ import annotations

import functools
import math
import operator
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

from hypothesis import strategies as st

from timber.repository import Condition, Where

Truth = bool | None
"""None where SQL says NULL."""


class Leaf(NamedTuple):
    """One comparison; ``path`` leads into JSON."""

    field: str
    operator: str
    value: Any = None
    path: tuple[str | int, ...] = ()


class Node(NamedTuple):
    """``and``, ``or`` or ``not`` over others."""

    word: str
    parts: tuple[Any, ...]


def condition_of(where: Where, tree: Leaf | Node) -> Condition:
    """The tree as a caller would write it."""
    if isinstance(tree, Node):
        parts = [condition_of(where, part) for part in tree.parts]
        if tree.word == "not":
            return ~parts[0]
        return functools.reduce(operator.and_ if tree.word == "and" else operator.or_, parts)
    field = functools.reduce(operator.getitem, tree.path, where[tree.field])
    if tree.operator in ("is_null", "not_null"):
        return getattr(field, tree.operator)()
    if tree.operator == "between":
        return field.between(*tree.value)
    name = {"in": "in_"}.get(tree.operator, tree.operator)
    condition: Condition = getattr(field, name)(tree.value)
    return condition


def evaluate(row: dict[str, Any], tree: Leaf | Node) -> Truth:
    """Whether a row meets the tree."""
    if isinstance(tree, Leaf):
        return _leaf(row, tree)
    parts = [evaluate(row, part) for part in tree.parts]
    if tree.word == "not":
        return None if parts[0] is None else not parts[0]
    decisive = tree.word == "or"
    if decisive in parts:
        return decisive
    return None if None in parts else not decisive


def _leaf(row: dict[str, Any], leaf: Leaf) -> Truth:  # noqa: PLR0911  # one answer for each kind of operator
    stored = row.get(leaf.field)
    if leaf.operator == "contains":
        if stored is None:
            return None
        if leaf.field == "numbers":
            return set(leaf.value) <= set(stored)
        return _json_contains(_follow(stored, leaf.path), leaf.value, top=True)
    is_json = leaf.field in ("data", "text_data")
    if leaf.path:
        stored = _follow(stored, leaf.path)
    if leaf.operator in ("is_null", "not_null"):
        return (stored is None) == (leaf.operator == "is_null")
    if leaf.operator in ("like", "ilike"):
        return None if stored is None else _like(str(stored), leaf.value, leaf.operator == "ilike")
    if leaf.operator in ("in", "not_in"):
        if not leaf.value:
            return leaf.operator == "not_in"
        if stored is None:
            return None
        key = _json_key if is_json else _key
        return (key(stored) in [key(v) for v in leaf.value]) == (leaf.operator == "in")
    if stored is None:
        return None
    if is_json:
        return _compare_json(stored, leaf)
    return _compare(_key(stored), leaf.operator, leaf.value, _key)


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
}


def _compare(stored: Any, name: str, value: Any, key: Callable[[Any], Any]) -> bool:
    if name == "between":
        return bool(key(value[0]) <= stored <= key(value[1]))
    return _COMPARISONS[name](stored, key(value))


def _compare_json(stored: Any, leaf: Leaf) -> bool:
    ordered = leaf.operator not in ("eq", "ne")
    sample = leaf.value[0] if leaf.operator == "between" else leaf.value
    if ordered and _json_type(stored) != _json_type(sample):
        return False
    return _compare(_json_key(stored), leaf.operator, leaf.value, _json_key)


def _key(value: Any) -> Any:
    """PostgreSQL's order: NaN equals itself, and is above everything."""
    if isinstance(value, float):
        return (math.isnan(value), 0.0 if math.isnan(value) else value)
    return value


def _json_type(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else type(value).__name__


def _json_key(value: Any) -> Any:
    """Equal for JSON values that jsonb holds for equal: 1 and 1.0 are, 1 and true are not."""
    if isinstance(value, dict):
        return ("dict", tuple(sorted((k, _json_key(v)) for k, v in value.items())))
    if isinstance(value, list):
        return ("list", tuple(_json_key(v) for v in value))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return (_json_type(value), value)
    return ("number", Decimal(repr(value)))


def _follow(value: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        if isinstance(value, dict):
            value = value.get(str(step))
        elif isinstance(value, list) and isinstance(step, int):
            value = value[step] if -len(value) <= step < len(value) else None
        else:
            return None
    return value


def _json_contains(whole: Any, part: Any, *, top: bool = False) -> bool:
    if isinstance(whole, dict) and isinstance(part, dict):
        return all(k in whole and _json_contains(whole[k], v) for k, v in part.items())
    if isinstance(whole, list) and isinstance(part, list):
        return all(any(_json_contains(w, p) for w in whole) for p in part)
    if top and isinstance(whole, list) and not isinstance(part, dict):
        return any(_json_key(w) == _json_key(part) for w in whole)
    if isinstance(whole, dict | list) or isinstance(part, dict | list):
        return False
    return bool(_json_key(whole) == _json_key(part))


def _like(text: str, pattern: str, ignore_case: bool) -> bool:
    regex, escaped = "", False
    for character in pattern:
        if escaped or character not in "%_\\":
            regex += re.escape(character)
            escaped = False
        elif character == "\\":
            escaped = True
        else:
            regex += ".*" if character == "%" else "."
    flags = re.DOTALL | (re.IGNORECASE if ignore_case else 0)
    return re.fullmatch(regex, text, flags) is not None


# Strategies: small worlds, so that rows and trees meet

numbers = st.integers(-2, 2)
ratios = st.sampled_from([-1.5, 0.0, -0.0, 1.0, float("inf"), float("-inf"), float("nan")])
prices = st.sampled_from([Decimal("-1.5"), Decimal(0), Decimal("0.01"), Decimal("2.00")])
words = st.text("aA%_\\", max_size=3)
patterns = words.filter(lambda p: (len(p) - len(p.rstrip("\\"))) % 2 == 0)
labels = st.sampled_from(["low", "middle", "high"])
lists = st.lists(numbers, max_size=3)
plain_json = st.none() | st.booleans() | numbers | st.sampled_from([0.5, 1.0, "", "a", "1", "A"])
json_values = st.recursive(
    plain_json,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab0"), inner, max_size=3)
    ),
    max_leaves=6,
)
some_json = json_values.filter(lambda value: value is not None)
paths = st.lists(st.sampled_from(["a", "b", 0, 1, -1]), min_size=1, max_size=3).map(tuple)

WORLDS: dict[str, st.SearchStrategy[Any]] = {
    "number": numbers,
    "ratio": ratios,
    "price": prices,
    "word": words,
    "label": labels,
    "flag": st.booleans(),
    "numbers": lists,
    "data": some_json,
    "text_data": some_json,
}
rows = st.lists(
    st.fixed_dictionaries({name: st.none() | world for name, world in WORLDS.items()}), max_size=8
).map(lambda found: [{"id": index, **row} for index, row in enumerate(found)])


@st.composite
def _plain_leaves(draw: st.DrawFn) -> Leaf:
    field = draw(st.sampled_from(["number", "ratio", "price", "word", "label", "flag"]))
    world = WORLDS[field]
    names = ["eq", "ne", "in", "not_in", "is_null", "not_null"]
    # The order of text is the database's collation's.
    names += ["lt", "lte", "gt", "gte", "between"] if field not in ("word", "label") else []
    name = draw(st.sampled_from([*names, *(["like", "ilike"] if field == "word" else [])]))
    return Leaf(field, name, draw(_value_for(name, world)))


def _value_for(name: str, world: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    if name in ("in", "not_in"):
        return st.lists(world, max_size=3)
    if name == "between":
        return st.tuples(world, world)
    if name in ("like", "ilike"):
        return patterns
    return st.none() if name in ("is_null", "not_null") else world


@st.composite
def _json_leaves(draw: st.DrawFn) -> Leaf:
    field = draw(st.sampled_from(["data", "text_data"]))
    path = draw(st.just(()) | paths)
    names = ["eq", "ne", "in", "not_in", "contains", "is_null", "not_null"]
    names += ["lt", "lte", "gt", "gte", "between"] if path else []
    name = draw(st.sampled_from(names))
    if name == "contains":
        return Leaf(field, name, draw(json_values if path else some_json), path)
    world = some_json
    if name in ("lt", "lte", "gt", "gte", "between"):
        world = draw(st.sampled_from([st.booleans(), numbers | st.just(0.5)]))
    return Leaf(field, name, draw(_value_for(name, world)), path)


_list_leaves = st.builds(
    Leaf,
    st.just("numbers"),
    st.sampled_from(["eq", "ne", "contains", "is_null"]),
    lists,
    st.just(()),
)
trees: st.SearchStrategy[Leaf | Node] = st.recursive(
    _plain_leaves() | _json_leaves() | _list_leaves,
    lambda inner: (
        st.builds(
            Node,
            st.sampled_from(["and", "or"]),
            st.lists(inner, min_size=1, max_size=3).map(tuple),
        )
        | st.builds(Node, st.just("not"), st.tuples(inner))
    ),
    max_leaves=6,
)
