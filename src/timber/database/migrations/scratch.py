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

from timber.database.migrations.catalog import Catalog, Expression, Table
from timber.database.migrations.reading import read_catalog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy.engine import Connection

_EXTENSION = re.compile(r'\s*CREATE\s+EXTENSION\s+(?:IF\s+NOT\s+EXISTS\s+)?"?([\w-]+)', re.IGNORECASE)


def both_catalogs(
    connection: Connection, metadata: sa.MetaData, *, leave_out: Callable[[str], bool]
) -> tuple[Catalog, Catalog]:
    """What the database contains, and what the models want it to; the transaction is rolled back.

    Args:
        leave_out: whether a table is none of the models' business.
    """
    names = sorted({table.schema for table in metadata.tables.values()} - {None}, key=str)
    try:
        default = connection.scalar(sa.text("SELECT current_schema()")) or "public"
        schemas: dict[str, str | None] = {default: None, **{str(n): n for n in names if n != default}}
        current = read_catalog(connection, schemas, leave_out=leave_out)
        wanted = _build(connection, metadata, default, [s for s in schemas.values() if s])
    finally:
        connection.rollback()
    return current, wanted


def _build(connection: Connection, metadata: sa.MetaData, default: str, named: list[str]) -> Catalog:
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
    tables = {name: table for name, table in built.tables.items()}
    for table in metadata.tables.values():
        name = f"{table.schema}.{table.name}" if table.schema in named else table.name
        tables[name] = _as_written(tables[name], table, connection)
    return replace(built, tables=tables, extensions=frozenset(extensions))


@contextmanager
def _extensions_asked_for(connection: Connection) -> Iterator[set[str]]:
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
    compiler: Any = connection.dialect.ddl_compiler(connection.dialect, None)  # type: ignore[arg-type]

    def sql(clause: Any) -> str:
        return str(
            compiler.sql_compiler.process(clause, include_table=False, literal_binds=True)
        )

    def name_of(thing: Any) -> str:
        preparer = connection.dialect.identifier_preparer
        quoted = (
            preparer.format_index(thing)
            if isinstance(thing, sa.Index)
            else preparer.format_constraint(thing)
        )
        return str(quoted).strip('"')

    columns = dict(read.columns)
    for column in table.columns:
        found = columns[column.name]
        if found.generated is not None and column.computed is not None:
            written = sql(column.computed.sqltext)
            columns[column.name] = replace(found, generated=_rewritten(found.generated, written))
        elif found.default is not None and not found.serial:
            text = compiler.get_column_default_string(column)
            if text is not None:
                columns[column.name] = replace(found, default=_rewritten(found.default, text))
    constraints = dict(read.constraints)
    for constraint in table.constraints:
        if isinstance(constraint, sa.CheckConstraint):
            name = name_of(constraint)
            if (known := constraints.get(name)) is not None and known.check is not None:
                check = _rewritten(known.check, sql(constraint.sqltext))
                constraints[name] = replace(known, check=check)
    indexes = dict(read.indexes)
    for index in table.indexes:
        where = index.dialect_options["postgresql"]["where"]
        stored = indexes.get(name_of(index))
        if stored is not None and stored.where is not None and where is not None:
            condition = where if isinstance(where, sa.ClauseElement) else sa.text(where)
            indexes[stored.name] = replace(stored, where=_rewritten(stored.where, sql(condition)))
    return replace(read, columns=columns, constraints=constraints, indexes=indexes)


def _rewritten(expression: Expression, written: str) -> Expression:
    return Expression(expression.shown, written)
