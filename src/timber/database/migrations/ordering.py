"""Tables in an order in which each can be created: after those it refers to."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from timber.database.migrations.catalog import Constraint, Table


def in_order(tables: Iterable[Table]) -> tuple[list[Table], list[tuple[Table, Constraint]]]:
    """The tables, referred to before referring; and the references that close a circle and have to wait for all of them."""
    waiting = {table.name: table for table in tables}
    ordered: list[Table] = []
    later: list[tuple[Table, Constraint]] = []
    while waiting:
        name = min(
            waiting, key=lambda n: len(_blocking(waiting[n], waiting))
        )  # the first of equals
        table = waiting.pop(name)
        ordered.append(table)
        later += [(table, key) for key in _blocking(table, waiting)]
    return ordered, later


def _blocking(table: Table, waiting: dict[str, Table]) -> list[Constraint]:
    return [key for key in table.of_kind("f") if key.target in waiting and key.target != table.name]
