"""DTOs generated for a model: what an insert takes, what an update takes, and what a row looks like."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field, create_model

from timber.dto import DTO, InputDTO
from timber.models.fingerprint import WRITTEN_FOR, fingerprint
from timber.models.values import input_type, output_type

if TYPE_CHECKING:
    from timber.models.config import ColumnConfig, ModelConfig

MODULE: Final = "timber.models.generated"

LEFT_OUT: Final[Any] = None
"""The default of a field that may be left out but not be None. It is never stored: only fields that were set are."""


def create_dto(config: ModelConfig) -> type[InputDTO]:
    """``NameCreate``: the columns a caller may set. What the library or PostgreSQL makes may be left out."""
    fields: dict[str, Any] = {}
    for column in config.columns:
        if column.writable and not column.identity:
            fields[column.name] = _create_field(column)
    return _make(config, "Create", InputDTO, f"A new {config.name}.", fields)


def _create_field(column: ColumnConfig) -> tuple[Any, Any]:
    annotation = input_type(column.type)
    if column.nullable:
        annotation = annotation | None
    default = column.default
    if default is not None and default.kind == "literal":
        value = default.value
        if isinstance(value, dict | list):
            return annotation, _described(column, default_factory=lambda: copy.deepcopy(value))
        return annotation, _described(column, default=value)
    if column.nullable:
        return annotation, _described(column, default=None)
    if column.optional:
        return annotation, _described(column, default=LEFT_OUT, json_schema_extra=without_default)
    return annotation, _described(column)


def update_dto(config: ModelConfig) -> type[InputDTO]:
    """``NameUpdate``: what of it may be changed. A field left out stays as it is; None is for columns that may be NULL."""
    fields: dict[str, Any] = {}
    for column in config.columns:
        if updatable(config, column):
            annotation = input_type(column.type)
            fields[column.name] = (
                annotation | None if column.nullable else annotation,
                _described(column, default=LEFT_OUT, json_schema_extra=without_default),
            )
    return _make(config, "Update", InputDTO, f"Changes to a {config.name}.", fields)


def updatable(config: ModelConfig, column: ColumnConfig) -> bool:
    """Whether a caller's update may change the column: not the key, and not whose row it is."""
    return column.writable and not column.primary_key and column.name != config.owner


def without_default(schema: dict[str, Any]) -> None:
    """Take out of a JSON schema the default that a field has only in Python."""
    schema.pop("default", None)


def read_dto(config: ModelConfig) -> type[DTO]:
    """``NameRead``: every column but the hidden ones."""
    fields: dict[str, Any] = {}
    for column in config.visible_columns:
        annotation = output_type(column.type)
        fields[column.name] = (
            annotation | None if column.nullable else annotation,
            _described(column),
        )
    return _make(config, "Read", DTO, config.comment or f"A {config.name}.", fields)


def _described(column: ColumnConfig, **options: Any) -> Any:
    return Field(description=column.comment, **options)


def _make(
    config: ModelConfig, suffix: str, base: type[Any], doc: str, fields: dict[str, Any]
) -> type[Any]:
    made = create_model(
        f"{config.name}{suffix}", __base__=base, __doc__=doc, __module__=MODULE, **fields
    )
    setattr(made, WRITTEN_FOR, (config.name, fingerprint(config)))
    return made
