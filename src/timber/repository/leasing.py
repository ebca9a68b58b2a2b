"""Work queues in a table: rows claimed for a time by one worker each."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa
from pydantic import BaseModel

from timber.database.statements import parameter
from timber.errors import UsageError, ValidationError
from timber.features.feature import Write
from timber.repository.ordering import Order, OrderBy, check_limit
from timber.repository.querying import MAX_LIMIT
from timber.repository.sending import WRITTEN, Sending

if TYPE_CHECKING:
    from timber.database.statements import Statement

D = TypeVar("D", bound=BaseModel)

LEASE_COLUMN = "claimed_until"

_OLDEST_FIRST = ("created_at",)


class Leasing(Sending[D]):
    """Claims rows for one worker each, for a time."""

    async def claim(
        self,
        *filters: object,
        limit: int,
        lease: timedelta,
        order_by: OrderBy = None,
        owner: str | None = None,
        lease_column: str = LEASE_COLUMN,
        **equals: object,
    ) -> list[D]:
        """Take up to ``limit`` rows that meet the filters and that nobody holds; each goes to one claimer.

        A claim ends with :meth:`release`, or by itself after ``lease``, so that a worker that dies gives its rows back.

        Args:
            limit: 1 to 1000.
            order_by: which rows first; the oldest where nothing is said.
            lease_column: the DateTime column that the ends of claims are kept in.

        Raises:
            UsageError: the model has no such column.
            ValidationError: naming the argument that does not fit; nothing has been sent.
        """
        check_limit(limit, "limit", MAX_LIMIT)
        self._check_lease_column(lease_column)
        now = self.source.clock()
        until = _end_of(now, lease)
        prepared = self._filters(filters, equals, owner, include_deleted=False)
        order = Order.of(self.source, order_by, default=_OLDEST_FIRST)

        def build(needs: tuple[str, ...]) -> Any:
            table = self.source.table
            key = table.c[self.source.key]
            held = table.c[lease_column]
            moment = sa.DateTime(timezone=True)
            # MATERIALIZED: the rows are picked once, whatever plan joins them.
            picked = (
                sa.select(key)
                .where(*prepared.build(), sa.or_(held.is_(None), held <= parameter("now", moment)))
                .order_by(*order.clauses(self.source))
                .limit(parameter("limit", sa.BigInteger))
                .with_for_update(skip_locked=True)
                .cte("picked")
                .prefix_with("MATERIALIZED")
            )
            return (
                table.update()
                .values({lease_column: parameter("until", moment)})
                .where(key.in_(sa.select(picked.c[self.source.key])))
                .returning(*self._selected(self.dto, *order.names, *needs))
            )

        values = {**prepared.values, "now": now, "until": until, "limit": limit}
        records = await self._send(
            Write("update", [{lease_column: until}], None),
            lambda needs: self._filtered(
                prepared, (lease_column, order, needs), lambda: build(needs), "claim"
            ),
            lambda statement: statement.bind(values),
            tail=f" ORDER BY {order.text(WRITTEN)}",
        )
        return await self._load_written(records)

    async def release(
        self, id: object, *, owner: str | None = None, lease_column: str = LEASE_COLUMN
    ) -> bool:
        """End a claim; False if the row is gone."""
        self._check_lease_column(lease_column)
        values = self._this(self.source.check_key(id), owner)
        owned = owner is not None

        def statement(needs: tuple[str, ...]) -> Statement:
            def build() -> Statement:
                table = self.source.table
                released = table.update().values({lease_column: None})
                released = released.where(*self._this_row(owned, live=False))
                return self._compile(released.returning(*self._columns(needs)), "release")

            return self._statement(("release", lease_column, owned, needs), build)

        write = Write("update", [{lease_column: None}], [values["key"]])
        return await self._send_counting(write, statement, lambda made: made.bind(values)) > 0

    def _check_lease_column(self, name: str) -> None:
        if not isinstance(name, str):
            raise ValidationError.of("lease_column", "is to be the name of a column")
        column = self.source.columns.get(name)
        if column is None or column.type.kind != "DateTime" or not column.nullable:
            raise UsageError(
                f"{self.source.name} has no DateTime column {name!r} to keep claims in: declare one that is hidden and may be "
                "NULL."
            )


def _end_of(now: datetime, lease: object) -> datetime:
    if isinstance(lease, timedelta) and lease > timedelta():
        with suppress(OverflowError):
            return now + lease
    raise ValidationError.of("lease", "is to be a timedelta longer than no time")
