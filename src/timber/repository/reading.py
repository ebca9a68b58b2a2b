"""The reading verbs of a repository."""

from __future__ import annotations

import itertools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

import sqlalchemy as sa
from pydantic import BaseModel

from timber.database.statements import StatementCache, compile_statement
from timber.dto import CursorPage, Page
from timber.errors import NotFoundError, UsageError
from timber.repository.conditions import Binder, Comparison, Condition, as_condition
from timber.repository.cursors import (
    Direction,
    Order,
    OrderBy,
    check_limit,
    decode_cursor,
    encode_cursor,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Hashable, Iterable

    from sqlalchemy.sql.elements import ColumnElement

    from timber.database.manager import AsyncDatabaseManager
    from timber.database.statements import Statement
    from timber.repository.source import Source

D = TypeVar("D", bound=BaseModel)
E = TypeVar("E", bound=BaseModel)

MAX_LIMIT = 1000
MAX_PER_PAGE = 200


class Filters:
    """Conditions with their shape, and values under the names of their parameters."""

    __slots__ = ("_conditions", "_source", "shape", "values")

    def __init__(self, source: Source, conditions: list[Condition], binder: Binder) -> None:
        self._source = source
        self._conditions = conditions
        self.shape: Hashable = tuple(condition.collect(source, binder) for condition in conditions)
        self.values = binder.values

    def build(self) -> list[ColumnElement[Any]]:
        """The conditions in SQL."""
        numbers = itertools.count()
        return [
            condition.build(self._source, lambda: f"p{next(numbers)}")
            for condition in self._conditions
        ]


class Reading(Generic[D]):
    """Reads rows of one model as DTOs. Statements are compiled once for each shape of call."""

    source: Source
    db: AsyncDatabaseManager
    dto: type[D]
    _statements: StatementCache
    _readers: dict[type[BaseModel], Any]

    # One row

    @overload
    async def get(
        self,
        id: object,
        *,
        owner: str | None = None,
        include_deleted: bool = False,
        into: None = None,
        fresh: bool = False,
    ) -> D: ...
    @overload
    async def get(
        self,
        id: object,
        *,
        owner: str | None = None,
        include_deleted: bool = False,
        into: type[E],
        fresh: bool = False,
    ) -> E: ...
    async def get(
        self,
        id: object,
        *,
        owner: str | None = None,
        include_deleted: bool = False,
        into: type[Any] | None = None,
        fresh: bool = False,
    ) -> Any:
        """The row with this key.

        Raises:
            NotFoundError: there is none, or it is another owner's.
        """
        found = await self._get(id, owner, include_deleted, into or self.dto, fresh)
        if found is None:
            raise NotFoundError(model=self.source.name)
        return found

    @overload
    async def get_or_none(
        self,
        id: object,
        *,
        owner: str | None = None,
        include_deleted: bool = False,
        into: None = None,
        fresh: bool = False,
    ) -> D | None: ...
    @overload
    async def get_or_none(
        self,
        id: object,
        *,
        owner: str | None = None,
        include_deleted: bool = False,
        into: type[E],
        fresh: bool = False,
    ) -> E | None: ...
    async def get_or_none(
        self,
        id: object,
        *,
        owner: str | None = None,
        include_deleted: bool = False,
        into: type[Any] | None = None,
        fresh: bool = False,
    ) -> Any:
        """The row with this key, None if there is none or it is another owner's."""
        return await self._get(id, owner, include_deleted, into or self.dto, fresh)

    async def _get(
        self, id: object, owner: str | None, include_deleted: bool, dto: type[E], fresh: bool
    ) -> E | None:
        key = self.source.check_key(id)
        statement = self._by_key(dto, owner is not None, include_deleted, lock=False)
        rows = await self.db.fetch(statement, [key] if owner is None else [key, self._owner(owner)])
        return self._read(dto, rows)[0] if rows else None

    async def for_update(
        self, id: object, *, owner: str | None = None, include_deleted: bool = False
    ) -> D:
        """The row with this key, locked until the unit of work ends.

        Raises:
            UsageError: outside a unit of work a lock would end with the statement.
        """
        self._require_unit_of_work("for_update()")
        key = self.source.check_key(id)
        statement = self._by_key(self.dto, owner is not None, include_deleted, lock=True)
        rows = await self.db.fetch(statement, [key] if owner is None else [key, self._owner(owner)])
        if not rows:
            raise NotFoundError(model=self.source.name)
        return self._read(self.dto, rows)[0]

    async def get_many(
        self,
        ids: Iterable[object],
        *,
        owner: str | None = None,
        include_deleted: bool = False,
        fresh: bool = False,
    ) -> list[D]:
        """The rows with these keys, in their order; missing ones are left out."""
        keys = [self.source.check_key(key) for key in ids]
        if not keys:
            return []
        filters = self._filters(
            (Comparison(self.source.key, "in", keys),), {}, owner, include_deleted
        )
        rows = await self._select("get_many", self.dto, filters, None)
        position = {key: index for index, key in enumerate(keys)}
        key_of = self.source.key
        rows.sort(key=lambda row: position[row[key_of]])
        return self._read(self.dto, rows)

    # Lists

    @overload
    async def find(
        self,
        *filters: object,
        order_by: OrderBy = None,
        limit: int = 100,
        owner: str | None = None,
        include_deleted: bool = False,
        into: None = None,
        fresh: bool = False,
        **equals: object,
    ) -> list[D]: ...
    @overload
    async def find(
        self,
        *filters: object,
        order_by: OrderBy = None,
        limit: int = 100,
        owner: str | None = None,
        include_deleted: bool = False,
        into: type[E],
        fresh: bool = False,
        **equals: object,
    ) -> list[E]: ...
    async def find(
        self,
        *filters: object,
        order_by: OrderBy = None,
        limit: int = 100,
        owner: str | None = None,
        include_deleted: bool = False,
        into: type[Any] | None = None,
        fresh: bool = False,
        **equals: object,
    ) -> Any:
        """The rows that meet every filter, newest first where nothing else is said.

        Args:
            filters: expressions such as ``repository.where.status.in_([...])``, or SQLAlchemy's.
            order_by: names of columns, ``-`` for descending.
            limit: 1 to 1000.
            into: a narrower DTO; only its columns are read.
            equals: columns and the values they are to have; None asks for NULL.
        """
        dto = into or self.dto
        order = Order.of(self.source, order_by)
        checked = check_limit(limit, "limit", MAX_LIMIT)
        prepared = self._filters(filters, equals, owner, include_deleted)
        return self._read(dto, await self._select("find", dto, prepared, order, checked))

    async def find_one(
        self,
        *filters: object,
        order_by: OrderBy = None,
        owner: str | None = None,
        include_deleted: bool = False,
        fresh: bool = False,
        **equals: object,
    ) -> D | None:
        """The first row that meets every filter, None if there is none."""
        found: list[D] = await self.find(
            *filters,
            order_by=order_by,
            limit=1,
            owner=owner,
            include_deleted=include_deleted,
            fresh=fresh,
            **equals,
        )
        return found[0] if found else None

    async def page(
        self,
        *filters: object,
        page: int = 1,
        per_page: int = 20,
        order_by: OrderBy = None,
        owner: str | None = None,
        include_deleted: bool = False,
        fresh: bool = False,
        **equals: object,
    ) -> Page[D]:
        """One numbered page and the number of all rows; deep pages are slow, :meth:`scroll` is not."""
        check_limit(page, "page", 10_000_000)
        check_limit(per_page, "per_page", MAX_PER_PAGE)
        order = Order.of(self.source, order_by)
        prepared = self._filters(filters, equals, owner, include_deleted)
        total = await self._count(prepared)
        offset = (page - 1) * per_page
        rows = (
            await self._select("page", self.dto, prepared, order, per_page, offset)
            if offset < total
            else []
        )
        return Page[Any].model_construct(
            items=self._read(self.dto, rows), total=total, page=page, per_page=per_page
        )

    async def scroll(
        self,
        *filters: object,
        cursor: str | None = None,
        limit: int = 100,
        order_by: OrderBy = None,
        owner: str | None = None,
        include_deleted: bool = False,
        fresh: bool = False,
        **equals: object,
    ) -> CursorPage[D]:
        """The rows behind a cursor (keyset pagination): as fast at the end of a list as at its beginning.

        Raises:
            ValidationError: the cursor is damaged or belongs to another list.
        """
        check_limit(limit, "limit", MAX_LIMIT)
        order = Order.of(self.source, order_by)
        order.check_for_cursor(self.source)
        direction: Direction = "next"
        marks: list[Any] = []
        if cursor is not None:
            direction, marks = decode_cursor(self.source, order, cursor)
        prepared = self._filters(filters, equals, owner, include_deleted)
        rows = await self._scroll(prepared, order, limit + 1, direction if marks else None, marks)
        more, rows = len(rows) > limit, rows[:limit]
        if direction == "previous":
            rows.reverse()

        def at(direction: Direction, row: Any) -> str:
            return encode_cursor(self.source, order, direction, row)

        ahead = bool(rows) and (more if direction == "next" else True)
        behind = bool(rows) and (more if direction == "previous" else bool(marks))
        return CursorPage[Any].model_construct(
            items=self._read(self.dto, rows),
            next_cursor=at("next", rows[-1]) if ahead else None,
            previous_cursor=at("previous", rows[0]) if behind else None,
        )

    @asynccontextmanager
    async def stream(
        self,
        *filters: object,
        batch: int = 1000,
        order_by: OrderBy = None,
        owner: str | None = None,
        include_deleted: bool = False,
        into: type[Any] | None = None,
        **equals: object,
    ) -> AsyncIterator[AsyncIterator[D]]:
        """All rows that meet the filters, ``batch`` at a time from a cursor on the server: any number in bounded memory.

        Outside a unit of work it holds a connection of its own until the ``async with`` block ends.
        """
        check_limit(batch, "batch", 100_000)
        dto = into or self.dto
        prepared = self._filters(filters, equals, owner, include_deleted)
        order = Order.of(self.source, order_by) if order_by is not None else None
        statement = self._selecting("stream", dto, prepared, order, limited=False, skipped=False)
        args = statement.bind(prepared.values)
        async with self.db.cursor(statement, args, batch=batch) as batches:
            rows = _each(batches, lambda records: self._read(dto, records))
            try:
                yield rows
            finally:
                await rows.aclose()  # type: ignore[attr-defined]

    # Numbers

    async def count(
        self,
        *filters: object,
        owner: str | None = None,
        include_deleted: bool = False,
        **equals: object,
    ) -> int:
        """How many rows meet every filter."""
        return await self._count(self._filters(filters, equals, owner, include_deleted))

    async def count_by(
        self,
        column: str,
        *filters: object,
        owner: str | None = None,
        include_deleted: bool = False,
        **equals: object,
    ) -> dict[Any, int]:
        """How many rows there are of each value of a column."""
        self.source.column(column, "count_by")
        prepared = self._filters(filters, equals, owner, include_deleted)

        def build() -> Statement:
            grouped = self.source.table.c[column].label("value")
            return self._compile(
                sa.select(grouped, sa.func.count().label("n"))
                .where(*prepared.build())
                .group_by(self.source.table.c[column]),
                "count_by",
            )

        statement = self._statement(("count_by", column, prepared.shape), build)
        rows = await self.db.fetch(statement, statement.bind(prepared.values))
        return {row["value"]: row["n"] for row in rows}

    async def exists(
        self,
        *filters: object,
        owner: str | None = None,
        include_deleted: bool = False,
        **equals: object,
    ) -> bool:
        """Whether any row meets every filter."""
        prepared = self._filters(filters, equals, owner, include_deleted)

        def build() -> Statement:
            found = sa.select(sa.literal_column("1")).select_from(self.source.table)
            return self._compile(
                sa.select(sa.exists(found.where(*prepared.build())).label("found")), "exists"
            )

        statement = self._statement(("exists", prepared.shape), build)
        rows = await self.db.fetch(statement, statement.bind(prepared.values))
        return bool(rows[0]["found"])

    # Inside

    def _owner(self, owner: str) -> Any:
        return self.source.check(self.source.owner_column(), owner)

    def _require_unit_of_work(self, what: str) -> None:
        if self.db.current() is None:
            raise UsageError(
                f"{what} locks rows until the end of the transaction: call it inside `async with timber.unit_of_work():`."
            )

    def _filters(
        self,
        filters: tuple[object, ...],
        equals: dict[str, object],
        owner: str | None,
        include_deleted: bool,
    ) -> Filters:
        conditions = [as_condition(condition) for condition in filters]
        conditions += [Comparison(name, "eq", value) for name, value in equals.items()]
        if owner is not None:
            conditions.append(Comparison(self.source.owner_column(), "eq", owner))
        if self.source.config.soft_delete and not include_deleted:
            conditions.append(Comparison("deleted_at", "is_null"))
        return Filters(self.source, conditions, Binder())

    def _read(self, dto: type[E], rows: list[Any]) -> list[E]:
        reader = self._readers.get(dto)
        if reader is None:
            reader = self._readers[dto] = self.source.reader(dto)
        found: list[E] = reader(rows)
        return found

    def _statement(self, shape: Hashable, build: Callable[[], Statement]) -> Statement:
        return self._statements.get(shape, build)

    def _compile(self, statement: Any, verb: str) -> Statement:
        expand = _has_unfixed_text(statement)
        return compile_statement(
            statement, self.db.dialect, label=f"{verb} {self.source.name}", expand=expand
        )

    def _by_key(
        self, dto: type[BaseModel], owned: bool, include_deleted: bool, *, lock: bool
    ) -> Statement:
        def build() -> Statement:
            table = self.source.table
            key = table.c[self.source.key]
            statement = sa.select(*self.source.selected(dto)).where(
                key == sa.bindparam("key", type_=key.type)
            )
            if owned:
                owner = table.c[self.source.owner_column()]
                statement = statement.where(owner == sa.bindparam("owner", type_=owner.type))
            if self.source.config.soft_delete and not include_deleted:
                statement = statement.where(table.c.deleted_at.is_(None))
            if lock:
                statement = statement.with_for_update()
            return self._compile(statement, "for_update" if lock else "get")

        return self._statement(("get", dto, owned, include_deleted, lock), build)

    def _selecting(
        self,
        verb: str,
        dto: type[BaseModel],
        filters: Filters,
        order: Order | None,
        *,
        limited: bool,
        skipped: bool,
    ) -> Statement:
        def build() -> Statement:
            statement = sa.select(*self.source.selected(dto)).where(*filters.build())
            if order is not None:
                statement = statement.order_by(*order.clauses(self.source))
            if limited:
                statement = statement.limit(sa.bindparam("limit", type_=sa.BigInteger))
            if skipped:
                statement = statement.offset(sa.bindparam("offset", type_=sa.BigInteger))
            return self._compile(statement, verb)

        return self._statement((verb, dto, filters.shape, order, limited, skipped), build)

    async def _select(
        self,
        verb: str,
        dto: type[BaseModel],
        filters: Filters,
        order: Order | None,
        limit: int | None = None,
        offset: int | None = None,
    ) -> list[Any]:
        statement = self._selecting(
            verb, dto, filters, order, limited=limit is not None, skipped=offset is not None
        )
        values = {**filters.values, "limit": limit, "offset": offset}
        return await self.db.fetch(statement, statement.bind(values))

    async def _scroll(
        self,
        filters: Filters,
        order: Order,
        limit: int,
        direction: Direction | None,
        marks: list[Any],
    ) -> list[Any]:
        def build() -> Statement:
            wanted = dict.fromkeys(self.source.fields_of(self.dto))
            wanted.update(dict.fromkeys(name for name, _ in order.parts))
            statement = sa.select(*(self.source.table.c[name] for name in wanted))
            statement = statement.where(*filters.build())
            if direction is not None:
                numbers = itertools.count()
                statement = statement.where(
                    order.beyond(self.source, direction, lambda: f"m{next(numbers)}")
                )
            statement = statement.order_by(
                *order.clauses(self.source, backwards=direction == "previous")
            )
            return self._compile(
                statement.limit(sa.bindparam("limit", type_=sa.BigInteger)), "scroll"
            )

        statement = self._statement(("scroll", filters.shape, order, direction), build)
        values = {**filters.values, "limit": limit}
        values |= {f"m{index}": mark for index, mark in enumerate(marks)}
        return await self.db.fetch(statement, statement.bind(values))

    async def _count(self, filters: Filters) -> int:
        def build() -> Statement:
            counted = sa.select(sa.func.count().label("n")).select_from(self.source.table)
            return self._compile(counted.where(*filters.build()), "count")

        statement = self._statement(("count", filters.shape), build)
        rows = await self.db.fetch(statement, statement.bind(filters.values))
        count: int = rows[0]["n"]
        return count


async def _each(
    batches: AsyncIterator[list[Any]], read: Callable[[list[Any]], list[D]]
) -> AsyncIterator[D]:
    async for records in batches:
        for item in read(records):
            yield item


def _has_unfixed_text(statement: Any) -> bool:
    """Whether a caller's own expression has parameters, such as of IN, that are written out for each execution."""
    return any(
        isinstance(element, sa.BindParameter) and (element.expanding or element.literal_execute)
        for element in sa.sql.visitors.iterate(statement)
    )


