"""Any number of rows in bounded memory, by a cursor on the server."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Any, TypeVar, overload

from pydantic import BaseModel

from timber.repository.filters import Filters
from timber.repository.ordering import Order, OrderBy, check_limit
from timber.repository.querying import Querying

D = TypeVar("D", bound=BaseModel)
E = TypeVar("E", bound=BaseModel)

_LARGEST_BATCH = 100_000


class Streaming(Querying[D]):
    """Goes through all rows of one model."""

    @overload
    def stream(
        self,
        *filters: object,
        batch: int = 1000,
        order_by: OrderBy = None,
        owner: str | None = None,
        include_deleted: bool = False,
        into: None = None,
        **equals: object,
    ) -> AbstractAsyncContextManager[AsyncIterator[D]]: ...
    @overload
    def stream(
        self,
        *filters: object,
        batch: int = 1000,
        order_by: OrderBy = None,
        owner: str | None = None,
        include_deleted: bool = False,
        into: type[E],
        **equals: object,
    ) -> AbstractAsyncContextManager[AsyncIterator[E]]: ...
    def stream(
        self,
        *filters: object,
        batch: int = 1000,
        order_by: OrderBy = None,
        owner: str | None = None,
        include_deleted: bool = False,
        into: type[Any] | None = None,
        **equals: object,
    ) -> Any:
        """All rows that meet the filters: ``async with repository.stream(...) as rows: async for row in rows:``.

        Outside a unit of work it holds a connection of its own until the block ends, and sees the rows as they were when
        it began; inside one it reads on the connection of that, between its other statements.

        Args:
            batch: how many rows are fetched, and held, at a time; 1 to 100,000.
            order_by: names of columns, ``-`` for descending; in no order where nothing is said.

        Raises:
            ValidationError: naming the filter, order or number that does not fit; nothing has been sent.
        """
        check_limit(batch, "batch", _LARGEST_BATCH)
        prepared = self._filters(filters, equals, owner, include_deleted)
        order = None if order_by is None else Order.of(self.source, order_by)
        return self._stream(self._dto_of(into), prepared, order, batch)

    @asynccontextmanager
    async def _stream(
        self, dto: type[E], filters: Filters, order: Order | None, batch: int
    ) -> AsyncGenerator[AsyncIterator[E]]:
        statement = self._selecting("stream", dto, filters, order)
        args = statement.bind(filters.values)
        async with (
            self.db.cursor(statement, args, batch=batch) as batches,
            aclosing(_each(batches, lambda rows: self._load(dto, rows))) as rows,
        ):
            yield rows


async def _each(
    batches: AsyncIterator[list[Any]], load: Callable[[list[Any]], Awaitable[list[E]]]
) -> AsyncGenerator[E]:
    async for rows in batches:
        for item in await load(rows):
            yield item
