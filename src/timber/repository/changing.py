"""The writing verbs of a repository that change or delete every row that meets filters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa
from pydantic import BaseModel

from timber.database.statements import parameter
from timber.errors import ValidationError
from timber.features.feature import Write
from timber.repository.each import ChangingEach
from timber.repository.filters import Filters
from timber.repository.source import check_flag
from timber.repository.writing import soft_deletion

if TYPE_CHECKING:
    from collections.abc import Mapping

D = TypeVar("D", bound=BaseModel)


class Changing(ChangingEach[D]):
    """Changes many rows of one model at once."""

    async def update_where(
        self,
        changes: object,
        *filters: object,
        owner: str | None = None,
        include_deleted: bool = False,
        **equals: object,
    ) -> int:
        """Change columns of every row that meets the filters; the number of rows changed.

        Raises:
            ValidationError: no filter was given, or a name or value does not fit; nothing has been sent.
        """
        source = self.source
        row = self._rows.changes(changes)
        if not row:
            raise ValidationError.of("changes", "are empty")
        prepared = self._some(filters, equals, owner, include_deleted=include_deleted)
        write = Write("update", [row], None)
        needed = self._needed(row)
        if needed or not self.source.transformed.isdisjoint(row):
            return await self._update_each(prepared, row, sorted(needed))
        if self._features is not None:
            await self._features.before_update(write)
        self._rows.touch(row)
        names = tuple(row)

        def build(needs: tuple[str, ...]) -> Any:
            table = source.table
            values: dict[str, Any] = {
                name: parameter(f"v_{name}", table.c[name].type) for name in names
            }
            if source.config.versioned:
                values["version"] = table.c.version + sa.literal_column("1")
            statement = table.update().values(values).where(*prepared.build())
            return statement.returning(*self._columns(needs))

        values = {**prepared.values, **{f"v_{name}": value for name, value in row.items()}}
        return await self._send_counting(
            write,
            lambda needs: self._filtered(
                prepared, (names, needs), lambda: build(needs), "update_where"
            ),
            lambda statement: self._bind(statement, values, prefix="v_"),
        )

    async def delete_where(
        self,
        *filters: object,
        hard: bool = False,
        owner: str | None = None,
        **equals: object,
    ) -> int:
        """Delete every row that meets the filters; the number of rows deleted.

        Args:
            hard: also rows that are marked as deleted already, and all of them for good.

        Raises:
            ValidationError: no filter was given, or a name or value does not fit; nothing has been sent.
        """
        source = self.source
        soft = source.config.soft_delete and not check_flag("hard", hard)
        prepared = self._some(filters, equals, owner, include_deleted=not soft)

        def build(needs: tuple[str, ...]) -> Any:
            statement: Any = source.table.delete()
            if soft:
                statement = source.table.update().values(soft_deletion(source.table, source.config))
            return statement.where(*prepared.build()).returning(*self._columns(needs))

        values = {**prepared.values, "now": source.clock()}
        write = await self._prepared_deletion(values["now"] if soft else None, None)
        return await self._send_counting(
            write,
            lambda needs: self._filtered(
                prepared, (soft, needs), lambda: build(needs), "delete_where"
            ),
            lambda statement: statement.bind(values),
        )

    def _some(
        self,
        filters: tuple[object, ...],
        equals: Mapping[str, object],
        owner: str | None,
        *,
        include_deleted: bool,
    ) -> Filters:
        if not filters and not equals and owner is None:
            raise ValidationError.of(
                "filters", "none is given: say which rows, a condition that all meet if need be"
            )
        return self._filters(filters, equals, owner, include_deleted)
