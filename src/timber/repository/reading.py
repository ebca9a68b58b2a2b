"""The reading verbs of a repository: one row, many by key, and how many there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

import sqlalchemy as sa
from pydantic import BaseModel

from timber.errors import NotFoundError, UsageError
from timber.repository.conditions import Comparison
from timber.repository.querying import Filters, Querying

if TYPE_CHECKING:
    from collections.abc import Iterable

    from timber.database.statements import Statement

D = TypeVar("D", bound=BaseModel)
E = TypeVar("E", bound=BaseModel)


class Reading(Querying[D]):
    """Reads rows of one model as DTOs."""

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
        return (await self._load(self.dto, rows))[0]

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
        return await self._load(self.dto, rows)

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

        statement = self._statement(
            ("count_by", column, prepared.shape), build, fixed=prepared.fixed
        )
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

        statement = self._statement(("exists", prepared.shape), build, fixed=prepared.fixed)
        rows = await self.db.fetch(statement, statement.bind(prepared.values))
        return bool(rows[0]["found"])

    # Inside

    def _require_unit_of_work(self, what: str) -> None:
        if self.db.current() is None:
            raise UsageError(
                f"{what} locks rows until the end of the transaction: call it inside `async with timber.unit_of_work():`."
            )

    async def _count(self, filters: Filters) -> int:
        def build() -> Statement:
            counted = sa.select(sa.func.count().label("n")).select_from(self.source.table)
            return self._compile(counted.where(*filters.build()), "count")

        statement = self._statement(("count", filters.shape), build, fixed=filters.fixed)
        rows = await self.db.fetch(statement, statement.bind(filters.values))
        count: int = rows[0]["n"]
        return count
