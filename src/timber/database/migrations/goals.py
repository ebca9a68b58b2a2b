"""What a migration is to arrive at, and where it stops on the way so that a service can run while it is under way."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from timber.database.migrations.catalog import OWN_PREFIX, Catalog, Column, Constraint, Table

if TYPE_CHECKING:
    from collections.abc import Mapping

_CHECKED_LATER: Final = ("c", "f")


def goal(current: Catalog, wanted: Catalog) -> Catalog:
    """What the models want, with what of the rest is left alone.

    A user's own functions, triggers and types stay, and so do extensions; of functions and triggers named ``timber_...``
    those that nothing needs any more do not.
    """
    tables = {
        name: replace(
            table, triggers={**_strangers(current.tables[name].triggers), **table.triggers}
        )
        if name in current.tables
        else table
        for name, table in wanted.tables.items()
    }
    return Catalog(
        tables=tables,
        functions={**_strangers(current.functions), **wanted.functions},
        enums={**current.enums, **wanted.enums},
        extensions=current.extensions | wanted.extensions,
    )


def _strangers(named: Mapping[str, str]) -> dict[str, str]:
    return {
        name: definition
        for name, definition in named.items()
        if not name.rpartition(".")[2].startswith(OWN_PREFIX)
    }


def halfway(current: Catalog, wanted: Catalog) -> Catalog:
    """The goal without what takes long on a table full of rows: there new checks and references are not validated yet, new
    indexes not built, and old ones not dropped. All that can be done afterwards without keeping anybody from their work.
    """
    return replace(
        wanted,
        tables={
            name: _halfway(current.tables[name], table) if name in current.tables else table
            for name, table in wanted.tables.items()
        },
    )


def _halfway(current: Table, wanted: Table) -> Table:
    gone = {*made_anew(current, wanted), *(set(current.columns) - set(wanted.columns))}
    return replace(
        wanted,
        indexes={name: i for name, i in current.indexes.items() if not i.uses & gone},
        constraints={
            name: _unchecked(current.constraints.get(name), constraint, gone)
            for name, constraint in wanted.constraints.items()
        },
    )


def _unchecked(current: Constraint | None, wanted: Constraint, gone: set[str]) -> Constraint:
    stays = current == wanted and not gone.intersection(wanted.columns)
    if wanted.kind not in _CHECKED_LATER or stays:
        return wanted
    return replace(wanted, valid=False)


def made_anew(current: Table, wanted: Table) -> list[str]:
    """The columns that are dropped and added again: PostgreSQL cannot change what a generated one is made of."""
    again: set[str] = set()
    both = [name for name in wanted.columns if name in current.columns]
    for name in both:
        old, new = current.columns[name], wanted.columns[name]
        changed = old.generated != new.generated or old.type != new.type
        if new.generated is not None and (changed or _made_of_changed(new, current, wanted)):
            again.add(name)
    return [name for name in both if name in again]


def _made_of_changed(generated: Column, current: Table, wanted: Table) -> bool:
    return any(
        use in current.columns
        and use in wanted.columns
        and (current.columns[use].type != wanted.columns[use].type)
        for use in generated.uses
    )
