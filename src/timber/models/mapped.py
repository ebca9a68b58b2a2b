"""Model configurations read from mapped classes that a user wrote with SQLAlchemy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pydantic
import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.dialects import postgresql

from timber.errors import ConfigurationError
from timber.models.column_types import SEARCH_VECTOR, ColumnType
from timber.models.columns import ColumnDefault
from timber.models.config import ModelConfig
from timber.models.messages import explain
from timber.models.mixins import BUILT_IN_MIXINS
from timber.models.types import Vector

if TYPE_CHECKING:
    from sqlalchemy.types import TypeEngine

# In order: a subclass stands before what it is derived from.
_KINDS: Final[tuple[tuple[type[Any], str], ...]] = (
    (sa.Text, "Text"),
    (sa.BigInteger, "BigInteger"),
    (sa.SmallInteger, "SmallInteger"),
    (sa.Integer, "Integer"),
    (sa.Float, "Float"),
    (sa.Boolean, "Boolean"),
    (sa.Date, "Date"),
    (sa.Time, "Time"),
    (sa.Interval, "Interval"),
    (postgresql.INTERVAL, "Interval"),
    (sa.Uuid, "UUID"),
    (postgresql.JSONB, "JSONB"),
    (sa.JSON, "JSON"),
    (sa.LargeBinary, "Binary"),
    (postgresql.TSVECTOR, SEARCH_VECTOR),
)


def config_of(cls: type[Any]) -> ModelConfig:
    """The configuration of a mapped class: its columns from its table, the rest from its ``__timber__`` mapping.

    ``__timber__`` may hold ``mixins`` (whose columns the table has already), ``owner``, ``features``, ``relationships``,
    ``comment`` and ``name``.

    Raises:
        ConfigurationError: the class is not mapped to one table, or has a column that Timber does not know.
    """
    mapper = sa.inspect(cls, raiseerr=False)
    if not isinstance(mapper, orm.Mapper) or not isinstance(mapper.local_table, sa.Table):
        raise ConfigurationError(f"{cls.__name__} is not a class mapped to a table")
    table = mapper.local_table
    declared = dict(getattr(cls, "__timber__", {}))
    data = {
        "name": cls.__name__,
        "table": table.name,
        "comment": table.comment,
        "columns": [_column(cls, column) for column in table.columns],
        **declared,
    }
    data["columns"] = _with_mixins(data["columns"], declared.get("mixins", ()))
    try:
        return ModelConfig.model_validate(data)
    except pydantic.ValidationError as invalid:
        raise ConfigurationError(
            errors=[
                ConfigurationError(
                    f"{cls.__name__}: {'.'.join(map(str, error['loc']))}: {explain(error, ModelConfig)}"
                )
                for error in invalid.errors(include_url=False)
            ]
        ) from None


def _with_mixins(columns: list[dict[str, Any]], mixins: Any) -> list[dict[str, Any]]:
    """The columns without those that a mixin declares in its own way, such as a hidden token."""
    from_mixins = {
        column.name for mixin in BUILT_IN_MIXINS if mixin.name in mixins for column in mixin.columns
    }
    return [column for column in columns if column["name"] not in from_mixins]


def _column(cls: type[Any], column: sa.Column[Any]) -> dict[str, Any]:
    read: dict[str, Any] = {
        "name": column.name,
        "type": column_type(column.type, f"{cls.__name__}.{column.name}"),
        "nullable": bool(column.nullable),
        "primary_key": column.primary_key,
        "unique": bool(column.unique),
        "comment": column.comment,
    }
    key = next(iter(column.foreign_keys), None)
    if key is not None:
        read["foreign_key"] = {
            "references": ".".join(key.target_fullname.split(".")[-2:]),
            "on_delete": key.ondelete or "no_action",
            "on_update": key.onupdate or "no_action",
        }
    if column.computed is not None:
        read["generated"] = str(column.computed.sqltext)
    elif column.identity is not None or column is column.table.autoincrement_column:
        read["identity"] = True
    elif isinstance(column.server_default, sa.DefaultClause):
        read["server_default"] = str(column.server_default.arg)
    default: Any = column.default
    if default is not None and not column.primary_key | (column.server_default is not None):
        read["default"] = _default(default)
    elif default is not None:
        read["default"] = _default(default)
    return {key: value for key, value in read.items() if value is not None}


def _default(default: Any) -> ColumnDefault | None:
    if default.is_scalar:
        return ColumnDefault("literal", default.arg)
    if default.is_callable:
        # SQLAlchemy wraps the function so that it takes its context.
        return ColumnDefault("call", lambda: default.arg(None))
    return None


def column_type(given: TypeEngine[Any], where: str) -> ColumnType:
    """The column type that a SQLAlchemy type means.

    Raises:
        ConfigurationError: Timber has no such type.
    """
    if isinstance(given, sa.types.TypeDecorator):
        given = given.impl_instance
    if isinstance(given, sa.Enum):
        return ColumnType("Enum", labels=tuple(given.enums))
    if isinstance(given, postgresql.ARRAY):
        return ColumnType("Array", item=column_type(given.item_type, where))
    if isinstance(given, Vector):
        return ColumnType("Vector", length=given.dimension)
    if isinstance(given, sa.DateTime):
        if not given.timezone:
            raise ConfigurationError(f"{where} is a DateTime without time zone; say timezone=True")
        return ColumnType("DateTime")
    if isinstance(given, sa.Float):
        return ColumnType("Float")
    if isinstance(given, sa.Numeric):
        return ColumnType("Numeric", precision=given.precision, scale=given.scale)
    if isinstance(given, sa.String) and not isinstance(given, sa.Text) and given.length:
        return ColumnType("String", length=given.length)
    for kind, name in _KINDS:
        if isinstance(given, kind):
            return ColumnType(name)
    if isinstance(given, sa.String):
        return ColumnType("Text")
    raise ConfigurationError(f"{where}: Timber has no column type for {given!r}")
