"""The steps that change the columns of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from timber.database.migrations import rendering as code
from timber.database.migrations.goals import made_anew

if TYPE_CHECKING:
    from collections.abc import Iterator

    from timber.database.migrations.catalog import Column, Table

_IDENTITY: Final = {"a": "ALWAYS", "d": "BY DEFAULT"}


class Step(NamedTuple):
    """One step: its code, what its reader should know, and the data that it destroys, if it does."""

    code: str
    note: str | None = None
    loses: str | None = None


def column_steps(old: Table, new: Table) -> Iterator[Step]:
    """Drop, change and add columns, so that generated ones never miss what they are made of."""
    again = made_anew(old, new)
    gone = [c for c in old.columns.values() if c.name not in new.columns]
    added = [c for c in new.columns.values() if c.name not in old.columns]
    away = [*(old.columns[name] for name in again), *gone]
    for column in sorted(away, key=lambda c: c.generated is None):
        yield _drop(new, column, added if column in gone else [], again=column.name in again)
    for column in new.columns.values():
        if column.name in old.columns and column.name not in again:
            yield from _alter(new, old.columns[column.name], column)
    back = [*added, *(new.columns[name] for name in again)]
    for column in sorted(back, key=lambda c: c.generated is not None):
        yield _add(new, column)


def _drop(table: Table, column: Column, added: list[Column], *, again: bool) -> Step:
    name = code.literal(column.name)
    note = None
    if again:
        note = "PostgreSQL cannot change what a generated column is made of: adding it again rewrites the table."
    for other in added:
        if other.type == column.type and other.generated is None and column.generated is None:
            renamed = f"op.alter_column({code.literal(table.bare_name)}, {name}, new_column_name={code.literal(other.name)})"
            note = f"If it is called {other.name} now, only {renamed} keeps its values."
    drop = code.call(
        "op.drop_column", code.literal(table.bare_name), name, *code.schema_argument(table)
    )
    loses = f"the column {table.name}.{column.name}" if column.generated is None else None
    return Step(drop, note, loses)


def _add(table: Table, column: Column) -> Step:
    note = None
    filled = column.nullable or column.default or column.generated or column.identity
    if not filled:
        note = (
            "Fails if there are rows. Then add it nullable, fill it, and let a later migration say NOT NULL; "
            "or give it a server_default."
        )
    arguments = [code.literal(table.bare_name), code.column_code(column)]
    return Step(code.call("op.add_column", *arguments, *code.schema_argument(table)), note)


def _alter(table: Table, old: Column, new: Column) -> Iterator[Step]:
    if old.generated is not None and new.generated is None:
        yield Step(_sql(table, new, "DROP EXPRESSION"))
    if old.identity and not new.identity:
        yield Step(_sql(table, new, "DROP IDENTITY"))
    changes = [*_type_changes(old, new), *_other_changes(old, new)]
    if changes:
        place = [code.literal(table.bare_name), code.literal(new.name)]
        alter = code.call("op.alter_column", *place, *changes, *code.schema_argument(table))
        yield Step(alter, _caution(old, new))
    if new.identity and new.identity != old.identity:
        how = "SET GENERATED" if old.identity else "ADD GENERATED"
        ending = "" if old.identity else " AS IDENTITY"
        yield Step(_sql(table, new, f"{how} {_IDENTITY[new.identity]}{ending}"))


def _type_changes(old: Column, new: Column) -> Iterator[str]:
    if (old.type, old.collation) == (new.type, new.collation):
        return
    yield f"type_={code.type_code(new)}"
    if _family(old) != _family(new):
        yield f"postgresql_using={code.literal(f'{code.quoted(new.name)}::{new.type}')}"


def _other_changes(old: Column, new: Column) -> Iterator[str]:
    if old.nullable != new.nullable:
        yield f"nullable={new.nullable}"
    if old.default != new.default:
        yield f"server_default={code.text(new.default) if new.default is not None else None}"
    if old.comment != new.comment:
        yield f"comment={code.literal(new.comment) if new.comment is not None else None}"


def _caution(old: Column, new: Column) -> str | None:
    if old.nullable and not new.nullable:
        return "Fails if there are rows without a value. It reads all rows, and nobody can use the table meanwhile."
    if old.type != new.type:
        return "It may rewrite the table, and nobody can use it meanwhile."
    return None


def _family(column: Column) -> str:
    return column.type.partition("(")[0]


def _sql(table: Table, column: Column, action: str) -> str:
    return code.execute(
        f"ALTER TABLE {code.quoted(table.name)} ALTER COLUMN {code.quoted(column.name)} {action}"
    )
