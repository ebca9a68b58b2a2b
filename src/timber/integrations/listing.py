"""The query parameters of a list: an equals for each column, comparisons as ``amount__gte``, an order and a cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

from pydantic import ConfigDict, Field, create_model

from timber.dto import InputDTO
from timber.models.values import INTEGER_BITS, PYTHON_TYPES, input_type

if TYPE_CHECKING:
    from collections.abc import Iterator

    from timber.models.config import ColumnConfig, ModelConfig
    from timber.repository.conditions import Condition
    from timber.repository.where import Where

_ORDERED: Final = frozenset({*INTEGER_BITS, "Float", "Numeric", "Date", "Time", "DateTime"})
_COMPARED: Final = _ORDERED | {"String", "Text", "Enum", "Boolean", "UUID"}
_FROM_TEXT: Final = frozenset({*INTEGER_BITS, "Float", "Boolean"})
"""What is strict about text in JSON, and is nothing but text in a query."""
_WORDS: Final = {"gt": "above", "gte": "from", "lt": "below", "lte": "up to"}


class ListQuery(InputDTO):
    """Which rows of a list, in which order."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    cursor: str | None = Field(
        default=None, description="next_cursor or previous_cursor of a page before."
    )
    limit: int = Field(default=100, ge=1, le=1000, description="How many rows at most.")
    order_by: list[Any] = Field(default_factory=list)


def list_query(config: ModelConfig) -> type[ListQuery]:
    """The query parameters of a model's list; a parameter that is not among them is an error."""
    fields: dict[str, Any] = {"order_by": _order(config)}
    for column in config.visible_columns:
        if column.type.kind in _COMPARED and column.name != config.owner:
            for name, annotation, description in _parameters(column):
                if name not in ListQuery.model_fields:
                    fields[name] = (annotation, Field(default=None, description=description))
    return create_model(
        f"{config.name}Query", __base__=ListQuery, __doc__=f"Which {config.name}.", **fields
    )


def conditions(where: Where, query: ListQuery) -> Iterator[Condition]:
    """The filters that a query asks for."""
    for name in sorted(query.model_fields_set - ListQuery.model_fields.keys()):
        value = getattr(query, name)
        if value is None:
            continue
        column, _, operator = name.rpartition("__")
        if not column or column not in type(query).model_fields:
            yield where[name].eq(value)
        elif operator == "is_null":
            yield where[column].is_null() if value else where[column].not_null()
        else:
            compare = getattr(where[column], "in_" if operator == "in" else operator)
            yield compare(value)


def _order(config: ModelConfig) -> tuple[Any, Any]:
    names = [
        column.name
        for column in config.visible_columns
        if column.type.kind in _COMPARED and not column.nullable
    ]
    both = tuple(word for name in names for word in (name, f"-{name}"))
    return list[Literal[both]], Field(  # type: ignore[valid-type]  # made of the model's columns
        default_factory=list,
        max_length=8,
        description="Columns, - for descending; newest first where nothing is said.",
    )


def _parameters(column: ColumnConfig) -> Iterator[tuple[str, Any, str]]:
    name, kind = column.name, _read_as(column)
    yield name, kind | None, column.comment or f"Only rows with this {name}."
    if column.type.kind == "Boolean":
        return
    yield f"{name}__ne", kind | None, f"Only rows with another {name}."
    yield (
        f"{name}__in",
        Annotated[list[kind], Field(max_length=100)] | None,  # type: ignore[valid-type]
        f"Only rows with one of these: {name}.",
    )
    if column.type.kind in _ORDERED:
        for operator, word in _WORDS.items():
            yield f"{name}__{operator}", kind | None, f"Only rows with {name} {word} this."
    if column.nullable:
        yield f"{name}__is_null", bool | None, f"Only rows without {name}, or only those with."


def _read_as(column: ColumnConfig) -> Any:
    """A column's type as text carries it; the repository holds the value against the column once more."""
    kind = column.type.kind
    return PYTHON_TYPES[kind] if kind in _FROM_TEXT else input_type(column.type)
