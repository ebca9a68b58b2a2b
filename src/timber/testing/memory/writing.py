"""The writing verbs of a repository in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel

from timber.errors import ConflictError, ServiceError, StaleDataError, ValidationError
from timber.features.feature import Write
from timber.repository.leasing import LEASE_COLUMN, _end_of
from timber.repository.ordering import Order, OrderBy, check_limit
from timber.repository.querying import MAX_LIMIT
from timber.repository.rows import given_names
from timber.repository.source import check_flag
from timber.testing.memory.reading import ReadingInMemory, in_order

if TYPE_CHECKING:
    from timber.repository.writing import State
    from timber.testing.memory.tables import Row

D = TypeVar("D", bound=BaseModel)


class WritingInMemory(ReadingInMemory[D]):
    """Writes rows of one model in memory."""

    async def insert(self, values: object, *, id: object = None) -> D:
        return (await self._insert([self._rows.new(values, id)], single=True))[0]

    async def insert_many(self, items: Iterable[object]) -> list[Any]:
        rows, _ = self._rows.new_many(items)
        stored = await self._store(rows, single=False)
        return [row[self.source.key] for row in stored]

    async def insert_many_returning(self, items: Iterable[object]) -> list[D]:
        rows, _ = self._rows.new_many(items)
        return await self._insert(rows, single=False)

    async def _insert(self, rows: list[Row], *, single: bool) -> list[D]:
        return await self._dtos(self.dto, await self._store(rows, single=single))

    async def _store(self, rows: list[Row], *, single: bool) -> list[Row]:
        """Store new rows: all of them or none."""
        self._check_json_of(rows, single=single)
        write = Write("insert", rows, self._keys_of(rows), single=single)
        if self._features is not None:
            await self._features.before_insert(write)
        table = self._table
        stored = [table.stored(row) for row in rows]
        added = []
        try:
            for row in stored:
                table.check_unique(row)
                self.memory.tables.check_references(table, row)
                self.memory.put(table, row[self.source.key], row)
                added.append(row[self.source.key])
        except ConflictError as error:
            if self.db.current() is None:
                for key in added:
                    del table.rows[key]
            self.memory.fail(error)
        return stored

    def _check_json_of(self, rows: list[Row], *, single: bool) -> None:
        for row in rows:
            for name in self._rows.json_columns:
                try:
                    if row.get(name) is not None:
                        self.source.check_json(name, row[name])
                except ValidationError as error:
                    if single:
                        raise
                    raise self._rows.name_json_problems(rows, error) from None

    # Changes

    async def _change(
        self,
        row: Row,
        values: dict[str, Any],
        *,
        state: State,
        merged: tuple[str, ...] = (),
        expected_version: int | None = None,
    ) -> list[Any]:
        found = self._this_one(values["key"], values.get("owner"), live=state == "live")
        if found is None or (state == "deleted" and found["deleted_at"] is None):
            return []
        if expected_version is not None and found["version"] != expected_version:
            return []
        return [self._record(await self._changed(found, row, merged))]

    async def _changed(self, found: Row, row: Row, merged: tuple[str, ...] = ()) -> Row:
        """Give a row other values, as an update does."""
        key = found[self.source.key]
        row = dict(row)
        self._check_json_of([row], single=True)
        for name in merged:
            before = found[name] if isinstance(found[name], dict) else {}
            row[name] = {**before, **row[name]}
        if self._features is not None:
            current = [dict(found)] if self._needed(row) else None
            await self._features.before_update(Write("update", [row], [key], current=current))
        self._rows.touch(row)
        table = self._table
        new = self._counted_up(table.changed(found, row))
        try:
            table.check_unique(new, replacing=key)
            self.memory.tables.check_references(table, new)
        except ConflictError as error:
            self.memory.fail(error)
        self.memory.put(table, key, new)
        return new

    def _counted_up(self, row: Row) -> Row:
        return {**row, "version": row["version"] + 1} if self.source.config.versioned else row

    def _record(self, row: Row) -> Any:
        return tuple(row[name] for name in self._plan(self.dto).columns)

    async def _why_missing(
        self, key: object, expected_version: int | None, owner: str | None, *, live: bool
    ) -> ServiceError:
        found = self._this_one(key, owner, live=live)
        if found is None or expected_version is None:
            return self._not_found()
        return StaleDataError(
            model=self.source.name, expected=expected_version, actual=found["version"]
        )

    async def update_where(
        self,
        changes: object,
        *filters: object,
        owner: str | None = None,
        include_deleted: bool = False,
        **equals: object,
    ) -> int:
        row = self._rows.changes(changes)
        if not row:
            raise ValidationError.of("changes", "are empty")
        prepared = self._some(filters, equals, owner, include_deleted=include_deleted)
        self._check_json_of([row], single=True)
        found = self._matching(prepared)
        for each in found:
            await self._changed(each, row)
        return len(found)

    # Deletions

    async def delete(self, id: object, *, hard: bool = False, owner: str | None = None) -> None:
        key = self.source.check_key(id)
        soft = self.source.config.soft_delete and not check_flag("hard", hard)
        found = self._this_one(key, owner, live=soft)
        await self._prepared_deletion(self.source.clock() if soft else None, [key])
        if found is None:
            raise self._not_found()
        self._delete(found, soft=soft)

    async def delete_where(
        self, *filters: object, hard: bool = False, owner: str | None = None, **equals: object
    ) -> int:
        soft = self.source.config.soft_delete and not check_flag("hard", hard)
        prepared = self._some(filters, equals, owner, include_deleted=not soft)
        await self._prepared_deletion(self.source.clock() if soft else None, None)
        found = self._matching(prepared)
        for row in found:
            self._delete(row, soft=soft)
        return len(found)

    def _delete(self, row: Row, *, soft: bool) -> None:
        table = self._table
        key = row[self.source.key]
        if soft:
            now = self.source.clock()
            changes = {"deleted_at": now}
            if self.source.config.timestamps:
                changes["updated_at"] = now
            self.memory.put(table, key, self._counted_up(table.changed(row, changes)))
            return
        try:
            self.memory.remove(table, key)
        except ConflictError as error:
            self.memory.fail(error)

    # Insert or change

    async def upsert(
        self,
        values: object,
        *,
        on: str | Iterable[str] | None = None,
        update: str | Iterable[str] | None = None,
    ) -> D:
        row = self._rows.new(values)
        target = self._check_target(on)
        given = frozenset(given_names(values))
        changed = self._check_changed([name for name in row if name in given], target, update)
        wanted = self._table.stored(row)
        for found in self._table.rows.values():
            if all(found[name] == wanted[name] for name in target):
                return await self._change_existing(found, row, changed)
        return (await self._insert([row], single=True))[0]

    async def _change_existing(self, found: Row, row: Row, changed: Sequence[str]) -> D:
        owner = self.source.config.owner
        if owner is not None and found[owner] != row[owner]:
            raise self._somebody_elses()
        changes = {name: row[name] for name in changed}
        if self.source.config.soft_delete:
            changes["deleted_at"] = None
        new = await self._changed(found, changes)
        return (await self._dtos(self.dto, [new]))[0]

    # Claims

    async def claim(
        self,
        *filters: object,
        limit: int,
        lease: timedelta,
        order_by: OrderBy = None,
        owner: str | None = None,
        lease_column: str = LEASE_COLUMN,
        **equals: object,
    ) -> list[D]:
        check_limit(limit, "limit", MAX_LIMIT)
        self._check_lease_column(lease_column)
        now = self.source.clock()
        until = _end_of(now, lease)
        prepared = self._filters(filters, equals, owner, include_deleted=False)
        order = Order.of(self.source, order_by, default=("created_at",))
        free = [
            row
            for row in in_order(self._matching(prepared), order)
            if row[lease_column] is None or row[lease_column] <= now
        ]
        claimed = []
        for row in free[:limit]:
            new = self._table.changed(row, {lease_column: until})
            self.memory.put(self._table, row[self.source.key], new)
            claimed.append(new)
        return await self._dtos(self.dto, claimed)

    async def release(
        self, id: object, *, owner: str | None = None, lease_column: str = LEASE_COLUMN
    ) -> bool:
        self._check_lease_column(lease_column)
        found = self._this_one(self.source.check_key(id), owner, live=False)
        if found is None:
            return False
        new = self._table.changed(found, {lease_column: None})
        self.memory.put(self._table, found[self.source.key], new)
        return True
