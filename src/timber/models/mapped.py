"""Model configurations read from mapped classes that a user wrote with SQLAlchemy."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import pydantic
import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql.operators import desc_op

from timber.errors import ConfigurationError
from timber.models.column_types import SEARCH_VECTOR, ColumnType
from timber.models.columns import ColumnDefault
from timber.models.config import AssociationConfig, ModelConfig
from timber.models.declarative import DECLARATIVE_MIXINS
from timber.models.loader import Declared, DeclaredAssociation
from timber.models.messages import explain
from timber.models.mixins import BUILT_IN_MIXINS
from timber.models.types import Vector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.types import TypeEngine


def _string(given: Any) -> ColumnType:
    return ColumnType("String", length=given.length) if given.length else ColumnType("Text")


def _plain(kind: str) -> Callable[[Any], ColumnType]:
    return lambda _: ColumnType(kind)


# In order: a subclass stands before what it is derived from.
_KINDS: Final[tuple[tuple[type[Any], Callable[[Any], ColumnType]], ...]] = (
    (sa.Enum, lambda given: ColumnType("Enum", labels=tuple(given.enums))),
    (sa.Text, _plain("Text")),
    (sa.String, _string),
    (sa.BigInteger, _plain("BigInteger")),
    (sa.SmallInteger, _plain("SmallInteger")),
    (sa.Integer, _plain("Integer")),
    (sa.Float, _plain("Float")),
    (
        sa.Numeric,
        lambda given: ColumnType("Numeric", precision=given.precision, scale=given.scale),
    ),
    (sa.Boolean, _plain("Boolean")),
    (sa.DateTime, _plain("DateTime")),
    (sa.Date, _plain("Date")),
    (sa.Time, _plain("Time")),
    (sa.Interval, _plain("Interval")),
    (postgresql.INTERVAL, _plain("Interval")),
    (sa.Uuid, _plain("UUID")),
    (postgresql.JSONB, _plain("JSONB")),
    (sa.JSON, _plain("JSON")),
    (sa.LargeBinary, _plain("Binary")),
    (postgresql.TSVECTOR, _plain(SEARCH_VECTOR)),
    (Vector, lambda given: ColumnType("Vector", length=given.dimension)),
)
_EXTRA = frozenset({"name", "owner", "features", "comment"})


def declared_class(cls: type[Any]) -> tuple[Declared, list[DeclaredAssociation]]:
    """A mapped class as a declared model, with the association tables behind its relationships.

    Columns come from its table, relationships from its mapper, the built-in mixins from its bases; a mapping
    ``__timber__`` in the class may add ``owner``, ``features``, ``comment`` and a ``name``.

    Raises:
        ConfigurationError: the class is not mapped to one table, or has a column that Timber does not know.
    """
    mapper = sa.inspect(cls, raiseerr=False)
    if not isinstance(mapper, orm.Mapper) or not isinstance(mapper.local_table, sa.Table):
        raise ConfigurationError(f"{cls.__name__} is not a class mapped to a table")
    table = mapper.local_table
    mixins = [name for name, mixin in DECLARATIVE_MIXINS.items() if issubclass(cls, mixin)]
    from_mixins = {
        column.name for mixin in BUILT_IN_MIXINS if mixin.name in mixins for column in mixin.columns
    }
    data = {
        "name": cls.__name__,
        "table": table.name,
        "comment": table.comment,
        "mixins": mixins,
        "columns": [
            _column(cls, column) for column in table.columns if column.name not in from_mixins
        ],
        "relationships": [_relationship(related) for related in mapper.relationships],
        **_own_words(cls),
    }
    try:
        config = ModelConfig.model_validate(data)
    except pydantic.ValidationError as invalid:
        raise ConfigurationError(
            errors=[
                ConfigurationError(
                    f"{cls.__name__}: {'.'.join(map(str, error['loc']))}: {explain(error, ModelConfig)}"
                )
                for error in invalid.errors(include_url=False)
            ]
        ) from None
    return Declared(config, mapped=cls), list(_associations(mapper))


def _own_words(cls: type[Any]) -> dict[str, Any]:
    declared = dict(cls.__dict__.get("__timber__", {}))
    if unknown := declared.keys() - _EXTRA:
        raise ConfigurationError(
            f"{cls.__name__}: unknown key {min(unknown)!r} in __timber__; there are {', '.join(sorted(_EXTRA))}"
        )
    return declared


def _column(cls: type[Any], column: sa.Column[Any]) -> dict[str, Any]:
    where = f"{cls.__name__}.{column.name}"
    if column.onupdate is not None:
        message = "onupdate runs in SQLAlchemy's ORM only; for a time use the mixin Timestamps"
        raise ConfigurationError(f"{where}: {message}")
    read: dict[str, Any] = {
        "name": column.name,
        "type": column_type(column.type, where),
        "nullable": bool(column.nullable),
        "primary_key": column.primary_key,
        "unique": bool(column.unique),
        "hidden": isinstance(column.type, postgresql.TSVECTOR),
        "comment": column.comment,
        "default": _default(column.default),
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
        read["identity"] = read["default"] is None
    elif column.server_default is not None:
        argument = getattr(column.server_default, "arg", "DEFAULT")
        read["server_default"] = str(argument) or "''"
    return read


def _default(default: Any) -> ColumnDefault | None:
    if default is None:
        return None
    if default.is_scalar:
        return ColumnDefault("literal", default.arg)
    if default.is_callable:
        return ColumnDefault("call", default.arg)
    return None


def column_type(given: TypeEngine[Any], where: str) -> ColumnType:
    """The column type that a SQLAlchemy type means.

    Raises:
        ConfigurationError: Timber has no such type.
    """
    if isinstance(given, sa.types.TypeDecorator):
        given = given.impl_instance
    if isinstance(given, postgresql.ARRAY):
        return ColumnType("Array", item=column_type(given.item_type, where))
    if isinstance(given, sa.types.NullType):
        message = "has no type of its own; one that refers to another metadata needs it"
        raise ConfigurationError(f"{where} {message}: mapped_column(Uuid, ForeignKey(...))")
    if isinstance(given, sa.DateTime) and not given.timezone:
        raise ConfigurationError(f"{where} is a DateTime without time zone; say timezone=True")
    for kind, read in _KINDS:
        if isinstance(given, kind):
            return read(given)
    raise ConfigurationError(f"{where}: Timber has no column type for {given!r}")


def _relationship(related: orm.RelationshipProperty[Any]) -> dict[str, Any]:
    direction = related.direction.name
    kind = {"ONETOMANY": "one_to_many", "MANYTOONE": "many_to_one", "MANYTOMANY": "many_to_many"}[
        direction
    ]
    if direction == "ONETOMANY" and not related.uselist:
        kind = "one_to_one"
    read: dict[str, Any] = {
        "name": related.key,
        "type": kind,
        "model": related.mapper.class_.__name__,
        "order_by": _order(related),
    }
    if isinstance(related.secondary, sa.Table):
        read["secondary"] = related.secondary.name
    elif len(related.local_remote_pairs or ()) == 1:
        pairs: Any = related.local_remote_pairs
        read["foreign_key"] = pairs[0][0 if direction == "MANYTOONE" else 1].name
    return read


def _order(related: orm.RelationshipProperty[Any]) -> tuple[str, ...]:
    words = []
    for expression in related.order_by or ():
        element = getattr(expression, "element", expression)
        if not isinstance(element, sa.Column):
            return ()
        descends = getattr(expression, "modifier", None) is desc_op
        words.append(("-" if descends else "") + element.name)
    return tuple(words)


def _associations(mapper: orm.Mapper[Any]) -> Iterator[DeclaredAssociation]:
    for related in mapper.relationships:
        table = related.secondary
        if isinstance(table, sa.Table):
            near = next(pair[1] for pair in related.synchronize_pairs)
            far = next(pair[1] for pair in related.secondary_synchronize_pairs or ())
            config = AssociationConfig(
                name=table.name,
                left=mapper.class_.__name__,
                right=related.mapper.class_.__name__,
                left_column=near.name,
                right_column=far.name,
            )
            yield DeclaredAssociation(config, table=table)
