"""Rows as JSON lines, any number of them, read page by page: no connection is held while a client takes its time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

from timber.dto import CursorPage
from timber.repository import Repository
from timber.repository.ordering import OrderBy

MEDIA_TYPE: Final = "application/jsonl"


class JSONLines:
    """The rows of a repository that meet every filter, a JSON document a line.

    Each page is a read of its own behind the last row of the one before, not a cursor of the server: what is
    changed meanwhile may be seen or not, but no row comes twice and none that stays is passed over.

    Args:
        batch: rows read at once, 1 to 1000.
        options: what :meth:`Repository.scroll` takes: filters, ``order_by``, ``owner``, and columns with their values.
    """

    def __init__(
        self,
        repository: Repository[Any],
        *filters: object,
        batch: int = 200,
        order_by: OrderBy = None,
        owner: str | None = None,
        **equals: Any,
    ) -> None:
        self._repository = repository
        self._filters = filters
        self._batch = batch
        self._order_by = order_by
        self._owner = owner
        self._equals = equals
        self._first: CursorPage[Any] | None = None

    async def begin(self) -> AsyncIterator[bytes]:
        """Read the first page, so that what is wrong with the request can still be answered with a status.

        Raises:
            ValidationError: a filter or the order does not fit.
        """
        return self._chunks(await self._page(None))

    async def _chunks(self, page: CursorPage[Any]) -> AsyncIterator[bytes]:
        while True:
            if page.items:
                yield b"".join(row.model_dump_json().encode() + b"\n" for row in page.items)
            if page.next_cursor is None:
                return
            page = await self._page(page.next_cursor)

    async def _page(self, cursor: str | None) -> CursorPage[Any]:
        return await self._repository.scroll(
            *self._filters,
            cursor=cursor,
            limit=self._batch,
            order_by=self._order_by,
            owner=self._owner,
            **self._equals,
        )
