"""Whether a DTO fits the table it is meant for."""

from __future__ import annotations

import enum
import types
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Final,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
)
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, PlainValidator, WrapValidator

from timber.errors import ConfigurationError
from timber.models.column_types import SEARCH_VECTOR, nearest
from timber.models.fingerprint import fingerprint, written_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

    from timber.models.config import ColumnConfig, ModelConfig

Purpose = Literal["read", "write", "any"]
"""What a DTO is for: rows out of the table, values into it, or either."""

# What pydantic makes of a value from the table without losing anything of it.
_FITTING: Final[dict[str, frozenset[type]]] = {
    "String": frozenset({str}),
    "Text": frozenset({str}),
    "Enum": frozenset({str}),
    "Integer": frozenset({int, float, Decimal}),
    "BigInteger": frozenset({int, Decimal}),
    "SmallInteger": frozenset({int, float, Decimal}),
    "Float": frozenset({float}),
    "Numeric": frozenset({Decimal, float}),
    "Boolean": frozenset({bool}),
    "Date": frozenset({date}),
    "Time": frozenset({time}),
    "DateTime": frozenset({datetime}),
    "Interval": frozenset({timedelta}),
    "UUID": frozenset({UUID}),
    "Binary": frozenset({bytes}),
    "Array": frozenset({list, tuple, set, frozenset, Sequence}),
    "Vector": frozenset({list, tuple, Sequence}),
    "JSON": frozenset({dict, list, str, int, float, bool, Mapping, Sequence, tuple}),
    "JSONB": frozenset({dict, list, str, int, float, bool, Mapping, Sequence, tuple}),
}
_KNOWN: Final = frozenset().union(*_FITTING.values()) | {complex, bytearray}


def check_dto(config: ModelConfig, dto: type[BaseModel], *, purpose: Purpose = "read") -> None:
    """Hold the fields of a DTO against the columns of the model it is for.

    Raises:
        ConfigurationError: a field has no column (and no relationship) behind it, or cannot hold what the column holds;
            or the DTO was written for other columns. All of it is in the one error.
    """
    errors = list(_outdated(config, dto))
    for name, field in dto.model_fields.items() if not errors else ():
        problem = _problem(config, dto, name, field, purpose)
        if problem is not None:
            errors.append(ConfigurationError(f"{dto.__name__}.{name}: {problem}"))
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ConfigurationError(errors=errors)


def _outdated(config: ModelConfig, dto: type[BaseModel]) -> Iterator[ConfigurationError]:
    written = written_for(dto)
    if written is None:
        return
    model, digest = written
    if model != config.name:
        yield ConfigurationError(f"{dto.__name__} was made for {model}, not for {config.name}")
    elif digest != fingerprint(config):
        yield ConfigurationError(
            f"{dto.__name__} was written when {model} had other columns; run `timber schema --python` again"
        )


def _problem(
    config: ModelConfig, dto: type[BaseModel], name: str, field: FieldInfo, purpose: Purpose
) -> str | None:
    where = f"{config.name}.{name}"
    if name not in config.column_names:
        if purpose != "write" and config.relationship(name) is not None:
            return None
        hint = nearest(name, [column.name for column in config.visible_columns])
        # A field with a default may be filled elsewhere, unless it looks like a column that was misspelt.
        return f"there is no column {where}{hint}" if field.is_required() or hint else None
    column = config.column(name)
    made = column.generated is not None or column.type.kind == SEARCH_VECTOR
    if column.type.kind == SEARCH_VECTOR or (purpose == "write" and made):
        why = "made by PostgreSQL: nobody sets it" if purpose == "write" else "only for searching"
        return f"the column {where} is {why}"
    if _converts(dto, name, field):
        return None
    kinds = set(_kinds(field.annotation))
    if purpose == "read" and column.nullable and not kinds & {types.NoneType, object}:
        return f"the column {where} may be NULL, so the field must accept None"
    return _misfit(column, where, kinds - {types.NoneType})


def _misfit(column: ColumnConfig, where: str, kinds: set[type]) -> str | None:
    fitting = _FITTING.get(column.type.kind, frozenset())
    # A type that is neither the table's nor plain Python's may well read the value: it is left to try.
    if not kinds or any(kind in fitting or not _is_plain(kind) for kind in kinds):
        return None
    wanted = " or ".join(sorted(kind.__name__ for kind in kinds))
    return f"the column {where} is {column.type}, which does not fit {wanted}"


def _is_plain(kind: type) -> bool:
    return kind in _KNOWN


def _converts(dto: type[BaseModel], name: str, field: FieldInfo) -> bool:
    """Whether the DTO has a validator of its own that sees the value first."""
    if any(
        isinstance(part, BeforeValidator | PlainValidator | WrapValidator)
        for part in field.metadata
    ):
        return True
    decorators: Any = dto.__pydantic_decorators__
    return any(
        decorator.info.mode != "after"
        and (name in decorator.info.fields or "*" in decorator.info.fields)
        for decorator in decorators.field_validators.values()
    )


def _kinds(annotation: Any) -> Iterator[type]:  # noqa: C901, PLR0912 - one branch for each form
    """The plain types an annotation allows; ``object`` for anything."""
    origin = get_origin(annotation)
    if annotation is None or annotation is types.NoneType:
        yield types.NoneType
    elif annotation is Any or annotation is object or isinstance(annotation, TypeVar):
        yield object
    elif hasattr(annotation, "__value__"):  # a type alias
        yield from _kinds(annotation.__value__)
    elif origin is Annotated:
        yield from _kinds(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for argument in get_args(annotation):
            yield from _kinds(argument)
    elif origin is Literal:
        for value in get_args(annotation):
            yield type(value) if not isinstance(value, enum.Enum) else type(value.value)
    elif isinstance(origin, type):
        yield origin
    elif isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        for member in annotation:
            yield type(member.value)
    elif isinstance(annotation, type):
        yield annotation
    elif hasattr(annotation, "__supertype__"):  # a NewType
        yield from _kinds(annotation.__supertype__)
    else:
        yield object
