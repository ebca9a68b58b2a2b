"""The differences between what a database contains and what the models want, one sentence each."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from timber.database.migrations.goals import goal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from timber.database.migrations.catalog import Catalog, Column, Table

_KINDS = {
    "p": "primary key",
    "u": "unique constraint",
    "f": "foreign key",
    "c": "check",
    "x": "exclusion constraint",
}


def differences(current: Catalog, wanted: Catalog) -> list[str]:
    """What is different, in an order that does not change; empty if nothing is."""
    wanted = goal(current, wanted)
    return [*_around(current, wanted), *_tables(current, wanted)]


def _around(current: Catalog, wanted: Catalog) -> Iterator[str]:
    for name in sorted(wanted.extensions - current.extensions):
        yield f"the extension {name} is missing"
    for name, labels in wanted.enums.items():
        if name not in current.enums:
            yield f"the enum type {name} is missing"
        elif current.enums[name] != labels:
            found = ", ".join(current.enums[name])
            yield f"the enum type {name} has the labels {found}; the models say {', '.join(labels)}"
    yield from _definitions("the function", current.functions, wanted.functions)


def _tables(current: Catalog, wanted: Catalog) -> Iterator[str]:
    for name, table in wanted.tables.items():
        if name not in current.tables:
            yield f"the table {name} is missing"
        else:
            yield from _table(current.tables[name], table)
    for name in current.tables:
        if name not in wanted.tables:
            yield f"the table {name} belongs to no model"


def _table(current: Table, wanted: Table) -> Iterator[str]:
    name = wanted.name
    if current.comment != wanted.comment:
        yield f"{name}: its comment is {current.comment!r}; the models say {wanted.comment!r}"
    for column, missing in _apart(current.columns, wanted.columns):
        if missing is not None:
            yield f"{name}.{column}: the column {missing}"
        else:
            yield from _column(name, current.columns[column], wanted.columns[column])
    for constraint, missing in _apart(current.constraints, wanted.constraints):
        kind = _KINDS[(wanted.constraints.get(constraint) or current.constraints[constraint]).kind]
        if missing is not None:
            yield f"{name}: the {kind} {constraint} {missing}"
            continue
        old, new = current.constraints[constraint], wanted.constraints[constraint]
        if replace(old, valid=new.valid) == new:
            yield f"{name}: the {kind} {constraint} is not validated"
        else:
            yield f"{name}: the {kind} {constraint} is {old.definition}; the models say {new.definition}"
    for index, missing in _apart(current.indexes, wanted.indexes):
        if missing is not None:
            yield f"{name}: the index {index} {missing}"
        elif not current.indexes[index].valid:
            yield f"{name}: the index {index} is invalid: it was left over when its concurrent creation failed"
        else:
            what = " and ".join(_attributes(current.indexes[index], wanted.indexes[index]))
            yield f"{name}: the index {index} differs in {what}"
    yield from _definitions(f"{name}: the trigger", current.triggers, wanted.triggers)


def _definitions(what: str, current: Mapping[str, str], wanted: Mapping[str, str]) -> Iterator[str]:
    for name, missing in _apart(current, wanted):
        yield f"{what} {name} {missing or 'differs from that of the models'}"


def _apart(
    current: Mapping[str, Any], wanted: Mapping[str, Any]
) -> Iterator[tuple[str, str | None]]:
    """The names of what is not the same on both sides, and on which side it is missing, if on one."""
    for name, thing in wanted.items():
        if name not in current:
            yield name, "is missing"
        elif current[name] != thing:
            yield name, None
    for name in current:
        if name not in wanted:
            yield name, "is in no model"


def _column(table: str, current: Column, wanted: Column) -> Iterator[str]:
    place = f"{table}.{wanted.name}"
    for attribute in _attributes(current, wanted):
        old, new = getattr(current, attribute), getattr(wanted, attribute)
        if attribute == "nullable":
            yield f"{place}: it may {'' if old else 'not '}be NULL; the models say it may{' not' if old else ''}"
        elif attribute == "identity":
            yield f"{place}: it is {'' if old else 'not '}numbered by an identity as the models want it"
        else:
            yield f"{place}: its {attribute} is {_shown(old)}; the models say {_shown(new)}"


def _attributes(one: Any, other: Any) -> list[str]:
    return [
        f.name for f in fields(one) if f.compare and getattr(one, f.name) != getattr(other, f.name)
    ]


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    return str(getattr(value, "shown", value))
