"""The reading verbs of a repository that go by the key of a row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, overload

from pydantic import BaseModel

from timber.errors import UsageError
from timber.repository.comparing import Comparison
from timber.repository.filters import Filters
from timber.repository.remembering import NOT_THERE, Remembering
from timber.repository.source import check_flag, listed

D = TypeVar("D", bound=BaseModel)
E = TypeVar("E", bound=BaseModel)


class Reading(Remembering[D]):
    """Reads rows of one model by their keys."""

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

        Args:
            owner: whose row it has to be.
            into: another DTO; only its columns are read.

        Raises:
            NotFoundError: there is none, or it is another owner's.
            ValidationError: the key is malformed.
        """
        found = await self.get_or_none(
            id, owner=owner, include_deleted=include_deleted, into=into, fresh=fresh
        )
        if found is None:
            raise self._not_found()
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
        dto = self._dto_of(into)
        live = self.source.hides_deleted(include_deleted)
        if fresh is not False and check_flag("fresh", fresh):
            return await self._get(id, owner, dto, live=live)
        found = self._recalled(id, owner, dto, live=live)
        return found if found is not NOT_THERE else await self._read_row(id, owner, dto, live=live)

    @overload
    async def get_many(
        self,
        ids: Iterable[object],
        *,
        owner: str | None = None,
        include_deleted: bool = False,
        into: None = None,
        fresh: bool = False,
    ) -> list[D]: ...
    @overload
    async def get_many(
        self,
        ids: Iterable[object],
        *,
        owner: str | None = None,
        include_deleted: bool = False,
        into: type[E],
        fresh: bool = False,
    ) -> list[E]: ...
    async def get_many(
        self,
        ids: Iterable[object],
        *,
        owner: str | None = None,
        include_deleted: bool = False,
        into: type[Any] | None = None,
        fresh: bool = False,
    ) -> Any:
        """The rows with these keys, each once, in the order of the keys; missing ones are left out."""
        chosen = listed(ids.keys() if isinstance(ids, Mapping) else ids, "ids")
        keys = list(dict.fromkeys(self.source.check_key(each) for each in chosen))
        dto = self._dto_of(into)
        fresh = check_flag("fresh", fresh)
        copies = None if fresh or self.db.current() is not None else self._copies_of(dto)
        if copies is None:
            return await self._get_many(keys, owner, dto, include_deleted=include_deleted)
        live = self.source.hides_deleted(include_deleted)
        return await self._read_rows(keys, owner, copies, dto, live=live)

    async def for_update(
        self, id: object, *, owner: str | None = None, include_deleted: bool = False
    ) -> D:
        """The row with this key, locked until the unit of work ends.

        Raises:
            NotFoundError: there is none, or it is another owner's.
            UsageError: outside a unit of work a lock would end with the statement.
        """
        if self.db.current() is None:
            raise UsageError(
                "for_update() locks the row until the end of the transaction: call it inside `async with "
                "timber.unit_of_work():`."
            )
        live = self.source.hides_deleted(include_deleted)
        found = await self._get(id, owner, self.dto, live=live, lock=True)
        if found is None:
            raise self._not_found()
        return found

    async def _get_many(
        self, keys: list[Any], owner: str | None, dto: type[E], *, include_deleted: bool
    ) -> list[E]:
        key = self.source.key
        filters = Filters(
            self.source,
            (Comparison(key, "in", keys),),
            owner=owner,
            include_deleted=include_deleted,
        )
        if not keys:
            return []
        statement = self._selecting("get_many", dto, filters, None, more=(key,))
        rows = await self.db.fetch(statement, statement.bind(filters.values))
        found = {row[key]: row for row in rows}
        return await self._load(dto, [found[key] for key in keys if key in found])
