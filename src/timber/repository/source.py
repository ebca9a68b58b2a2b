"""One model's table as the repository sees it: names and values checked, rows made, DTOs read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import pydantic
import sqlalchemy as sa
from pydantic import BaseModel
from pydantic_core import SchemaValidator, core_schema
from uuid_utils.compat import uuid7

from timber.context import current_actor
from timber.dto import encode_json
from timber.errors import ConfigurationError, UsageError, ValidationError
from timber.models.values import column_adapter, column_annotation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from timber.models.config import ColumnConfig, ModelConfig

D = TypeVar("D", bound=BaseModel)

Row = dict[str, Any]


class Source:
    """The table of one model.

    Args:
        model: a mapped class out of a registry.
        clock: gives the current time for created_at and its like.

    Raises:
        ConfigurationError: the class is not one of a registry.
    """

    def __init__(self, model: type[Any], clock: Callable[[], datetime]) -> None:
        config: ModelConfig | None = getattr(model, "__model_config__", None)
        if config is None:
            raise ConfigurationError(
                f"{model.__name__} is not a model of a registry: pass what registry.get_model() gives."
            )
        self.config = config
        self.name = config.name
        self.table: sa.Table = model.__table__
        self.key = config.primary_key
        self.clock = clock
        # A search column is PostgreSQL's own: it is neither written, read nor compared.
        self._columns = {c.name: c for c in config.columns if c.type.kind != "SearchVector"}
        self._checks: dict[str, Callable[[Any], Any]] = {
            name: column_adapter(column).validate_python for name, column in self._columns.items()
        }
        self._new_rows = SchemaValidator(core_schema.list_schema(self._row_schema(for_insert=True)))
        self._new_row = SchemaValidator(self._row_schema(for_insert=True))
        self._changes = SchemaValidator(self._row_schema(for_insert=False))
        self._fills = self._make_fills()
        self.json_columns = tuple(c.name for c in config.columns if c.is_json)

    # Names and values

    def column(self, name: str, where: str = "filters") -> ColumnConfig:
        """The column of this name.

        Raises:
            ValidationError: there is none.
        """
        column = self._columns.get(name)
        if column is None:
            raise ValidationError.of(name, f"is not a column of {self.name} ({where})")
        return column

    def check(self, name: str, value: object) -> Any:
        """The value as the driver takes it for this column."""
        try:
            return self._checks[name](value)
        except pydantic.ValidationError as error:
            raise ValidationError.from_pydantic(error, prefix=f"{name}.").at(name) from None

    def check_key(self, value: object) -> Any:
        """The key of a row; a UUID may be given as text."""
        if value is None:
            raise ValidationError.of(self.key, "is missing")
        return self.check(self.key, value)

    def check_text(self, name: str, value: object) -> str:
        if not isinstance(value, str) or "\0" in value:
            raise ValidationError.of(name, "expected text without NUL characters")
        return value

    def check_json(self, name: str, value: object) -> Any:
        """A JSON value, checked here so that the error names the field."""
        encode_json(value, name)
        return value

    def owner_column(self) -> str:
        """The column with the owner of a row.

        Raises:
            UsageError: the model has none.
        """
        if self.config.owner is None:
            raise UsageError(f"{self.name} has no owner column: `owner` cannot narrow its rows.")
        return self.config.owner

    # Rows on their way in

    def new_row(self, values: object, id: object = None) -> Row:  # noqa: A002  # the public name of the argument
        """One complete row: checked, with its key and defaults."""
        try:
            row: Row = self._new_row.validate_python(_plain(values))
        except pydantic.ValidationError as error:
            raise ValidationError.from_pydantic(error) from None
        if id is not None:
            row[self.key] = self.check_key(id)
        self._fill(row, self.clock())
        return row

    def new_rows(self, items: Iterable[object]) -> list[Row]:
        """Many complete rows; an error names positions as ``3.title``."""
        try:
            rows: list[Row] = self._new_rows.validate_python([_plain(item) for item in items])
        except pydantic.ValidationError as error:
            raise ValidationError.from_pydantic(error) from None
        now = self.clock()
        for row in rows:
            self._fill(row, now)
        return rows

    def given(self, values: object) -> tuple[str, ...]:
        """The names of the columns that a caller gives values for."""
        plain = _plain(values)
        return tuple(plain) if isinstance(plain, dict) else ()

    def names_of(self, rows: Sequence[Row]) -> tuple[str, ...]:
        """The columns that any of the rows has."""
        first = tuple(rows[0])
        if all(len(row) == len(first) and row.keys() == rows[0].keys() for row in rows):
            return first
        return tuple(dict.fromkeys(name for row in rows for name in row))

    def changes(self, values: object) -> Row:
        """The columns to change, checked."""
        try:
            changes: Row = self._changes.validate_python(_plain(values))
        except pydantic.ValidationError as error:
            raise ValidationError.from_pydantic(error) from None
        return changes

    def _row_schema(self, *, for_insert: bool) -> core_schema.CoreSchema:
        fields = {}
        for column in self._columns.values():
            if column.generated is not None:
                continue
            if not for_insert and column.name == self.key:
                continue
            fields[column.name] = core_schema.typed_dict_field(
                pydantic.TypeAdapter(column_annotation(column)).core_schema,
                required=for_insert and not column.optional,
            )
        return core_schema.typed_dict_schema(fields, extra_behavior="forbid")

    def _make_fills(self) -> list[tuple[str, Callable[[], Any] | None]]:
        """What completes a new row: a maker of values, or None for the time, which is one for the whole row."""
        fills: list[tuple[str, Callable[[], Any] | None]] = []
        for column in self._columns.values():
            if column.generated is not None:
                continue
            if column.default is not None:
                is_now = column.default.kind == "now"
                fills.append((column.name, None if is_now else column.default.maker(self.clock)))
            elif "Actor" in self.config.mixins and column.name in ("created_by", "updated_by"):
                fills.append((column.name, current_actor))
            elif (
                column.name == self.key and column.type.kind == "UUID" and not column.server_default
            ):
                fills.append((column.name, uuid7))
            elif column.nullable and column.server_default is None and not column.identity:
                # Always there, so that inserts have one shape.
                fills.append((column.name, _none))
        return fills

    def _fill(self, row: Row, now: datetime) -> None:
        for name, make in self._fills:
            if name not in row:
                row[name] = now if make is None else make()

    def touch(self, changes: Row) -> None:
        """Add what every update sets: the time and the actor."""
        if self.config.timestamps:
            changes.setdefault("updated_at", self.clock())
        if "Actor" in self.config.mixins:
            changes.setdefault("updated_by", current_actor())

    def name_json_problem(
        self, values: Mapping[str, Any], error: ValidationError
    ) -> ValidationError:
        """The error of a JSON value that could not be encoded, with the name of its column."""
        for name in self.json_columns:
            if values.get(name) is not None:
                try:
                    encode_json(values[name], name)
                except ValidationError as named:
                    return named
        return error


def _plain(values: object) -> object:
    if isinstance(values, BaseModel):
        return {name: getattr(values, name) for name in values.model_fields_set}
    return values


def _none() -> None:
    return None
