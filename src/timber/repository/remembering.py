"""Reading through a cache: rows by their keys, and the answers to questions that hang on one of the model's tags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import UUID

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.dialects.postgresql import ARRAY

from timber.database.statements import parameter
from timber.repository.copies import Copies
from timber.repository.querying import Querying
from timber.repository.source import check_flag

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from timber.cache.cached_model import Columns
    from timber.database.statements import Statement
    from timber.repository.filters import Filters

D = TypeVar("D", bound=BaseModel)
E = TypeVar("E", bound=BaseModel)
T = TypeVar("T")

NOT_THERE: Final[Any] = object()
"""What :meth:`Remembering._recalled` gives where memory has no answer: None is one."""


class Remembering(Querying[D]):
    """Reads what may have been read before. Inside a unit of work nothing does."""

    _copies: dict[type[BaseModel], Copies[Any] | None]
    _has_uuid_keys: bool

    def _copies_of(self, dto: type[E]) -> Copies[E] | None:
        """How a DTO is made of copies of rows; None where rows are not cached, or it reads what copies do not have."""
        found: Copies[E] | None = self._copies.get(dto, NOT_THERE)
        if found is not NOT_THERE:
            return found
        cache, plan = self._cache, self._plan(dto)
        made: Copies[E] | None = None
        if cache is not None and cache.model.rows and set(plan.columns) <= set(cache.codec.names):
            made = Copies(self.source, plan, cache)
        self._copies[dto] = made
        return made

    # Rows

    def _recalled(self, id: object, owner: object, dto: type[E], *, live: bool) -> Any:
        """The row as this process remembers it, or ``NOT_THERE``; nothing is awaited."""
        cache = self._cache
        if cache is None or self.db.current() is not None:
            return NOT_THERE
        copies = self._copies_of(dto)
        if copies is None or not copies.is_plain:
            return NOT_THERE
        key = id if type(id) is UUID and self._has_uuid_keys else self.source.check_key(id)
        found = cache.peek(key)
        if found is None:
            return NOT_THERE
        return copies.read(found) if found and copies.shown(found, owner, live=live) else None

    async def _read_row(
        self, id: object, owner: str | None, dto: type[E], *, live: bool
    ) -> E | None:
        """The row with this key, through the cache."""
        copies = self._copies_of(dto)
        if copies is None or self._cache is None or self.db.current() is not None:
            return await self._get(id, owner, dto, live=live)
        key = self.source.check_key(id)
        found = await self._cache.row(key, lambda: self._read_copy(key))
        if found is None or not copies.shown(found, owner, live=live):
            return None
        if copies.is_plain:
            return copies.read(found)
        return (await self._load(dto, [copies.record(found)]))[0]

    async def _read_rows(
        self, keys: Sequence[Any], owner: str | None, copies: Copies[E], dto: type[E], *, live: bool
    ) -> list[E]:
        """The rows with these keys that there are, in their order, through the cache."""
        assert self._cache is not None
        found = await self._cache.rows(keys, self._read_copies)
        known = (found[key] for key in keys if key in found)
        rows = [row for row in known if copies.shown(row, owner, live=live)]
        if copies.is_plain:
            return [copies.read(row) for row in rows]
        return await self._load(dto, [copies.record(row) for row in rows])

    async def _read_copy(self, key: Any) -> Any:
        rows = await self.db.fetch(self._selecting_copies(many=False), [key])
        return rows[0] if rows else None

    async def _read_copies(self, keys: list[Any]) -> list[Any]:
        statement = self._selecting_copies(many=True)
        return await self.db.fetch(statement, statement.bind({"keys": keys}))

    def _selecting_copies(self, *, many: bool) -> Statement:
        """Rows with all that copies have, whoever's they are, deleted ones too."""

        def build() -> Statement:
            assert self._cache is not None
            key = self.source.table.c[self.source.key]
            these: Any = (
                key == sa.any_(parameter("keys", ARRAY(key.type)))
                if many
                else key == parameter("key", key.type)
            )
            statement = sa.select(*self._columns(self._cache.codec.names)).where(these)
            return self._compile(statement, "copy")

        return self._statement(("copy", many), build)

    # Questions

    def _tags(self, filters: Filters, columns: Iterable[str], *, fresh: bool) -> tuple[str, ...]:
        """What the answer to a question hangs on; empty where it is not to be remembered.

        Args:
            columns: what it selects and orders by.
        """
        cache = self._cache
        if (
            check_flag("fresh", fresh)
            or cache is None
            or not cache.model.lists
            or not filters.fixed
        ):
            return ()
        equals = filters.equal_to(cache.model.lists)
        if not equals or self.db.current() is not None:
            return ()
        looked_at = filters.fields()
        if not self.source.transformed.isdisjoint(looked_at):
            return ()  # by digests of the values, which are not to be told apart from outside
        watched = cache.model.watched
        if not (watched.issuperset(looked_at) and watched.issuperset(columns)):
            return ()  # a change of the others clears nothing
        return cache.tags_for(equals)

    async def _read_list(
        self,
        filters: Filters,
        tags: Sequence[str],
        columns: tuple[str, ...],
        question: tuple[object, ...],
        fetch: Callable[[], Awaitable[list[Any]]],
    ) -> list[Any]:
        """Records with these columns, through the cache."""
        cache = self._cache
        if cache is None or not tags:
            return await fetch()
        known = cache.columns_of(columns)
        if known is None:
            return await fetch()
        return await cache.list_of(known, _whole(question, filters), tags, fetch)

    async def _read_pairs(
        self,
        filters: Filters,
        tags: Sequence[str],
        columns: Columns,
        question: tuple[object, ...],
        fetch: Callable[[], Awaitable[list[Any]]],
    ) -> list[Any]:
        """Records of values and numbers, through the cache."""
        if self._cache is None or not tags:
            return await fetch()
        return await self._cache.list_of(columns, _whole(question, filters), tags, fetch)

    async def _read_number(
        self,
        filters: Filters,
        tags: Sequence[str],
        question: tuple[object, ...],
        fetch: Callable[[], Awaitable[T]],
    ) -> T:
        """A number, or whether there is a row, through the cache."""
        if self._cache is None or not tags:
            return await fetch()
        number: T = await self._cache.json(_whole(question, filters), tags, fetch)
        return number


def _whole(question: tuple[object, ...], filters: Filters) -> tuple[object, ...]:
    """What tells a question from every other."""
    return (*question, filters.shape, filters.values)
