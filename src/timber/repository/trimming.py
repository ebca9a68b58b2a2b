"""Deleting what has had its day, a bounded number of rows at a time."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import sqlalchemy as sa
from pydantic import BaseModel

from timber.database.statements import parameter
from timber.errors import ValidationError
from timber.repository.filters import Filters
from timber.repository.ordering import check_limit
from timber.repository.sending import Sending

D = TypeVar("D", bound=BaseModel)

MAX_BATCH: Final = 10_000


class Trimming(Sending[D]):
    """Deletes rows in batches."""

    async def trim(self, *filters: object, limit: int = 1000, **equals: object) -> int:
        """Delete for good up to ``limit`` rows that meet the filters, and are not locked by somebody; how many they were.

        Soft-deleted rows are among them. Called until it gives less than ``limit``, it deletes them all in transactions that
        hold few locks and end soon.

        Raises:
            ValidationError: no filter was given.
        """
        if not filters and not equals:
            raise ValidationError.of("filters", "none is given: say which rows")
        check_limit(limit, "limit", MAX_BATCH)
        prepared = Filters(self.source, filters, equals)

        def build(needs: tuple[str, ...]) -> Any:
            table = self.source.table
            key = table.c[self.source.key]
            picked = (
                sa.select(key)
                .where(*prepared.build())
                .limit(parameter("limit", sa.BigInteger()))
                .with_for_update(skip_locked=True)
                .cte("picked")
                .prefix_with("MATERIALIZED")
            )
            trimmed = table.delete().where(key.in_(sa.select(picked.c[key.name])))
            return trimmed.returning(*self._columns(needs))

        values = {**prepared.values, "limit": limit}
        write = await self._prepared_deletion(None, None)
        return await self._send_counting(
            write,
            lambda needs: self._filtered(prepared, needs, lambda: build(needs), "trim"),
            lambda statement: statement.bind(values),
        )
