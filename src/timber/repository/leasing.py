"""Work queues in a table: rows claimed for a time by one worker each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa
from pydantic import BaseModel

from timber.database.statements import parameter
from timber.errors import UsageError, ValidationError
from timber.repository.bulk import Bulk
from timber.repository.cursors import Order, OrderBy, check_limit
from timber.repository.querying import MAX_LIMIT

if TYPE_CHECKING:
    from datetime import timedelta

    from timber.database.statements import Statement

D = TypeVar("D", bound=BaseModel)

LEASE_COLUMN = "claimed_until"


class Leasing(Bulk[D]):
    """Claims rows for one worker each, for a time."""

    async def claim(
        self,
        *filters: object,
        limit: int,
        lease: timedelta,
        order_by: OrderBy = None,
        lease_column: str = LEASE_COLUMN,
        **equals: object,
    ) -> list[D]:
        """Take up to ``limit`` rows that meet the filters and that nobody holds; each goes to one claimer.

        A claim ends with :meth:`release`, or by itself after ``lease``, so that a worker that dies gives its rows back.
        """
        check_limit(limit, "limit", MAX_LIMIT)
        if lease.total_seconds() <= 0:
            raise ValidationError.of("lease", "is to be longer than no time")
        self._check_lease_column(lease_column)
        prepared = self._filters(filters, equals, None, include_deleted=False)
        order = Order.of(self.source, order_by)

        def build() -> Statement:
            table = self.source.table
            key = table.c[self.source.key]
            held = table.c[lease_column]
            moment = sa.DateTime(timezone=True)
            free = sa.or_(held.is_(None), held <= parameter("now", moment))
            # MATERIALIZED: the rows are picked once, whatever plan joins them.
            picked = (
                sa.select(key)
                .where(*prepared.build(), free)
                .order_by(*order.clauses(self.source))
                .limit(parameter("limit", sa.BigInteger))
                .with_for_update(skip_locked=True)
                .cte("picked")
                .prefix_with("MATERIALIZED")
            )
            statement = (
                table.update()
                .values({lease_column: parameter("until", moment)})
                .where(key.in_(sa.select(picked.c[self.source.key])))
                .returning(*self._returned())
            )
            return self._compile(statement, "claim")

        statement = self._statement(
            ("claim", lease_column, order, prepared.shape), build, fixed=prepared.fixed
        )
        now = self.source.clock()
        values = {**prepared.values, "now": now, "until": now + lease, "limit": limit}
        rows: list[Any] = await self.db.write(statement, statement.bind(values))
        return await self._load(self.dto, rows)

    async def release(self, id: object, *, lease_column: str = LEASE_COLUMN) -> bool:
        """End a claim; False if the row is gone."""
        self._check_lease_column(lease_column)
        key = self.source.check_key(id)

        def build() -> Statement:
            table = self.source.table
            statement = (
                table.update().values({lease_column: None}).where(*self._this_row(False, True))
            )
            return self._compile(statement, "release")

        statement = self._statement(("release", lease_column), build)
        return await self.db.execute(statement, statement.bind({"key": key})) > 0

    def _check_lease_column(self, name: str) -> None:
        if name not in self.source.config.column_names:
            raise UsageError(
                f"{self.source.name} has no column {name!r} to keep claims in: declare it as a hidden DateTime."
            )
