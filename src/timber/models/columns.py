"""Columns as a model declares them: type, default, reference and what callers may do with them."""

from __future__ import annotations

import copy
import keyword
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, TypeVar

import pydantic
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    ValidationInfo,
    field_validator,
)
from pydantic_core import core_schema
from uuid_utils.compat import uuid4, uuid7

from timber.models.column_types import INTEGER_KINDS, JSON_KINDS, TIME_KINDS, ColumnType
from timber.models.messages import explain
from timber.models.values import type_adapter

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue

T = TypeVar("T")
Sequence = Annotated[tuple[T, ...], Strict(strict=False)]
"""A tuple that a YAML list may fill; what is in it stays strict."""

NAME_LIMIT: Final = 63  # bytes PostgreSQL keeps of an identifier

_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]*")
_SYSTEM_COLUMNS = frozenset({"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"})
# A DTO written out as Python names these types beside its fields.
_TYPE_NAMES = frozenset({"str", "int", "float", "bool", "bytes", "list"})
# pydantic warns of a field that hides one of these, and a DTO with such a field cannot be used as one.
_PYDANTIC_NAMES = frozenset(
    name for name in dir(BaseModel) if not name.startswith("_") and name != "metadata"
)


class Declaration(BaseModel):
    """The base of everything a model file declares: frozen, strict, and nothing unknown in it."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, strict=True, extra="forbid", use_attribute_docstrings=True
    )


def check_identifier(name: str, what: str) -> str:
    """The name itself if PostgreSQL and Python can both use it without quotes.

    Raises:
        ValueError: saying why not.
    """
    if not _IDENTIFIER.fullmatch(name):
        raise ValueError(
            f"{name!r} is not a {what} name: use lower case letters, digits and _, beginning with a letter"
        )
    if len(name) > NAME_LIMIT:
        raise ValueError(f"the {what} name is {len(name)} long; PostgreSQL keeps {NAME_LIMIT}")
    return name


def _column_name(name: str) -> str:
    check_identifier(name, "column")
    if keyword.iskeyword(name) or name in _TYPE_NAMES:
        raise ValueError(f"{name!r} is reserved by Python")
    if name in _SYSTEM_COLUMNS:
        raise ValueError(f"{name!r} is reserved by PostgreSQL")
    if name in _PYDANTIC_NAMES or name.startswith("model_"):
        raise ValueError(f"{name!r} is reserved by pydantic")
    if "__" in name:
        raise ValueError(f"{name!r} is reserved: two underscores divide a column from an operator")
    return name


def _table_name(name: str) -> str:
    check_identifier(name, "table")
    if name.startswith(("pg_", "timber_")):
        raise ValueError(f"{name!r} is reserved: it begins with {name.split('_', maxsplit=1)[0]}_")
    return name


def _action(value: object) -> object:
    return value.lower().replace(" ", "_") if isinstance(value, str) else value


ColumnName = Annotated[str, pydantic.AfterValidator(_column_name)]
TableName = Annotated[str, pydantic.AfterValidator(_table_name)]
Action = Annotated[
    Literal["no_action", "restrict", "cascade", "set_null", "set_default"], BeforeValidator(_action)
]
SQL = Annotated[str, Field(min_length=1)]
"""A piece of SQL, written into the table's definition as it is."""


class ForeignKey(Declaration):
    """A reference to a column of another model, written ``Model.column`` or as a mapping with its actions."""

    references: str
    """The column referred to: Model.column, or table.column."""
    on_delete: Action = "no_action"
    """What happens to this row when the other one is deleted."""
    on_update: Action = "no_action"
    """What happens to this row when the other one's key changes."""

    @field_validator("references")
    @classmethod
    def _two_parts(cls, value: str) -> str:
        if not re.fullmatch(r"\w+\.\w+", value):
            raise ValueError(f"{value!r} is not a reference; write it like Session.id")
        return value

    @property
    def target(self) -> str:
        """The model, or table, referred to."""
        return self.references.partition(".")[0]

    @property
    def target_column(self) -> str:
        """The column referred to."""
        return self.references.partition(".")[2]


def _short_reference(value: object) -> object:
    return {"references": value} if isinstance(value, str) else value


_SHORT_REFERENCE = BeforeValidator(_short_reference, json_schema_input_type=str | ForeignKey | None)


@dataclass(frozen=True, slots=True)
class ColumnDefault:
    """What a column gets when nothing is said: a new key, the time, a literal value, or what a mapped class calls."""

    kind: Literal["uuid7", "uuid4", "now", "literal", "call"]
    value: Any = None

    def __str__(self) -> str:
        return f"literal {self.value!r}" if self.kind == "literal" else self.kind

    def maker(self, clock: Callable[[], datetime]) -> Callable[[], Any]:
        """A function that makes one value; each call gives the caller an object of its own."""
        if self.kind == "uuid7":
            return uuid7
        if self.kind == "uuid4":
            return uuid4
        if self.kind == "now":
            return clock
        value = self.value
        if self.kind == "call":
            # SQLAlchemy has wrapped the function so that it takes a context, which there is none of here.
            return lambda: value(None)
        if isinstance(value, dict | list):
            return lambda: copy.deepcopy(value)
        return lambda: value

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: object, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            lambda value: value,
            serialization=core_schema.to_string_ser_schema(),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"examples": ["uuid7", "uuid4", "now", 0, "text", {"literal": "now"}]}


_GENERATORS: Final = {"uuid7": {"UUID"}, "uuid4": {"UUID"}, "now": TIME_KINDS}


def _read_default(value: object, column_type: ColumnType) -> ColumnDefault | None:
    if value is None or isinstance(value, ColumnDefault):
        return value
    if isinstance(value, str) and value in _GENERATORS:
        if value == "now" and column_type.kind == "DateTime":
            return ColumnDefault("now")
        if value != "now" and column_type.kind == "UUID":
            return ColumnDefault("uuid7" if value == "uuid7" else "uuid4")
        fit = "a DateTime" if value == "now" else "a UUID"
        raise ValueError(
            f"{value} makes {fit}, and this column is {column_type}; for the text itself write "
            f"{{literal: {value}}}"
        )
    if isinstance(value, dict) and set(value) == {"literal"}:
        value = value["literal"]
    if column_type.kind == "Numeric" and isinstance(value, float):
        value = str(value)  # YAML has no decimal numbers; its shortest text is what was written
    try:
        checked = type_adapter(column_type, nullable=False).validate_python(value)
    except pydantic.ValidationError as error:
        raise ValueError(
            f"the default does not fit {column_type}: {explain(error.errors()[0])}"
        ) from None
    return ColumnDefault("literal", checked)


class ColumnConfig(Declaration):
    """One column of a model."""

    name: ColumnName
    """Its name in the table and in DTOs."""
    type: ColumnType
    """Its type."""
    nullable: bool = True
    """Whether it may be NULL; a primary key never is."""
    primary_key: bool = False
    """Whether it is the key of the row."""
    unique: bool = False
    """Whether no two rows may have the same value."""
    index: bool = False
    """Whether it gets a plain index of its own."""
    foreign_key: Annotated[ForeignKey | None, _SHORT_REFERENCE] = None
    """The column of another model that it refers to."""
    default: ColumnDefault | None = None
    """Made by the library on insert: uuid7, uuid4, now, or a literal value."""
    server_default: SQL | None = None
    """Made by PostgreSQL on insert: an SQL expression."""
    check: SQL | None = None
    """An SQL condition that each row must meet."""
    generated: SQL | None = None
    """An SQL expression that PostgreSQL computes and stores."""
    identity: bool = False
    """Whether PostgreSQL numbers the rows."""
    hidden: bool = False
    """In the table but in no DTO: for the library's and the service's own use."""
    read_only: bool = False
    """In the read DTO but never in an input: the library sets it."""
    comment: str | None = None
    """A description, for the table and for OpenAPI."""

    @field_validator("default", mode="before")
    @classmethod
    def _fitting_default(cls, value: object, info: ValidationInfo) -> ColumnDefault | None:
        # Without a valid type there is nothing to hold the default against; the type is reported.
        column_type = info.data.get("type")
        return _read_default(value, column_type) if column_type is not None else None

    @pydantic.model_validator(mode="before")
    @classmethod
    def _keys_are_not_null(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("primary_key") is True:
            return {"nullable": False, **data}
        return data

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> ColumnConfig:
        if self.primary_key and self.nullable:
            raise ValueError("a primary key cannot be nullable")
        sources = [
            key
            for key in ("default", "server_default", "generated", "identity")
            if getattr(self, key)
        ]
        if len(sources) > 1 and set(sources) != {"default", "server_default"}:
            raise ValueError(f"{sources[0]} and {sources[1]} exclude one another")
        if self.identity and self.type.kind not in INTEGER_KINDS:
            raise ValueError(f"identity numbers rows, and {self.type} is not an integer")
        if self.primary_key and self.type.kind in JSON_KINDS | {"Array", "Vector", "Float"}:
            raise ValueError(f"{self.type} cannot be a primary key")
        return self

    @property
    def is_json(self) -> bool:
        """Whether it holds JSON."""
        return self.type.kind in JSON_KINDS

    @property
    def optional(self) -> bool:
        """Whether an insert may leave it out."""
        return (
            self.nullable
            or self.default is not None
            or self.server_default is not None
            or self.generated is not None
            or self.identity
        )

    @property
    def writable(self) -> bool:
        """Whether a caller's input may set it."""
        return not (self.hidden or self.read_only or self.generated is not None)
