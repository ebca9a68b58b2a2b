"""The steps from one catalog to another, as lines of a migration."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from timber.database.migrations import rendering as code
from timber.database.migrations.column_steps import Step, column_steps
from timber.database.migrations.goals import made_anew
from timber.database.migrations.ordering import in_order

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from timber.database.migrations.catalog import Catalog, Constraint, Table


def plan(current: Catalog, wanted: Catalog, *, online: bool = False) -> list[Step]:
    """What leads from the one to the other, everything in an order in which it can be done.

    Args:
        online: outside a transaction, creating and dropping indexes without keeping anybody from their work.
    """
    return list(_Plan(current, wanted, online=online).steps())


class _Plan:
    def __init__(self, current: Catalog, wanted: Catalog, *, online: bool) -> None:
        self.current = current
        self.wanted = wanted
        self.online = online
        self.kept = [
            (current.tables[name], table)
            for name, table in wanted.tables.items()
            if name in current.tables
        ]
        self.added = [t for name, t in wanted.tables.items() if name not in current.tables]
        self.dropped = [t for name, t in current.tables.items() if name not in wanted.tables]

    def steps(self) -> Iterator[Step]:
        yield from self._before()
        for old, new in self.kept:
            yield from self._away(old, new)
        yield from self._drop_tables()
        later = yield from self._create_tables()
        for old, new in self.kept:
            yield from column_steps(old, new)
        for old, new in self.kept:
            yield from self._constraints(old, new, "p", "u", "c", "x")
        for table, key in later:
            yield Step(code.create_constraint(table, key))
        for old, new in self.kept:
            yield from self._constraints(old, new, "f")
            yield from self._indexes(old, new)
        yield from self._after()

    def _before(self) -> Iterator[Step]:
        for extension in sorted(self.wanted.extensions - self.current.extensions):
            yield Step(code.execute(f"CREATE EXTENSION IF NOT EXISTS {code.quoted(extension)}"))
        for name, labels in self.wanted.enums.items():
            yield from _enum(name, self.current.enums.get(name), labels)
        for signature, definition in self.wanted.functions.items():
            if self.current.functions.get(signature) != definition:
                yield Step(code.execute(definition))

    def _away(self, old: Table, new: Table) -> Iterator[Step]:
        for trigger, definition in old.triggers.items():
            if new.triggers.get(trigger) != definition:
                yield Step(_drop_trigger(trigger, old))
        for key in sorted(old.constraints.values(), key=lambda c: c.kind != "f"):
            if not _stays(key, old, new):
                yield Step(_drop_constraint(old, key))
        if not self.online:
            yield from self._drop_indexes(old, new)

    def _drop_indexes(self, old: Table, new: Table) -> Iterator[Step]:
        for name, index in old.indexes.items():
            if new.indexes.get(name) != index:
                yield Step(self._drop_index(old, name))

    def _drop_index(self, table: Table, name: str) -> str:
        arguments = [code.literal(name), f"table_name={code.literal(table.bare_name)}"]
        if self.online:
            arguments += ["postgresql_concurrently=True", "if_exists=True"]
        return code.call("op.drop_index", *arguments, *code.schema_argument(table))

    def _drop_tables(self) -> Iterator[Step]:
        tables, later = in_order(self.dropped)
        for table, key in later:
            yield Step(_drop_constraint(table, key))
        for table in reversed(tables):
            same = [t.name for t in self.added if set(t.columns) == set(table.columns)]
            note = (
                f"If it is called {same[0]} now: op.rename_table keeps its rows." if same else None
            )
            yield Step(
                code.call(
                    "op.drop_table", code.literal(table.bare_name), *code.schema_argument(table)
                ),
                note,
                f"the table {table.name}",
            )

    def _create_tables(self) -> Generator[Step, None, list[tuple[Table, Constraint]]]:
        """Create the new tables; what is returned are the references that have to wait for all of them."""
        tables, later = in_order(self.added)
        for schema in sorted({t.schema for t in tables if t.schema}):
            yield Step(code.execute(f"CREATE SCHEMA IF NOT EXISTS {code.quoted(schema)}"))
        waiting = {(table.name, key.name) for table, key in later}
        for table in tables:
            yield Step(_create_table(table, waiting))
            for constraint in table.constraints.values():
                if not constraint.plain and (table.name, constraint.name) not in waiting:
                    yield Step(code.create_constraint(table, constraint))
            for index in table.indexes.values():
                yield Step(code.create_index(table, index))
        return later

    def _constraints(self, old: Table, new: Table, *kinds: str) -> Iterator[Step]:
        for constraint in new.of_kind(*kinds):
            current = old.constraints.get(constraint.name)
            if current is None or not _stays(current, old, new):
                locks = "Nobody can write to the table until its index is built."
                note = locks if constraint.kind in "pux" else None
                yield Step(code.create_constraint(new, constraint), note)
            elif constraint.valid and not current.valid:
                validate = f"VALIDATE CONSTRAINT {code.quoted(constraint.name)}"
                yield Step(code.execute(f"ALTER TABLE {code.quoted(new.name)} {validate}"))

    def _indexes(self, old: Table, new: Table) -> Iterator[Step]:
        for name, index in new.indexes.items():
            current = old.indexes.get(name)
            if current == index:
                continue
            if self.online and current is not None:
                yield Step(self._drop_index(old, name))
            yield Step(code.create_index(new, index, concurrently=self.online))
        if self.online:
            for name in old.indexes:
                if name not in new.indexes:
                    yield Step(self._drop_index(old, name))

    def _after(self) -> Iterator[Step]:
        for table in self.wanted.tables.values():
            old = self.current.tables.get(table.name)
            for trigger, definition in table.triggers.items():
                if old is None or old.triggers.get(trigger) != definition:
                    yield Step(code.execute(definition))
            if old is not None and old.comment != table.comment:
                yield Step(_table_comment(table))
        for signature in self.current.functions:
            if signature not in self.wanted.functions:
                yield Step(code.execute(f"DROP FUNCTION IF EXISTS {signature}"))
        for name in self.current.enums:
            if name not in self.wanted.enums:
                yield Step(code.execute(f"DROP TYPE {code.quoted(name)}"))


def _stays(constraint: Constraint, old: Table, new: Table) -> bool:
    wanted = new.constraints.get(constraint.name)
    if wanted is None or replace(constraint, valid=wanted.valid) != wanted:
        return False
    return not set(constraint.columns) & set(made_anew(old, new))


def _create_table(table: Table, waiting: set[tuple[str, str]]) -> str:
    constraints = [
        code.constraint_code(constraint)
        for constraint in sorted(table.constraints.values(), key=lambda c: "pfucx".index(c.kind))
        if constraint.plain and (table.name, constraint.name) not in waiting
    ]
    comment = [f"comment={code.literal(table.comment)}"] if table.comment is not None else []
    return code.call(
        "op.create_table",
        code.literal(table.bare_name),
        *map(code.column_code, table.columns.values()),
        *constraints,
        *code.schema_argument(table),
        *comment,
        *code.storage_argument(table.options),
    )


def _drop_constraint(table: Table, constraint: Constraint) -> str:
    arguments = [code.literal(constraint.name), code.literal(table.bare_name)]
    return code.call("op.drop_constraint", *arguments, *code.schema_argument(table))


def _drop_trigger(name: str, table: Table) -> str:
    return code.execute(f"DROP TRIGGER {code.quoted(name)} ON {code.quoted(table.name)}")


def _table_comment(table: Table) -> str:
    name, schema = code.literal(table.bare_name), code.schema_argument(table)
    if table.comment is None:
        return code.call("op.drop_table_comment", name, *schema)
    return code.call("op.create_table_comment", name, code.literal(table.comment), *schema)


def _enum(name: str, current: tuple[str, ...] | None, wanted: tuple[str, ...]) -> Iterator[Step]:
    if current is None:
        labels = ", ".join(map(_label, wanted))
        yield Step(code.execute(f"CREATE TYPE {code.quoted(name)} AS ENUM ({labels})"))
        return
    for position, label in enumerate(wanted):
        if label not in current:
            place = (
                f"AFTER {_label(wanted[position - 1])}"
                if position
                else f"BEFORE {_label(current[0])}"
            )
            added = f"ADD VALUE IF NOT EXISTS {_label(label)} {place}"
            yield Step(code.execute(f"ALTER TYPE {code.quoted(name)} {added}"))
    if gone := [label for label in current if label not in wanted]:
        what = f"PostgreSQL cannot take {', '.join(map(_label, gone))} out of the type {name}."
        yield Step(
            "pass", f"{what} To be rid of them, make another type and move the columns to it."
        )


def _label(label: str) -> str:
    return "'" + label.replace("'", "''") + "'"
