"""The reading verbs of a repository in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cmp_to_key
from typing import TYPE_CHECKING, Any, Self, TypeVar

from pydantic import BaseModel

from timber.errors import ValidationError
from timber.repository import Repository
from timber.repository.comparing import Comparison
from timber.repository.counting import _UNCOUNTED
from timber.repository.expressions import as_condition
from timber.repository.filters import Filters
from timber.testing.memory.matching import Matcher, check_conditions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from timber.repository.conditions import Condition
    from timber.repository.cursors import Mark
    from timber.repository.ordering import Order
    from timber.testing.memory.database import InMemoryDatabase
    from timber.testing.memory.tables import Row, Table

D = TypeVar("D", bound=BaseModel)
E = TypeVar("E", bound=BaseModel)


class Prepared(Filters):
    """The filters of one call, for rows that are here."""

    __slots__ = ("matches",)

    matches: Matcher


class ReadingInMemory(Repository[D]):
    """Reads rows of one model in memory."""

    memory: InMemoryDatabase

    @property
    def _table(self) -> Table:
        self.memory.enter()
        return self.memory.tables[self.source.name]

    def _filters(
        self,
        filters: tuple[object, ...],
        equals: Mapping[str, object],
        owner: str | None,
        include_deleted: bool,  # noqa: FBT001  # as it is above
    ) -> Prepared:
        conditions: list[Condition] = [as_condition(each) for each in filters]
        conditions += [Comparison(name, "eq", value) for name, value in equals.items()]
        if owner is not None:
            conditions.append(Comparison(self.source.owner_column(), "eq", owner))
        if self.source.hides_deleted(include_deleted):
            conditions.append(Comparison("deleted_at", "is_null"))
        prepared = Prepared(
            self.source, filters, equals, owner=owner, include_deleted=include_deleted
        )
        prepared.matches = Matcher(self.source, check_conditions(self.source, conditions))
        return prepared

    def _matching(self, filters: Any) -> list[Row]:
        return [row for row in self._table.rows.values() if filters.matches(row)]

    def _this_one(self, key: Any, owner: object, *, live: bool) -> Row | None:
        wanted = None if owner is None else self.source.check_owner(owner)
        row = self._table.rows.get(key)
        if row is None or (live and row["deleted_at"] is not None):
            return None
        if wanted is not None and row[self.source.owner_column()] != wanted:
            return None
        return row

    async def _dtos(self, dto: type[E], rows: Sequence[Row]) -> list[E]:
        columns = self._plan(dto).columns
        return await self._load(dto, [_Record.of(columns, row) for row in rows])

    # What the verbs ask for

    async def _get(
        self, id: object, owner: str | None, dto: type[E], *, live: bool, lock: bool = False
    ) -> E | None:
        del lock
        row = self._this_one(self.source.check_key(id), owner, live=live)
        return (await self._dtos(dto, [row]))[0] if row is not None else None

    async def _get_many(
        self, keys: list[Any], owner: str | None, dto: type[E], *, include_deleted: bool
    ) -> list[E]:
        live = self.source.hides_deleted(include_deleted)
        rows = [self._this_one(key, owner, live=live) for key in keys]
        return await self._dtos(dto, [row for row in rows if row is not None])

    async def _find(
        self,
        verb: str,
        dto: type[E],
        filters: Filters,
        order: Order,
        limit: int,
        *,
        offset: int | None = None,
        fresh: bool,
    ) -> list[E]:
        del verb, fresh
        rows = in_order(self._matching(filters), order)
        start = offset or 0
        return await self._dtos(dto, rows[start : start + limit])

    async def _scroll(
        self,
        dto: type[BaseModel],
        filters: Filters,
        order: Order,
        limit: int,
        mark: Mark | None,
        *,
        fresh: bool,
    ) -> list[Any]:
        del fresh
        backwards = mark is not None and mark.direction == "previous"
        rows = in_order(self._matching(filters), order, backwards=backwards)
        if mark is not None:
            place = dict(zip(order.names, mark.values, strict=True))
            rows = [row for row in rows if _is_beyond(row, place, order, mark)]
        columns = tuple(dict.fromkeys((*self._plan(dto).columns, *order.names)))
        return [_Record.of(columns, row) for row in rows[:limit]]

    async def _count(self, filters: Filters, *, fresh: bool) -> int:
        del fresh
        return len(self._matching(filters))

    async def count_by(
        self,
        column: str,
        *filters: object,
        owner: str | None = None,
        include_deleted: bool = False,
        fresh: bool = False,
        **equals: object,
    ) -> dict[Any, int]:
        del fresh
        counted = self.source.plain_column(column, "count rows", "column")
        if counted.type.kind in _UNCOUNTED:
            raise ValidationError.of(
                "column", f"{column!r} is {counted.type}; count by a plain value"
            )
        rows = self._matching(self._filters(filters, equals, owner, include_deleted))
        return dict(Counter(row[column] for row in rows))

    async def exists(
        self,
        *filters: object,
        owner: str | None = None,
        include_deleted: bool = False,
        fresh: bool = False,
        **equals: object,
    ) -> bool:
        del fresh
        return bool(self._matching(self._filters(filters, equals, owner, include_deleted)))

    @asynccontextmanager
    async def _stream(
        self, dto: type[E], filters: Filters, order: Order | None, batch: int
    ) -> AsyncGenerator[AsyncIterator[E]]:
        del batch
        rows = self._matching(filters)
        items = await self._dtos(dto, in_order(rows, order) if order is not None else rows)

        async def each() -> AsyncIterator[E]:
            for item in items:
                yield item

        yield each()


class _Record(tuple[Any, ...]):  # noqa: SLOT001  # it keeps its names beside them
    """Values in the order of their columns, which can be asked for by name too, as the driver's records can."""

    _names: tuple[str, ...]

    @classmethod
    def of(cls, names: Sequence[str], row: Row) -> Self:
        record = cls(_copy(row[name]) for name in names)
        record._names = tuple(names)
        return record

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return super().__getitem__(self._names.index(key))
        return super().__getitem__(key)


def _copy(value: Any) -> Any:
    """JSON that a caller may change without changing what is stored."""
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def in_order(rows: Sequence[Row], order: Order, *, backwards: bool = False) -> list[Row]:
    """Rows in an order; NULL comes last ascending and first descending, as PostgreSQL puts it."""

    def compare(left: Row, right: Row) -> int:
        for name, descending in order.parts:
            found = _compare(left[name], right[name])
            if found:
                return -found if descending != backwards else found
        return 0

    return sorted(rows, key=cmp_to_key(compare))


def _compare(left: Any, right: Any) -> int:
    if left is None or right is None:
        return int(left is None) - int(right is None)
    if isinstance(left, dict | list):
        left, right = repr(left), repr(right)
    return int(left > right) - int(left < right)


def _is_beyond(row: Row, place: Row, order: Order, mark: Mark) -> bool:
    forwards = mark.direction == "next"
    for name, descending in order.parts:
        found = _compare(row[name], place[name])
        if found:
            return (found < 0) == (descending == forwards)
    return mark.inclusive
