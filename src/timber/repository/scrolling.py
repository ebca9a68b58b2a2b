"""Keyset pagination: a list read on from where one stands in it, as fast at its end as at its beginning."""

from __future__ import annotations

import itertools
from typing import Any, TypeVar, overload

import sqlalchemy as sa
from pydantic import BaseModel

from timber.database.statements import parameter
from timber.dto import CursorPage
from timber.repository.cursors import Mark, beyond, check_for_cursor, decode_cursor, page_cursors
from timber.repository.filters import Filters
from timber.repository.ordering import Order, OrderBy, check_limit
from timber.repository.querying import MAX_LIMIT
from timber.repository.remembering import Remembering

D = TypeVar("D", bound=BaseModel)
E = TypeVar("E", bound=BaseModel)


class Scrolling(Remembering[D]):
    """Goes through lists of one model's rows by cursors."""

    @overload
    async def scroll(
        self,
        *filters: object,
        cursor: str | None = None,
        limit: int = 100,
        order_by: OrderBy = None,
        owner: str | None = None,
        include_deleted: bool = False,
        into: None = None,
        fresh: bool = False,
        **equals: object,
    ) -> CursorPage[D]: ...
    @overload
    async def scroll(
        self,
        *filters: object,
        cursor: str | None = None,
        limit: int = 100,
        order_by: OrderBy = None,
        owner: str | None = None,
        include_deleted: bool = False,
        into: type[E],
        fresh: bool = False,
        **equals: object,
    ) -> CursorPage[E]: ...
    async def scroll(
        self,
        *filters: object,
        cursor: str | None = None,
        limit: int = 100,
        order_by: OrderBy = None,
        owner: str | None = None,
        include_deleted: bool = False,
        into: type[Any] | None = None,
        fresh: bool = False,
        **equals: object,
    ) -> Any:
        """The rows behind a cursor; without one, the first rows.

        Rows that were inserted or deleted meanwhile neither repeat nor hide others.

        Args:
            cursor: ``next_cursor`` or ``previous_cursor`` of a page in the same order.
            limit: 1 to 1000.

        Raises:
            ValidationError: the cursor is damaged or belongs to another list, or a column of the order may be NULL.
        """
        check_limit(limit, "limit", MAX_LIMIT)
        order = Order.of(self.source, order_by)
        check_for_cursor(self.source, order)
        mark = None if cursor is None else decode_cursor(self.source, order, cursor)
        prepared = self._filters(filters, equals, owner, include_deleted)
        dto = self._dto_of(into)
        rows = await self._scroll(dto, prepared, order, limit + 1, mark, fresh=fresh)
        more, rows = len(rows) > limit, rows[:limit]
        if mark is not None and mark.direction == "previous":
            rows.reverse()
        ahead, behind = page_cursors(self.source, order, mark, rows, more=more)
        items = await self._load(dto, rows)
        return CursorPage.model_construct(items=items, next_cursor=ahead, previous_cursor=behind)

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
        columns = tuple(dict.fromkeys((*self._plan(dto).columns, *order.names)))

        def build() -> Any:
            statement = sa.select(*self._selected(dto, *order.names)).where(*filters.build())
            if mark is not None:
                numbers = itertools.count()
                statement = statement.where(
                    beyond(self.source, order, mark, lambda: f"m{next(numbers)}")
                )
            backwards = mark is not None and mark.direction == "previous"
            return statement.order_by(*order.clauses(self.source, backwards=backwards)).limit(
                parameter("limit", sa.BigInteger)
            )

        way = None if mark is None else (mark.direction, mark.inclusive)
        statement = self._filtered(filters, (dto, order, way), build, "scroll")
        values = {**filters.values, "limit": limit}
        for index, value in enumerate(mark.values if mark is not None else ()):
            values[f"m{index}"] = value
        return await self._read_list(
            filters,
            self._tags(filters, columns, fresh=fresh),
            columns,
            ("scroll", order, limit, mark),
            lambda: self.db.fetch(statement, statement.bind(values)),
        )
