"""How many rows there are in each hour or day."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import sqlalchemy as sa
from pydantic import BaseModel

from timber.errors import ValidationError
from timber.models.column_types import ColumnType
from timber.repository.counting import NUMBER
from timber.repository.remembering import Remembering

if TYPE_CHECKING:
    from datetime import datetime

D = TypeVar("D", bound=BaseModel)

Unit = Literal["hour", "day"]
_UNITS: Final = ("hour", "day")


class Timelines(Remembering[D]):
    """Counts rows along the time."""

    async def count_by_time(
        self,
        column: str,
        unit: Unit,
        *filters: object,
        owner: str | None = None,
        include_deleted: bool = False,
        fresh: bool = False,
        **equals: object,
    ) -> dict[datetime, int]:
        """How many rows there are in each hour or day of UTC, by its beginning, in order; those without any are left out.

        Args:
            column: a time of the rows; rows where it is NULL are not counted.
        """
        if self.source.plain_column(column, "count rows", "column").type.kind != "DateTime":
            raise ValidationError.of(
                "column", f"{column!r} is no DateTime: it has no hours and days"
            )
        if unit not in _UNITS:
            raise ValidationError.of("unit", f"is not one of {', '.join(_UNITS)}")
        prepared = self._filters(filters, equals, owner, include_deleted)

        def build() -> Any:
            time = self.source.table.c[column]
            utc: Any = sa.literal_column("'UTC'")
            start = sa.func.date_trunc(sa.literal_column(f"'{unit}'"), time, utc).label("start")
            return (
                sa.select(start, sa.func.count().label("n"))
                .where(*prepared.build(), time.is_not(None))
                .group_by(start)
                .order_by(start)
            )

        statement = self._filtered(prepared, (column, unit), build, "count_by_time")
        rows = await self._read_pairs(
            prepared,
            self._tags(prepared, (column,), fresh=fresh),
            (("start", ColumnType("DateTime")), NUMBER),
            ("count_by_time", column, unit),
            lambda: self.db.fetch(statement, statement.bind(prepared.values)),
        )
        return {row["start"]: row["n"] for row in rows}
