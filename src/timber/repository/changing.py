"""The writing verbs of a repository that change or delete every row that meets filters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa
from pydantic import BaseModel

from timber.database.statements import parameter
from timber.errors import ValidationError
from timber.repository.filters import Filters
from timber.repository.querying import Querying
from timber.repository.writing import soft_deletion

if TYPE_CHECKING:
    from collections.abc import Mapping

D = TypeVar("D", bound=BaseModel)


class Changing(Querying[D]):
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
        self._rows.touch(row)
        names = tuple(row)

        def build() -> Any:
            table = source.table
            values: dict[str, Any] = {
                name: parameter(f"v_{name}", table.c[name].type) for name in names
            }
            if source.config.versioned:
                values["version"] = table.c.version + sa.literal_column("1")
            return table.update().values(values).where(*prepared.build())

        statement = self._filtered(prepared, names, build, "update_where")
        values = {**prepared.values, **{f"v_{name}": value for name, value in row.items()}}
        return await self.db.execute(statement, self._bind(statement, values, prefix="v_"))

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
        soft = source.config.soft_delete and not hard
        prepared = self._some(filters, equals, owner, include_deleted=not soft)

        def build() -> Any:
            statement: Any = source.table.delete()
            if soft:
                statement = source.table.update().values(soft_deletion(source.table, source.config))
            return statement.where(*prepared.build())

        statement = self._filtered(prepared, soft, build, "delete_where")
        values = {**prepared.values, "now": source.clock()}
        return await self.db.execute(statement, statement.bind(values))

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
