"""The verbs of a repository that give numbers instead of rows."""

from __future__ import annotations

from typing import Any, TypeVar

import sqlalchemy as sa
from pydantic import BaseModel

from timber.errors import ValidationError
from timber.models.column_types import ColumnType
from timber.repository.filters import Filters
from timber.repository.remembering import Remembering

D = TypeVar("D", bound=BaseModel)

_UNCOUNTED = frozenset({"JSON", "JSONB", "Array", "Vector"})
NUMBER = ("n", ColumnType("BigInteger"))


class Counting(Remembering[D]):
    """Counts rows of one model."""

    async def count(
        self,
        *filters: object,
        owner: str | None = None,
        include_deleted: bool = False,
        fresh: bool = False,
        **equals: object,
    ) -> int:
        """How many rows meet every filter."""
        prepared = self._filters(filters, equals, owner, include_deleted)
        return await self._count(prepared, fresh=fresh)

    async def count_by(
        self,
        column: str,
        *filters: object,
        owner: str | None = None,
        include_deleted: bool = False,
        fresh: bool = False,
        **equals: object,
    ) -> dict[Any, int]:
        """How many rows there are of each value of a column.

        Raises:
            ValidationError: the column is unknown, or holds JSON or a list.
        """
        counted = self.source.plain_column(column, "count rows", "column")
        if counted.type.kind in _UNCOUNTED:
            raise ValidationError.of(
                "column", f"{column!r} is {counted.type}; count by a plain value"
            )
        prepared = self._filters(filters, equals, owner, include_deleted)

        def build() -> Any:
            value = self.source.table.c[column]
            return (
                sa.select(value.label("value"), sa.func.count().label("n"))
                .where(*prepared.build())
                .group_by(value)
            )

        statement = self._filtered(prepared, column, build, "count_by")
        rows = await self._read_pairs(
            prepared,
            self._tags(prepared, (column,), fresh=fresh),
            (("value", counted.type), NUMBER),
            ("count_by", column),
            lambda: self.db.fetch(statement, statement.bind(prepared.values)),
        )
        return {row["value"]: row["n"] for row in rows}

    async def exists(
        self,
        *filters: object,
        owner: str | None = None,
        include_deleted: bool = False,
        fresh: bool = False,
        **equals: object,
    ) -> bool:
        """Whether any row meets every filter."""
        prepared = self._filters(filters, equals, owner, include_deleted)

        def build() -> Any:
            found: Any = sa.select(sa.literal_column("1")).select_from(self.source.table)
            return sa.select(sa.exists(found.where(*prepared.build())).label("found"))

        statement = self._filtered(prepared, None, build, "exists")

        async def fetch() -> bool:
            rows = await self.db.fetch(statement, statement.bind(prepared.values))
            return bool(rows[0]["found"])

        tags = self._tags(prepared, (), fresh=fresh)
        return await self._read_number(prepared, tags, ("exists",), fetch)

    async def _count(self, filters: Filters, *, fresh: bool) -> int:
        def build() -> Any:
            counted = sa.select(sa.func.count().label("n")).select_from(self.source.table)
            return counted.where(*filters.build())

        statement = self._filtered(filters, None, build, "count")

        async def fetch() -> int:
            rows = await self.db.fetch(statement, statement.bind(filters.values))
            count: int = rows[0]["n"]
            return count

        tags = self._tags(filters, (), fresh=fresh)
        return await self._read_number(filters, tags, ("count",), fetch)
