"""The operators of filters: which columns have them, which values they take, and what they are in SQL."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from timber.database.statements import parameter
from timber.errors import ValidationError
from timber.repository.conditions import Condition
from timber.repository.source import check_text

if TYPE_CHECKING:
    from sqlalchemy.sql.elements import ColumnElement

    from timber.models.config import ColumnConfig
    from timber.repository.conditions import Binder
    from timber.repository.source import Source

Operator = Literal[
    "eq",
    "ne",
    "lt",
    "lte",
    "gt",
    "gte",
    "in",
    "not_in",
    "between",
    "like",
    "ilike",
    "is_null",
    "not_null",
    "contains",
]
Kind = str
"""What decides about the SQL text beside the column and the operator: nothing, ``path``, or the path with the JSON type."""

Element = Any  # sqlalchemy.ColumnElement[Any]: the operators below make many kinds of it

_SIMPLE: Final = frozenset({"eq", "ne", "lt", "lte", "gt", "gte"})
_NULLS: Final = frozenset({"is_null", "not_null"})
_FINDING: Final[dict[Operator, Operator]] = {
    "eq": "in",
    "in": "in",
    "ne": "not_in",
    "not_in": "not_in",
}
"""How a value that has several stored forms is looked for: each key that a digest can be made with gives one."""
_FORM: Final = "form:"
_ORDERED: Final = frozenset({"lt", "lte", "gt", "gte", "between"})
_ANY: Final = _NULLS | _ORDERED | {"eq", "ne", "in", "not_in"}
_TEXT: Final = _ANY | {"like", "ilike"}
_OPERATORS: Final[dict[str, frozenset[str]]] = {
    "String": _TEXT,
    "Text": _TEXT,
    "Enum": _TEXT,
    "JSON": _NULLS | {"eq", "ne", "in", "not_in", "contains"},
    "JSONB": _NULLS | {"eq", "ne", "in", "not_in", "contains"},
    "Array": _NULLS | {"eq", "ne", "contains"},
    "Vector": _NULLS,
}
"""The operators of each kind of column; those of the others are :data:`_ANY`."""


class Comparison(Condition):
    """One field, or a path inside a JSON field, held against a value."""

    __slots__ = ("field", "operator", "path", "value")

    def __init__(
        self,
        field: str,
        operator: Operator,
        value: object = None,
        path: tuple[str | int, ...] = (),
    ) -> None:
        if value is None and operator in ("eq", "ne"):
            operator = "is_null" if operator == "eq" else "not_null"
        self.field: str = field
        self.operator: Operator = operator
        self.value: object | None = value
        self.path: tuple[str | int, ...] = path

    def collect(self, source: Source, binder: Binder) -> Hashable:
        kind = _collect(source, binder.add, self)
        return (self.field, self.operator, kind)

    def build(self, source: Source, names: Callable[[], str]) -> ColumnElement[Any]:
        # Only the kind of a value decides about the text; it is part of the shape.
        kind = _collect(source, _ignore, self)
        if kind.startswith(_FORM):
            column = source.table.c[kind.removeprefix(_FORM)]
            return _build(column, _FINDING[self.operator], "", names)
        return _build(source.table.c[self.field], self.operator, kind, names)

    def fields(self) -> Iterator[str]:
        yield self.field


def _ignore(value: object) -> None:
    pass


_JSON: Final[Any] = JSONB(none_as_null=False)
_JSON_NULL: Final[Any] = sa.literal_column("'null'::jsonb", _JSON)
_JSON_TYPES: Final = {
    dict: "object",
    list: "array",
    tuple: "array",
    bool: "boolean",
    int: "number",
    float: "number",
}


def _collect(source: Source, add: Callable[[object], None], what: Comparison) -> Kind:
    """Check what a comparison says, and hand on the values of its parameters.

    Raises:
        ValidationError: naming the field.
    """
    field, operator, value = what.field, what.operator, what.value
    column = source.column(field)
    if field in source.transformed and (what.path or operator not in _NULLS):
        return _collect_forms(source, add, what)
    kind = ""
    if what.path:
        _require_paths(column)
        if operator == "contains" and _is_found_from_above(what):
            # What contains it below the path contains it as a whole, which an index on the column can find.
            for key in reversed(what.path):
                value = {_key(field, key): value}
        else:
            add([_key(field, key) for key in what.path])
            kind = "path"
    if not kind and operator not in _OPERATORS.get(column.type.kind, _ANY):
        raise ValidationError.of(field, f"is {column.type}, which has no {operator}")
    if operator in _SIMPLE:
        add(_value(source, what, value, kind))
    elif operator not in _NULLS:
        for part in _COLLECTORS[operator](source, what, value, kind):
            add(part)
    return _json_kind(field, operator, value) if kind and operator in _ORDERED else kind


def _collect_forms(source: Source, add: Callable[[object], None], what: Comparison) -> Kind:
    """The values that another column may hold, where this one is stored in a form that cannot be compared."""
    if what.path or what.operator not in _FINDING:
        raise ValidationError.of(
            what.field,
            f"is encrypted: of its value PostgreSQL knows at most whether it is equal, and not {what.operator}",
        )
    values = what.value if what.operator in ("in", "not_in") else [what.value]
    column, forms = source.stored_forms(what.field, list(_checked(source, what, values)))
    add(list(forms))
    return f"{_FORM}{column}"


def _checked(source: Source, what: Comparison, values: object) -> Iterable[Any]:
    for listed in _listed(source, what, values, ""):
        yield from listed


def _is_found_from_above(what: Comparison) -> bool:
    """A list contains a plain value, but only where it is not itself inside of something."""
    return isinstance(what.value, dict | list) and all(isinstance(key, str) for key in what.path)


def _require_paths(column: ColumnConfig) -> None:
    if not column.is_json:
        raise ValidationError.of(column.name, "is not a JSON column: it has no paths")


def _key(field: str, key: object) -> str:
    if isinstance(key, int) and not isinstance(key, bool):
        return str(key)
    if not isinstance(key, str):
        raise ValidationError.of(field, "a path has keys of objects and positions in lists")
    return check_text(field, key)


def _value(source: Source, what: Comparison, value: object, kind: Kind) -> Any:
    if value is None:
        raise ValidationError.of(
            what.field, f"{what.operator} cannot compare with None; use is_null()"
        )
    return source.check_json(what.field, value) if kind else source.check(what.field, value)


def _listed(source: Source, what: Comparison, values: object, kind: Kind) -> Iterable[Any]:
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise ValidationError.of(what.field, f"{what.operator} takes a list of values")
    yield [_value(source, what, value, kind) for value in values]


def _bounds(source: Source, what: Comparison, values: object, kind: Kind) -> Iterable[Any]:
    if not isinstance(values, tuple | list) or len(values) != 2:
        raise ValidationError.of(what.field, "between takes a lower and an upper value")
    for value in values:
        yield _value(source, what, value, kind)


def _contained(source: Source, what: Comparison, value: object, kind: Kind) -> Iterable[Any]:
    if kind or source.column(what.field).is_json:
        yield source.check_json(what.field, value)  # None is a null inside JSON
    else:
        yield _value(source, what, value, kind)


def _pattern(_source: Source, what: Comparison, value: object, _kind: Kind) -> Iterable[str]:
    pattern = check_text(what.field, value)
    if (len(pattern) - len(pattern.rstrip("\\"))) % 2:
        raise ValidationError.of(what.field, "a pattern cannot end with its escape character \\")
    yield pattern


_COLLECTORS: Final[dict[Operator, Callable[[Source, Comparison, Any, Kind], Iterable[Any]]]] = {
    "in": _listed,
    "not_in": _listed,
    "between": _bounds,
    "contains": _contained,
    "like": _pattern,
    "ilike": _pattern,
}


def _json_kind(field: str, operator: str, value: Any) -> Kind:
    """A number is not compared with text, which jsonb would put below or above all numbers."""
    kinds = {
        _JSON_TYPES.get(type(part), "string")
        for part in (value if operator == "between" else [value])
    }
    if len(kinds) > 1:
        raise ValidationError.of(field, "between takes two values of the same type")
    return f"path:{kinds.pop()}"


def _build(
    column: ColumnElement[Any], operator: Operator, kind: Kind, names: Callable[[], str]
) -> ColumnElement[Any]:
    """The comparison in SQL, with parameters in the order of :func:`_collect`."""
    left: Element = column
    type_: Any = column.type
    if isinstance(type_, sa.JSON):  # of its own the type json has no operators
        left = column if isinstance(type_, JSONB) else sa.cast(column, _JSON)
        type_ = _JSON
    condition: Element = None
    if kind:
        steps = parameter(names(), ARRAY(sa.Text))
        if operator in ("like", "ilike"):
            left = left.op("#>>", return_type=sa.Text())(steps)
        elif operator == "contains":
            # As with a key that is missing in an object: only of nothing at all it is not known what it contains.
            inside = sa.func.coalesce(left.op("#>", return_type=_JSON)(steps), _JSON_NULL)
            left = sa.case((left.is_not(None), inside))
        else:
            # A null inside JSON is to a caller what a missing key is.
            left = sa.func.nullif(left.op("#>", return_type=_JSON)(steps), _JSON_NULL)
        _, _, json_type = kind.partition(":")
        if json_type:
            condition = sa.func.jsonb_typeof(left) == sa.literal_column(f"'{json_type}'")
    compared = _BUILDERS[operator](left, lambda made: parameter(names(), made), type_)
    return compared if condition is None else sa.and_(condition, compared)


_Value = Callable[[Any], Element]

_BUILDERS: Final[dict[Operator, Callable[[Element, _Value, Any], Element]]] = {
    "eq": lambda left, value, kind: left == value(kind),
    "ne": lambda left, value, kind: left != value(kind),
    "lt": lambda left, value, kind: left < value(kind),
    "lte": lambda left, value, kind: left <= value(kind),
    "gt": lambda left, value, kind: left > value(kind),
    "gte": lambda left, value, kind: left >= value(kind),
    # One parameter whatever the number of values, so that the text stays the same. One dimension: values may be lists.
    "in": lambda left, value, kind: left == sa.any_(value(ARRAY(kind, dimensions=1))),
    "not_in": lambda left, value, kind: left != sa.all_(value(ARRAY(kind, dimensions=1))),
    "between": lambda left, value, kind: left.between(value(kind), value(kind)),
    "like": lambda left, value, _: left.like(value(sa.Text())),
    "ilike": lambda left, value, _: left.ilike(value(sa.Text())),
    "contains": lambda left, value, kind: left.op("@>", is_comparison=True)(value(kind)),
    "is_null": lambda left, *_: left.is_(None),
    "not_null": lambda left, *_: left.is_not(None),
}
