"""What the models would make of an empty database: built in a schema that nobody else ever sees, and read back.

PostgreSQL writes expressions, types and indexes its own way. Letting it do so with the models' side too is what makes the
comparison exact, where comparing texts would find differences that are none.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from timber.database.migrations.catalog import (
    Catalog,
    Column,
    Constraint,
    Expression,
    Index,
    Table,
)
from timber.database.migrations.failures import failure_of
from timber.database.migrations.reading import read_catalog
from timber.database.urls import name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from sqlalchemy.engine import Connection

_EXTENSION = re.compile(
    r'\s*CREATE\s+EXTENSION\s+(?:IF\s+NOT\s+EXISTS\s+)?"?([\w-]+)', re.IGNORECASE
)


def both_catalogs(
    connection: Connection, metadata: sa.MetaData, *, leave_out: Callable[[str], bool]
) -> tuple[Catalog, Catalog]:
    """What the database contains, and what the models want it to; the transaction is rolled back.

    Args:
        leave_out: whether a table is none of the models' business.

    Raises:
        DatabaseError: PostgreSQL refuses the SQL in a model, lacks an extension, or the user may not create a schema.
    """
    names = sorted({table.schema for table in metadata.tables.values()} - {None}, key=str)
    try:
        default = connection.scalar(sa.text("SELECT current_schema()")) or "public"
        schemas: dict[str, str | None] = {
            default: None,
            **{str(n): n for n in names if n != default},
        }
        current = read_catalog(connection, schemas, leave_out=leave_out)
        named = [name for name in schemas.values() if name is not None]
        try:
            wanted = _build(connection, metadata, default, named)
        except DBAPIError as error:
            target = name_of(connection.engine.url)
            raise failure_of(
                error, target, "PostgreSQL cannot make what the models want in a schema of its own"
            ) from error
    finally:
        connection.rollback()
    return current, wanted


def _build(
    connection: Connection, metadata: sa.MetaData, default: str, named: list[str]
) -> Catalog:
    mark = f"timber_check_{uuid4().hex[:12]}"
    rooms: dict[str | None, str] = {None: mark, **{name: f"{mark}_{name}" for name in named}}
    for room in rooms.values():
        connection.exec_driver_sql(f'CREATE SCHEMA "{room}"')
    # The path that is there stays behind, for the extensions in it.
    path = connection.scalar(sa.text("SHOW search_path"))
    connection.exec_driver_sql(f'SET LOCAL search_path = "{mark}", {path}')
    translation = {**{name: rooms[name] for name in named}, default: mark}
    with _extensions_asked_for(connection) as extensions:
        translated = connection.execution_options(schema_translate_map=translation)
        try:
            metadata.create_all(translated, checkfirst=False)
        finally:
            connection.execution_options(schema_translate_map={})
    built = read_catalog(connection, {room: name for name, room in rooms.items()})
    tables = dict(built.tables)
    for table in metadata.tables.values():
        name = f"{table.schema}.{table.name}" if table.schema in named else table.name
        tables[name] = _as_written(tables[name], table, connection)
    return replace(built, tables=tables, extensions=frozenset(extensions))


@contextmanager
def _extensions_asked_for(connection: Connection) -> Generator[set[str]]:
    asked: set[str] = set()

    def note(_c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if match := _EXTENSION.match(statement):
            asked.add(match[1])

    event.listen(connection, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(connection, "before_cursor_execute", note)


def _as_written(read: Table, table: sa.Table, connection: Connection) -> Table:
    """The table with its expressions as the model's author wrote them, which is what a migration should show."""
    author = _Author(connection)
    return replace(
        read,
        columns={**read.columns, **dict(author.columns(read, table))},
        constraints={**read.constraints, **dict(author.checks(read, table))},
        indexes={**read.indexes, **dict(author.indexes(read, table))},
    )


class _Author:
    def __init__(self, connection: Connection) -> None:
        dialect: Any = connection.dialect
        self._compiler = dialect.ddl_compiler(dialect, None)
        self._preparer = dialect.identifier_preparer

    def _sql(self, clause: Any) -> str:
        compiler = self._compiler.sql_compiler
        return str(compiler.process(clause, include_table=False, literal_binds=True))

    def columns(self, read: Table, table: sa.Table) -> Iterator[tuple[str, Column]]:
        for column in table.columns:
            found = read.columns[column.name]
            if found.generated is not None and column.computed is not None:
                written = Expression(found.generated.shown, self._sql(column.computed.sqltext))
                yield column.name, replace(found, generated=written)
            elif found.default is not None and not found.serial:
                text = self._compiler.get_column_default_string(column)
                if text is not None:
                    written = Expression(found.default.shown, text)
                    yield column.name, replace(found, default=written)

    def checks(self, read: Table, table: sa.Table) -> Iterator[tuple[str, Constraint]]:
        for constraint in table.constraints:
            if isinstance(constraint, sa.CheckConstraint):
                name = str(self._preparer.format_constraint(constraint)).strip('"')
                found = read.constraints.get(name)
                if found is not None and found.check is not None:
                    written = Expression(found.check.shown, self._sql(constraint.sqltext))
                    yield name, replace(found, check=written)

    def indexes(self, read: Table, table: sa.Table) -> Iterator[tuple[str, Index]]:
        for index in table.indexes:
            where = index.dialect_options["postgresql"]["where"]
            name = str(self._preparer.format_index(index)).strip('"')
            found = read.indexes.get(name)
            if found is not None and found.where is not None and where is not None:
                condition = where if isinstance(where, sa.ClauseElement) else sa.text(where)
                written = Expression(found.where.shown, self._sql(condition))
                yield name, replace(found, where=written)
