"""What goes along with rows that are deleted, as the references to them say, a bounded number of rows at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from timber.privacy.asking import ask, tell

if TYPE_CHECKING:
    from sqlalchemy.sql.elements import ColumnElement

    from timber.privacy.means import Means
    from timber.privacy.planning import Link, Reference

Above = tuple[tuple[str, list[Any]], ...]


class Dependents:
    """Deletes rows with everything that PostgreSQL would delete with them, by the repositories of the models.

    PostgreSQL's own cascades tell no feature and no cache, and know no bounds.

    Args:
        most: how many rows may be deleted or emptied beside those that are asked for.

    Attributes:
        done: how many rows were deleted, by model or association table.
    """

    def __init__(self, means: Means, most: int) -> None:
        self._db = means.db
        self._models = means.models
        self._repositories = means.repositories
        self._room = most
        self.done: dict[str, int] = {}

    async def delete(self, model: str, keys: list[Any]) -> bool:
        """Delete rows and what depends on them; False if that was too much for once, and the rows are still there."""
        if not await self._clear(model, keys, ()):
            return False
        await self._remove(model, keys)
        return True

    async def _clear(self, model: str, keys: list[Any], above: Above) -> bool:
        """Delete or empty what depends on rows, deepest first; False if there is more of it.

        Args:
            above: the rows of the same deletion that these depend on, by model.
        """
        table = self._models.table(model)
        key = table.c[self._models.config(model).primary_key]
        chosen = key == sa.any_(sa.literal(keys, ARRAY(key.type)))
        for link in self._models.links[model]:
            if not await self._links(link, _column_of(table, link.target_column, chosen)):
                return False
        for reference in self._models.references[model]:
            referred = _column_of(table, reference.target_column, chosen)
            if reference.on_delete == "cascade":
                if not await self._children(reference, referred, (*above, (model, keys))):
                    return False
            elif reference.on_delete == "set null" and not await self._empty(reference, referred):
                return False
        return True

    async def _remove(self, model: str, keys: list[Any]) -> None:
        repository = self._repositories(model)
        condition = repository.where[self._models.config(model).primary_key].in_(keys)
        self._count(model, await repository.delete_where(condition, hard=True))

    async def _children(self, reference: Reference, referred: sa.Select[Any], above: Above) -> bool:
        """Delete the rows that go along."""
        known = [key for model, keys in above if model == reference.model for key in keys]
        while keys := await self._pick(reference, referred, known):
            if self._room <= 0 or not await self._clear(reference.model, keys, above):
                return False
            possible = keys[: max(0, self._room)]
            if possible:
                self._room -= len(possible)
                await self._remove(reference.model, possible)
            if len(possible) < len(keys):
                return False
        return True

    async def _empty(self, reference: Reference, referred: sa.Select[Any]) -> bool:
        while keys := await self._pick(reference, referred, []):
            if self._room <= 0:
                return False
            self._room -= len(keys)
            repository = self._repositories(reference.model)
            key = self._models.config(reference.model).primary_key
            await repository.update_where(
                {reference.column: None}, repository.where[key].in_(keys), include_deleted=True
            )
        return True

    async def _links(self, link: Link, referred: sa.Select[Any]) -> bool:
        table, column = link.table, link.table.c[link.column]
        if self._room <= 0:
            return False
        columns = list(table.primary_key.columns)
        picked = sa.select(*columns).where(column.in_(referred)).limit(self._room)
        statement = table.delete().where(sa.tuple_(*columns).in_(picked))
        number = await tell(self._db, statement, f"purge {link.name}")
        self._count(link.name, number)
        self._room -= number
        return self._room > 0

    async def _pick(
        self, reference: Reference, referred: sa.Select[Any], known: list[Any]
    ) -> list[Any]:
        """Rows that refer to others by this reference, locked; at least one if there are any."""
        rows = self._models.table(reference.model).alias("referring")
        key = rows.c[self._models.config(reference.model).primary_key]
        conditions: list[ColumnElement[bool]] = [rows.c[reference.column].in_(referred)]
        if known:
            conditions.append(key != sa.all_(sa.literal(known, ARRAY(key.type))))
        picked = (
            sa.select(key).where(*conditions).limit(max(1, self._room)).with_for_update(of=rows)
        )
        return [row[0] for row in await ask(self._db, picked, f"pick {reference.model}")]

    def _count(self, name: str, number: int) -> None:
        if number:
            self.done[name] = self.done.get(name, 0) + number


def _column_of(table: sa.Table, column: str, chosen: ColumnElement[bool]) -> sa.Select[Any]:
    return sa.select(table.c[column]).where(chosen).correlate(None)
