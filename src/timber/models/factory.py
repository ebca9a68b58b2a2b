"""Tables out of complete model configurations."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.schema import DDL

from timber.models.column_types import SEARCH_VECTOR
from timber.models.feed_ddl import feed_function, feed_trigger
from timber.models.relations import association_columns
from timber.models.search_ddl import SQLFunction, search_expression, search_function
from timber.models.stored import is_encrypted, stored_type
from timber.models.types import Vector, sqlalchemy_type

if TYPE_CHECKING:
    from collections.abc import Callable

    from timber.models.config import (
        AssociationConfig,
        ColumnConfig,
        ConstraintConfig,
        IndexColumn,
        IndexConfig,
        ModelConfig,
    )

NAMING_CONVENTION: Final = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
"""Names of constraints and indexes that stay the same from one version to the next."""


def new_metadata() -> sa.MetaData:
    """The metadata of one registry."""
    return sa.MetaData(naming_convention=NAMING_CONVENTION)


def build_table(
    config: ModelConfig, metadata: sa.MetaData, columns_of: Callable[[str], str]
) -> sa.Table:
    """The table of a model.

    Args:
        columns_of: turns a reference (``Session.id``) into its table's column (``sessions.id``).
    """
    function = search_function(config)
    columns = [_column(config, column, function, columns_of) for column in config.columns]
    table = sa.Table(config.table, metadata, *columns, comment=config.comment)
    for column in config.columns:
        _column_rules(table, column, plain=not is_encrypted(config, column.name))
    for constraint in config.constraints:
        table.append_constraint(_constraint(constraint))
    for index in config.indexes:
        _index(table, index)
    if function is not None:
        _create_before(table, function)
    attach_feed(config, table)
    return table


def attach_feed(config: ModelConfig, table: sa.Table) -> None:
    """Have the trigger of the model's feed made with its table, if it has one."""
    function, trigger = feed_function(config), feed_trigger(config)
    if function is not None and trigger is not None:
        _create_before(table, function)
        event.listen(table, "after_create", _ddl(trigger.create))


def _column(
    config: ModelConfig,
    column: ColumnConfig,
    function: SQLFunction | None,
    columns_of: Callable[[str], str],
) -> sa.Column[Any]:
    extra: list[Any] = []
    if column.foreign_key is not None:
        key = column.foreign_key
        extra.append(
            sa.ForeignKey(
                columns_of(key.references),
                ondelete=_action(key.on_delete),
                onupdate=_action(key.on_update),
            )
        )
    if column.generated is not None:
        extra.append(sa.Computed(_sql(column.generated), persisted=True))
    elif column.type.kind == SEARCH_VECTOR and function is not None:
        extra.append(sa.Computed(sa.text(search_expression(config, function)), persisted=True))
    if column.identity:
        extra.append(sa.Identity(always=False))
    return sa.Column(
        column.name,
        sqlalchemy_type(stored_type(config, column)),
        *extra,
        primary_key=column.primary_key,
        nullable=column.nullable,
        # Keys are made here, or by an identity that is declared: never by a silent sequence.
        autoincrement=column.identity,
        server_default=_sql(column.server_default) if column.server_default else None,
        comment=column.comment,
    )


def _sql(expression: str) -> sa.TextClause:
    # text() takes a colon before a word for a parameter, unless it is escaped or part of a cast.
    return sa.text(re.sub(r"(?<![:\\\w]):(?=\w)", r"\\:", expression))


def _action(action: str) -> str | None:
    return None if action == "no_action" else action.replace("_", " ").upper()


def _column_rules(table: sa.Table, column: ColumnConfig, *, plain: bool) -> None:
    if column.check is not None:
        table.append_constraint(sa.CheckConstraint(_sql(column.check), name=column.name))
    labels = column.type.item.labels if column.type.item else column.type.labels
    if labels and plain:
        name = f'"{column.name}"'
        quoted = ", ".join("'" + label.replace("'", "''") + "'" for label in labels)
        condition = (
            f"{name} <@ ARRAY[{quoted}]::varchar[]" if column.type.item else f"{name} IN ({quoted})"
        )
        table.append_constraint(sa.CheckConstraint(_sql(condition), name=f"{column.name}_labels"))
    if column.unique:
        table.append_constraint(sa.UniqueConstraint(column.name))
    if column.index:
        sa.Index(None, table.c[column.name])


def _constraint(config: ConstraintConfig) -> sa.Constraint:
    if config.check is not None:
        return sa.CheckConstraint(_sql(config.check), name=config.name)
    return sa.UniqueConstraint(*(config.unique or ()), name=config.name)


def _index(table: sa.Table, config: IndexConfig) -> None:
    options: dict[str, Any] = {"postgresql_using": config.method}
    if config.where is not None:
        options["postgresql_where"] = _sql(config.where)
    if config.include:
        options["postgresql_include"] = list(config.include)
    if config.options:
        options["postgresql_with"] = dict(config.options)
    operators = {column.name: column.ops for column in config.columns if column.ops}
    if config.method == "hnsw":
        operators = {config.columns[0].name: config.columns[0].ops or "vector_cosine_ops"}
    if operators:
        options["postgresql_ops"] = operators
    sa.Index(
        index_name(table.name, config),
        *(_ordered(table, column) for column in config.columns),
        unique=config.unique,
        **options,
    )


def index_name(table: str, config: IndexConfig) -> str:
    """The name of an index: its own, or one made from the table, the columns and whether it is partial."""
    if config.name is not None:
        return config.name
    name = "_".join(["ix", table, *config.column_names])
    return name if len(name) <= 63 else name[:54] + "_" + _digest(name)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _ordered(table: sa.Table, column: IndexColumn) -> Any:
    expression: Any = table.c[column.name]
    if column.order == "desc":
        expression = expression.desc()
    if column.nulls == "first":
        expression = expression.nulls_first()
    if column.nulls == "last":
        expression = expression.nulls_last()
    return expression


def _create_before(table: sa.Table, function: SQLFunction) -> None:
    event.listen(table, "before_create", _ddl(function.create))
    event.listen(table, "after_drop", _ddl(function.drop))


def _ddl(sql: str) -> DDL:
    return DDL(sql.replace("%", "%%"))  # type: ignore[no-untyped-call]


def create_extensions(metadata: sa.MetaData) -> None:
    """Have pgvector's extension made before the tables where a column needs it."""
    if any(
        isinstance(column.type, Vector) for table in metadata.tables.values() for column in table.c
    ):
        event.listen(metadata, "before_create", _ddl("CREATE EXTENSION IF NOT EXISTS vector"))


def build_association(
    config: AssociationConfig, metadata: sa.MetaData, left: sa.Table, right: sa.Table
) -> None:
    """The table that links two models; its primary key is the pair."""
    names = association_columns(config)
    sides = []
    for name, table in zip(names, (left, right), strict=True):
        key = next(iter(table.primary_key.columns))
        reference = sa.ForeignKey(f"{table.name}.{key.name}", ondelete=_action(config.on_delete))
        sides.append(sa.Column(name, key.type, reference, primary_key=True, autoincrement=False))
    linking = sa.Table(config.name, metadata, *sides, comment=config.comment)
    sa.Index(None, linking.c[names[1]])  # the primary key serves the way from the left
