"""What a value must be before it is sent to a column, written for pydantic's core so that checking is fast."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Protocol
from uuid import UUID

from pydantic import ConfigDict, TypeAdapter
from pydantic_core import core_schema

from timber.models.value_checks import (
    base64_text,
    checked_json,
    exact_number,
    moment,
    not_a_number,
    not_null,
    plain_bytes,
    plain_date,
    standard_uuid,
    within_utc,
    without_nul,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue

    from timber.models.column_types import ColumnType

INTEGER_BITS: Final = {"SmallInteger": 16, "Integer": 32, "BigInteger": 64}

PYTHON_TYPES: Final[dict[str, Any]] = {
    "String": str,
    "Text": str,
    "Integer": int,
    "BigInteger": int,
    "SmallInteger": int,
    "Float": float,
    "Numeric": Decimal,
    "Boolean": bool,
    "Date": date,
    "Time": time,
    "DateTime": datetime,
    "Interval": timedelta,
    "UUID": UUID,
    "Binary": bytes,
    "Enum": str,
    "JSON": Any,
    "JSONB": Any,
}


_CHECKED_JSON: Final = "checked JSON"
_TEXT_LIMIT = 2**30  # bytes that PostgreSQL stores of one value


@dataclass(frozen=True, slots=True)
class Rule:
    """What PostgreSQL can hold in a column of one kind, as a marker in ``Annotated``.

    ``size`` is the length of a String or a Vector or the precision of a Numeric, ``scale`` the Numeric's scale.
    """

    kind: str
    size: int | None = None
    scale: int | None = None

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        sized = _SIZED_SCHEMAS.get(self.kind)
        return sized(self) if sized is not None else _SCHEMAS[self.kind]()

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        described = _JSON_SCHEMAS.get(self.kind)
        return handler(schema) if described is None else dict(described)


def _text(rule: Rule) -> core_schema.CoreSchema:
    # A Python function costs a short string as much as a regular expression and a long one far less.
    # Without a limit pydantic would let half of a surrogate pair through.
    limit = rule.size or _TEXT_LIMIT
    return core_schema.no_info_after_validator_function(
        without_nul, core_schema.str_schema(strict=True, max_length=limit)
    )


def _integer(rule: Rule) -> core_schema.CoreSchema:
    limit = 2 ** (INTEGER_BITS[rule.kind] - 1)
    return core_schema.int_schema(strict=True, ge=-limit, le=limit - 1)


def _float() -> core_schema.CoreSchema:
    return core_schema.float_schema(strict=True)


def _numeric(rule: Rule) -> core_schema.CoreSchema:
    return core_schema.no_info_before_validator_function(
        exact_number,
        core_schema.decimal_schema(
            max_digits=rule.size, decimal_places=rule.scale, allow_inf_nan=False
        ),
    )


def _boolean() -> core_schema.CoreSchema:
    return core_schema.bool_schema(strict=True)


def _date() -> core_schema.CoreSchema:
    return core_schema.no_info_before_validator_function(plain_date, core_schema.date_schema())


def _time() -> core_schema.CoreSchema:
    return core_schema.no_info_before_validator_function(
        not_a_number, core_schema.time_schema(tz_constraint="naive")
    )


def _datetime() -> core_schema.CoreSchema:
    return core_schema.no_info_after_validator_function(
        within_utc,
        core_schema.no_info_before_validator_function(
            moment, core_schema.datetime_schema(tz_constraint="aware")
        ),
    )


def _interval() -> core_schema.CoreSchema:
    return core_schema.no_info_before_validator_function(
        not_a_number, core_schema.timedelta_schema()
    )


def _uuid() -> core_schema.CoreSchema:
    return core_schema.no_info_plain_validator_function(
        standard_uuid, serialization=core_schema.to_string_ser_schema(when_used="json")
    )


def _binary() -> core_schema.CoreSchema:
    return core_schema.no_info_plain_validator_function(
        plain_bytes,
        serialization=core_schema.plain_serializer_function_ser_schema(
            base64_text, when_used="json-unless-none", return_schema=core_schema.str_schema()
        ),
    )


def _any_json() -> core_schema.CoreSchema:
    return core_schema.no_info_plain_validator_function(not_null)


def _encodable_json() -> core_schema.CoreSchema:
    return core_schema.no_info_plain_validator_function(checked_json)


def _vector(rule: Rule) -> core_schema.CoreSchema:
    return core_schema.list_schema(
        core_schema.float_schema(strict=True, allow_inf_nan=False),
        min_length=rule.size,
        max_length=rule.size,
    )


_SIZED_SCHEMAS: Final[dict[str, Callable[[Rule], core_schema.CoreSchema]]] = {
    "String": _text,
    "Text": _text,
    "Integer": _integer,
    "BigInteger": _integer,
    "SmallInteger": _integer,
    "Numeric": _numeric,
    "Vector": _vector,
}
_SCHEMAS: Final[dict[str, Callable[[], core_schema.CoreSchema]]] = {
    "Float": _float,
    "Boolean": _boolean,
    "Date": _date,
    "Time": _time,
    "DateTime": _datetime,
    "Interval": _interval,
    "UUID": _uuid,
    "Binary": _binary,
    "JSON": _any_json,
    "JSONB": _any_json,
    _CHECKED_JSON: _encodable_json,
}

_JSON_SCHEMAS: Final[dict[str, JsonSchemaValue]] = {
    "Text": {"type": "string"},
    "UUID": {"type": "string", "format": "uuid"},
    "Numeric": {
        "anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^[+-]?\d+(\.\d+)?$"}]
    },
    "Binary": {"type": "string", "contentEncoding": "base64"},
    "JSON": {},
    "JSONB": {},
}


@dataclass(frozen=True, slots=True)
class StrictList:
    """A list, and not just anything that can be iterated, as a marker in ``Annotated``."""

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        schema: Any = handler(source)
        return core_schema.list_schema(schema.get("items_schema"), strict=True)


def input_type(column_type: ColumnType) -> Any:
    """The annotation of a value that is not NULL on its way into a column of this type.

    JSON may be anything here: the repository checks it while it encodes it, once.
    """
    if column_type.kind == "Enum":
        return Literal[column_type.labels]
    if column_type.item is not None:
        item = input_type(column_type.item)
        return Annotated[list[item], StrictList()]  # type: ignore[valid-type]
    if column_type.kind == "Vector":
        return Annotated[list[float], Rule("Vector", column_type.length)]
    size = column_type.length or column_type.precision
    return Annotated[
        PYTHON_TYPES[column_type.kind], Rule(column_type.kind, size, column_type.scale)
    ]


def output_type(column_type: ColumnType) -> Any:
    """The annotation of a value that is not NULL on its way out: plain, since the table has already checked it."""
    if column_type.kind == "Enum":
        return Literal[column_type.labels]
    if column_type.item is not None:
        item = output_type(column_type.item)
        return list[item]  # type: ignore[valid-type]
    if column_type.kind == "Vector":
        return list[float]
    if column_type.kind == "Binary":
        return Annotated[bytes, Rule("Binary")]
    return PYTHON_TYPES[column_type.kind]


class TypedColumn(Protocol):
    """What the rules for a value depend on."""

    @property
    def type(self) -> ColumnType: ...

    @property
    def nullable(self) -> bool: ...


def column_annotation(column: TypedColumn) -> Any:
    """The annotation of a value for this column, None included where the column may be NULL."""
    annotation = input_type(column.type)
    return annotation | None if column.nullable else annotation


def column_adapter(column: TypedColumn) -> TypeAdapter[Any]:
    """The check of one value for this column, JSON included: for filters, keys and plain mappings.

    The adapter returns the value as the driver wants it (a string becomes its UUID); JSON stays as it was given.
    """
    return type_adapter(column.type, nullable=column.nullable)


@lru_cache(maxsize=4096)
def type_adapter(column_type: ColumnType, *, nullable: bool) -> TypeAdapter[Any]:
    """The check of one value for a column of this type."""
    annotation: Any = input_type(column_type)
    if column_type.kind in ("JSON", "JSONB"):
        annotation = Annotated[Any, Rule(_CHECKED_JSON)]
    # pydantic's error stays the context of Timber's: it is not to hold a caller's value.
    return TypeAdapter(
        annotation | None if nullable else annotation, config=ConfigDict(hide_input_in_errors=True)
    )
