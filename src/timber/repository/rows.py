"""Rows on their way in: a caller's values checked all at once, and completed with keys, times and defaults."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID, SafeUUID

import pydantic
from pydantic import BaseModel
from pydantic_core import SchemaValidator, core_schema
from uuid_utils import uuid7

from timber.context import current_actor
from timber.dto import encode_json
from timber.errors import ValidationError
from timber.models.values import column_annotation
from timber.repository.source import listed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from timber.models.config import ColumnConfig
    from timber.repository.source import Source

Row = dict[str, Any]

_LEFT_OUT: Any = object()

_SILENT = core_schema.CoreConfig(hide_input_in_errors=True)
"""pydantic's error stays the context of ours: it is not to hold a caller's value."""


class Rows:
    """Makes rows of what callers give for one model's table."""

    def __init__(self, source: Source) -> None:
        self._source = source
        columns = [c for c in source.columns.values() if c.generated is None]
        config = source.config
        own = {"version", "version_token"} if config.versioned else set()
        # What features keep for themselves is not a caller's to set.
        given = [c for c in columns if c.name not in source.kept]
        changed = [c for c in given if c.name not in {source.key, *own}]
        row = _row_schema(given, new=True)
        self._new_row = SchemaValidator(row, _SILENT)
        self._new_rows = SchemaValidator(core_schema.list_schema(row), _SILENT)
        self._changes = SchemaValidator(_row_schema(changed, new=False), _SILENT)
        self.json_columns: tuple[str, ...] = tuple(
            c.name for c in columns if c.is_json and c.name not in source.transformed
        )
        self.has_actor: bool = "Actor" in config.mixins
        # What a row has before its values are put in: it fixes the order of its columns, too.
        self._blank: Row = {}
        self._timed: list[str] = []
        self._made: list[tuple[str, Callable[[], Any]]] = []
        self._dropped: list[str] = []
        for column in columns:
            self._prepare(column)
        self._makes_keys = any(name == source.key and make is new_key for name, make in self._made)
        self.uniform: bool = all(c.name in self._blank or not c.optional for c in columns)
        """Whether all new rows have the same columns; else PostgreSQL makes some of them."""

    def _prepare(self, column: ColumnConfig) -> None:
        default = column.default
        blank = _LEFT_OUT if column.nullable else None
        is_key = column.name == self._source.key and column.type.kind == "UUID"
        if default is not None and default.kind == "now":
            self._blank[column.name] = blank
            self._timed.append(column.name)
        elif default is not None and default.kind == "literal" and _is_plain(default.value):
            self._blank[column.name] = default.value
        elif default is not None:
            self._blank[column.name] = blank
            make = new_key if default.kind == "uuid7" else default.maker(self._source.clock)
            self._made.append((column.name, make))
        elif self.has_actor and column.name in ("created_by", "updated_by"):
            self._blank[column.name] = blank
            self._made.append((column.name, current_actor))
        elif is_key and not column.server_default:
            self._blank[column.name] = blank
            self._made.append((column.name, new_key))
        elif column.nullable and column.server_default is None:
            self._blank[column.name] = None
        elif _may_be_none(column):
            self._dropped.append(column.name)

    def new(self, values: object, id: object = None) -> Row:
        """One complete row: checked, with its key and defaults.

        Raises:
            ValidationError: naming each field that does not fit.
        """
        try:
            given = self._new_row.validate_python(_all_of(values))
        except pydantic.ValidationError as error:
            raise ValidationError.from_pydantic(error) from None
        if id is not None:
            given[self._source.key] = self._source.check_key(id)
        return self._complete(given, self._source.clock())

    def makes_key(self, values: object, id: object) -> bool:
        """Whether the key of a new row is made here, so that nobody can have asked for it before."""
        return self._makes_keys and id is None and self._source.key not in given_names(values)

    def new_many(self, items: Iterable[object]) -> tuple[list[Row], bool]:
        """Many complete rows, and whether none of their keys was there before; an error names positions as ``3.title``."""
        try:
            given = self._new_rows.validate_python(
                [item if type(item) is dict else _all_of(item) for item in listed(items)]
            )
        except pydantic.ValidationError as error:
            raise ValidationError.from_pydantic(error) from None
        now = self._source.clock()
        complete, key = self._complete, self._source.key
        are_new = self._makes_keys and not any(key in values for values in given)
        return [complete(values, now) for values in given], are_new

    def _complete(self, given: Row, now: datetime) -> Row:
        row = {**self._blank, **given}
        for name in self._timed:
            value = row[name]
            if value is None or value is _LEFT_OUT:
                row[name] = now
        for name, make in self._made:
            value = row[name]
            if value is None or value is _LEFT_OUT:
                row[name] = make()
        for name in self._dropped:
            if name in row and row[name] is None:
                del row[name]
        return row

    def changes(self, values: object) -> Row:
        """The columns to change, checked; of an input DTO the fields that were set.

        Raises:
            ValidationError: naming each field that does not fit, the key and the version among them.
        """
        if isinstance(values, BaseModel):
            values = {name: getattr(values, name) for name in values.model_fields_set}
        try:
            changes: Row = self._changes.validate_python(values)
        except pydantic.ValidationError as error:
            raise ValidationError.from_pydantic(error) from None
        return changes

    def touch(self, changes: Row) -> None:
        """Add what every update sets: the time and the actor."""
        if self._source.config.timestamps and "updated_at" not in changes:
            changes["updated_at"] = self._source.clock()
        if self.has_actor and "updated_by" not in changes:
            changes["updated_by"] = current_actor()

    def name_json_problem(self, row: Mapping[str, Any], error: ValidationError) -> ValidationError:
        """The error of a JSON value that could not be encoded, with the name of its column."""
        for name in self.json_columns:
            if row.get(name) is not None:
                try:
                    encode_json(row[name], name)
                except ValidationError as named:
                    return named
        return error

    def name_json_problems(
        self, rows: Sequence[Mapping[str, Any]], error: ValidationError
    ) -> ValidationError:
        """The same for many rows, each with its position: ``3.content``."""
        problems = [
            (f"{index}.{problem.field}", problem.problem)
            for index, row in enumerate(rows)
            if (named := self.name_json_problem(row, error)) is not error
            for problem in named.errors
        ]
        return ValidationError(errors=problems) if problems else error


def new_key() -> UUID:
    """A UUIDv7 of the standard library's type."""
    # UUID(int=...) spends three times as long on checking what needs no check.
    key = _new_uuid(UUID)
    _set(key, "int", uuid7().int)
    _set(key, "is_safe", _UNKNOWN)
    return key


_new_uuid = UUID.__new__
_set = object.__setattr__
_UNKNOWN = SafeUUID.unknown


def given_names(values: object) -> tuple[str, ...]:
    """The names of the columns that a caller gives values for, of checked values."""
    if isinstance(values, BaseModel):
        return tuple(name for name in type(values).model_fields if name in values.model_fields_set)
    return tuple(values) if isinstance(values, Mapping) else ()


def _row_schema(columns: Iterable[ColumnConfig], *, new: bool) -> core_schema.CoreSchema:
    fields = {}
    for column in columns:
        schema = pydantic.TypeAdapter(column_annotation(column)).core_schema
        if new and _may_be_none(column):
            schema = core_schema.nullable_schema(schema)
        fields[column.name] = core_schema.typed_dict_field(
            schema, required=new and not column.optional
        )
    return core_schema.typed_dict_schema(fields, extra_behavior="forbid")


def _may_be_none(column: ColumnConfig) -> bool:
    """Whether None says that the library or PostgreSQL is to make the value, as a generated input DTO does."""
    default = column.default
    return (
        not column.nullable and column.optional and (default is None or default.kind != "literal")
    )


def _is_plain(value: object) -> bool:
    """Whether rows may share the value."""
    return not isinstance(value, dict | list)


def _all_of(values: object) -> object:
    """The values of a new row; of an input DTO those that were set, and its own defaults."""
    if not isinstance(values, BaseModel):
        return values
    given = values.model_fields_set
    return {
        name: value
        for name in type(values).model_fields
        if (value := getattr(values, name)) is not None or name in given
    }
