"""Classes mapped to the models' tables, for callers who want SQLAlchemy's ORM."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy import event, orm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from timber.models.config import ModelConfig
    from timber.models.relations import Relation

MODULE: Final = "timber.models.mapped"


def build_class(config: ModelConfig, table: sa.Table) -> type[Any]:
    """A class of its own for a model, ready to be mapped."""
    return type(
        config.name,
        (),
        {
            "__doc__": config.comment or f"A row of {config.table}.",
            "__module__": MODULE,
            "__model_config__": config,
            "__table__": table,
            "__init__": _initializer(config),
            "__repr__": _repr,
        },
    )


def map_classes(
    mappers: orm.registry,
    own: Mapping[str, type[Any]],
    configs: Mapping[str, ModelConfig],
    classes: Mapping[str, type[Any]],
    relations: Callable[[str], Iterable[Relation]],
) -> None:
    """Map our own classes to their tables and to one another. A column ``metadata`` is the attribute ``metadata``."""
    for name, cls in own.items():
        config = configs[name]
        table = cls.__table__
        properties = {}
        for relation in relations(name):
            options = _options(config, relation, classes, mappers.metadata)
            # Two ways over the same reference may well be declared without back_populates.
            others = {other.name for other in (*relations(relation.model), *relations(name))}
            options["overlaps"] = ",".join(sorted(others))
            properties[relation.name] = orm.relationship(classes[relation.model], **options)
        version = table.c.version if config.versioned else None
        mappers.map_imperatively(cls, table, properties=properties, version_id_col=version)
        if config.timestamps:
            event.listen(cls, "before_update", _touch)


def table_of(cls: type[Any]) -> sa.Table:
    """The table that a class is, or is about to be, mapped to."""
    table: sa.Table | None = cls.__dict__.get("__table__")
    return sa.inspect(cls).local_table if table is None else table


def _options(
    config: ModelConfig,
    relation: Relation,
    classes: Mapping[str, type[Any]],
    metadata: sa.MetaData,
) -> dict[str, Any]:
    declared = config.relationship(relation.name)
    if declared is None:
        raise KeyError(relation.name)
    table, other = (table_of(classes[name]) for name in (config.name, relation.model))
    local, remote = table.c[relation.local], other.c[relation.remote]
    options: dict[str, Any] = {
        "uselist": relation.many,
        "back_populates": declared.back_populates,
        "lazy": "raise",
    }
    if relation.link is not None:
        link = metadata.tables[relation.link.table]
        near, far = link.c[relation.link.near], link.c[relation.link.far]
        options |= {
            "secondary": link,
            "primaryjoin": local == near,
            "secondaryjoin": far == remote,
        }
        options["passive_deletes"] = _on_delete(near) == "CASCADE"
    else:
        outward = relation.outward
        # A reference to the model itself reads both ways; the side of the other row says which is meant.
        options |= {
            "primaryjoin": local == remote,
            "foreign_keys": [local if outward else remote],
            "remote_side": [remote],
        }
        if not outward and _on_delete(remote) is not None:
            # The foreign key says what becomes of the other rows; the ORM need not read them first.
            options["passive_deletes"] = True if declared.deletes else "all"
    if relation.order_by:
        options["order_by"] = [
            other.c[name].desc() if descends else other.c[name]
            for name, descends in relation.order_by
        ]
    if declared.cascade is not None:
        options["cascade"] = declared.cascade
    return options


def _on_delete(column: sa.Column[Any]) -> str | None:
    return next((key.ondelete for key in column.foreign_keys), None)


def _initializer(config: ModelConfig) -> Callable[..., None]:
    makers = {
        column.name: column.default.maker(_now)
        for column in config.columns
        if column.default is not None
    }

    def __init__(self: Any, **values: Any) -> None:  # noqa: N807 - becomes the class's own
        known = type(self).__mapper__.attrs
        for name, value in values.items():
            if name not in known:
                raise TypeError(f"{type(self).__name__} has no {name}")
            setattr(self, name, value)
        for name, make in makers.items():
            if name not in values:
                setattr(self, name, make())

    return __init__


def _now() -> datetime:
    return datetime.now(UTC)


def _touch(_mapper: orm.Mapper[Any], _connection: sa.Connection, target: Any) -> None:
    session = orm.object_session(target)
    if session is not None and session.is_modified(target, include_collections=False):
        target.updated_at = _now()


def _repr(self: Any) -> str:
    # Only the key: a row's values do not belong in a log.
    config = type(self).__model_config__
    return f"<{config.name} {config.primary_key}={self.__dict__.get(config.primary_key)!r}>"
