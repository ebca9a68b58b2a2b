"""The reading verbs of a repository that give lists, pages and streams."""

from __future__ import annotations

import itertools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar, overload

import sqlalchemy as sa
from pydantic import BaseModel

from timber.database.statements import parameter
from timber.dto import CursorPage, Page
from timber.repository.cursors import (
    Direction,
    Order,
    OrderBy,
    check_limit,
    decode_cursor,
    encode_cursor,
)
from timber.repository.querying import MAX_LIMIT, MAX_PER_PAGE, Filters
from timber.repository.reading import Reading

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from timber.database.statements import Statement

D = TypeVar("D", bound=BaseModel)
E = TypeVar("E", bound=BaseModel)


class Listing(Reading[D]):
    """Lists rows of one model as DTOs."""

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
        return await self._load(dto, await self._select("find", dto, prepared, order, checked))

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
            items=await self._load(self.dto, rows), total=total, page=page, per_page=per_page
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
            items=await self._load(self.dto, rows),
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
            rows = _each(batches, lambda records: self._load(dto, records))
            try:
                yield rows
            finally:
                await rows.aclose()  # type: ignore[attr-defined]

    async def _scroll(
        self,
        filters: Filters,
        order: Order,
        limit: int,
        direction: Direction | None,
        marks: list[Any],
    ) -> list[Any]:
        def build() -> Statement:
            wanted = dict.fromkeys(self._plan(self.dto).columns)
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
                statement.limit(parameter("limit", sa.BigInteger)), "scroll"
            )

        statement = self._statement(
            ("scroll", filters.shape, order, direction), build, fixed=filters.fixed
        )
        values = {**filters.values, "limit": limit}
        values |= {f"m{index}": mark for index, mark in enumerate(marks)}
        return await self.db.fetch(statement, statement.bind(values))


async def _each(
    batches: AsyncIterator[list[Any]], load: Callable[[list[Any]], Awaitable[list[D]]]
) -> AsyncIterator[D]:
    async for records in batches:
        for item in await load(records):
            yield item
