"""The reading verbs of a repository that give lists and numbered pages."""

from __future__ import annotations

from typing import Any, TypeVar, overload

from pydantic import BaseModel

from timber.dto import Page
from timber.repository.counting import Counting
from timber.repository.filters import Filters
from timber.repository.ordering import Order, OrderBy, check_limit
from timber.repository.querying import MAX_LIMIT, MAX_PER_PAGE
from timber.repository.reading import Reading

D = TypeVar("D", bound=BaseModel)
E = TypeVar("E", bound=BaseModel)

_LAST_PAGE = 10_000_000


class Listing(Reading[D], Counting[D]):
    """Lists rows of one model."""

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
            owner: whose rows alone.
            into: another DTO; only its columns are read.
            equals: columns and the values they are to have; None asks for NULL. A column that is called like an argument
                goes through ``repository.where``.

        Raises:
            ValidationError: naming the filter, order or limit that does not fit; nothing has been sent.
        """
        checked = check_limit(limit, "limit", MAX_LIMIT)
        order = Order.of(self.source, order_by)
        prepared = self._filters(filters, equals, owner, include_deleted)
        return await self._find("find", self._dto_of(into), prepared, order, checked, fresh=fresh)

    @overload
    async def find_one(
        self,
        *filters: object,
        order_by: OrderBy = None,
        owner: str | None = None,
        include_deleted: bool = False,
        into: None = None,
        fresh: bool = False,
        **equals: object,
    ) -> D | None: ...
    @overload
    async def find_one(
        self,
        *filters: object,
        order_by: OrderBy = None,
        owner: str | None = None,
        include_deleted: bool = False,
        into: type[E],
        fresh: bool = False,
        **equals: object,
    ) -> E | None: ...
    async def find_one(
        self,
        *filters: object,
        order_by: OrderBy = None,
        owner: str | None = None,
        include_deleted: bool = False,
        into: type[Any] | None = None,
        fresh: bool = False,
        **equals: object,
    ) -> Any:
        """The first row that meets every filter, None if there is none."""
        order = Order.of(self.source, order_by)
        prepared = self._filters(filters, equals, owner, include_deleted)
        found = await self._find("find_one", self._dto_of(into), prepared, order, 1, fresh=fresh)
        return found[0] if found else None

    @overload
    async def page(
        self,
        *filters: object,
        page: int = 1,
        per_page: int = 20,
        order_by: OrderBy = None,
        owner: str | None = None,
        include_deleted: bool = False,
        into: None = None,
        fresh: bool = False,
        **equals: object,
    ) -> Page[D]: ...
    @overload
    async def page(
        self,
        *filters: object,
        page: int = 1,
        per_page: int = 20,
        order_by: OrderBy = None,
        owner: str | None = None,
        include_deleted: bool = False,
        into: type[E],
        fresh: bool = False,
        **equals: object,
    ) -> Page[E]: ...
    async def page(
        self,
        *filters: object,
        page: int = 1,
        per_page: int = 20,
        order_by: OrderBy = None,
        owner: str | None = None,
        include_deleted: bool = False,
        into: type[Any] | None = None,
        fresh: bool = False,
        **equals: object,
    ) -> Any:
        """One numbered page and the number of all rows; deep pages are slow, :meth:`scroll` is not.

        Args:
            page: 1 or more; behind the last one there is nothing.
            per_page: 1 to 200.

        Raises:
            ValidationError: naming the filter, order or number that does not fit; nothing has been sent.
        """
        check_limit(page, "page", _LAST_PAGE)
        check_limit(per_page, "per_page", MAX_PER_PAGE)
        order = Order.of(self.source, order_by)
        prepared = self._filters(filters, equals, owner, include_deleted)
        dto = self._dto_of(into)
        total = await self._count(prepared, fresh=fresh)
        offset = (page - 1) * per_page
        items: list[Any] = []
        if offset < total:
            items = await self._find(
                "page", dto, prepared, order, per_page, offset=offset, fresh=fresh
            )
        return Page.model_construct(items=items, total=total, page=page, per_page=per_page)

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
        statement = self._selecting(
            verb, dto, filters, order, limited=True, skipped=offset is not None
        )
        values = {**filters.values, "limit": limit, "offset": offset}
        columns = self._plan(dto).columns
        rows = await self._read_list(
            filters,
            self._tags(filters, (*columns, *order.names), fresh=fresh),
            columns,
            ("rows", order, limit, offset),
            lambda: self.db.fetch(statement, statement.bind(values)),
        )
        return await self._load(dto, rows)
