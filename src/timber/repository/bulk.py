"""The writing verbs of a repository that touch many rows in one statement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.dialects.postgresql import ARRAY

from timber.database.statements import parameter
from timber.dto import encode_json
from timber.errors import ValidationError
from timber.repository.writing import Writing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from timber.database.outcome import Check, Fetch, Verdict
    from timber.database.statements import Statement
    from timber.repository.querying import Filters
    from timber.repository.source import Row

D = TypeVar("D", bound=BaseModel)

_VALUES_ROWS = 100  # rows of one VALUES list, where arrays of columns cannot be used


class Bulk(Writing[D]):
    """Writes many rows of one model at once."""

    async def insert_many(self, items: Iterable[object]) -> list[Any]:
        """Store many rows by COPY and give their keys in order: all of them or none.

        Raises:
            ValidationError: naming each position and field that does not fit; nothing has been sent.
        """
        rows = self.source.new_rows(items)
        if not rows:
            return []
        names = self.source.names_of(rows)
        table = self.source.table
        await self.db.copy(
            table.name,
            names,
            self._records(rows, names),
            check=self._check_inserted_all(rows[0], len(rows)),
        )
        key = self.source.key
        return [row[key] for row in rows]

    async def insert_many_returning(self, items: Iterable[object]) -> list[D]:
        """Store many rows in one statement and give them as stored, in order."""
        rows = self.source.new_rows(items)
        if not rows:
            return []
        names = self.source.names_of(rows)
        if any(self.source.column(name).type.kind in ("Array", "Vector") for name in names):
            records = await self._insert_lists(rows, names)
        else:
            statement = self._inserting_arrays(names)
            values = {name: [row.get(name) for row in rows] for name in names}
            records = await self.db.write(statement, self._bind(statement, values))
        key = self.source.key
        position = {row[key]: index for index, row in enumerate(rows)}
        records = sorted(records, key=lambda record: position[record[key]])
        return await self._load(self.dto, records)

    async def update_where(
        self, changes: object, *filters: object, owner: str | None = None, **equals: object
    ) -> int:
        """Change columns of every row that meets the filters; the number of rows changed.

        Raises:
            ValidationError: no filter was given.
        """
        source = self.source
        row = source.changes(changes)
        if not row:
            raise ValidationError.of("changes", "are empty")
        prepared = self._some_filters(filters, equals, owner)
        source.touch(row)
        names = tuple(row)

        def build() -> Statement:
            table = source.table
            values: dict[str, Any] = {
                name: parameter(f"v_{name}", table.c[name].type) for name in names
            }
            if source.config.versioned:
                values["version"] = table.c.version + sa.literal_column("1")
            return self._compile(
                table.update().values(values).where(*prepared.build()), "update_where"
            )

        statement = self._statement(
            ("update_where", names, prepared.shape), build, fixed=prepared.fixed
        )
        values = {**prepared.values, **{f"v_{name}": value for name, value in row.items()}}
        return await self.db.execute(statement, self._bind(statement, values, prefix="v_"))

    async def delete_where(
        self, *filters: object, hard: bool = False, owner: str | None = None, **equals: object
    ) -> int:
        """Delete every row that meets the filters; the number of rows deleted.

        Raises:
            ValidationError: no filter was given.
        """
        source = self.source
        soft = source.config.soft_delete and not hard
        prepared = self._some_filters(filters, equals, owner, include_deleted=not soft)

        def build() -> Statement:
            statement: Any = source.table.delete()
            if soft:
                values: dict[str, Any] = {
                    "deleted_at": parameter("now", sa.DateTime(timezone=True))
                }
                if source.config.timestamps:
                    values["updated_at"] = values["deleted_at"]
                if source.config.versioned:
                    values["version"] = source.table.c.version + sa.literal_column("1")
                statement = source.table.update().values(values)
            return self._compile(statement.where(*prepared.build()), "delete_where")

        statement = self._statement(
            ("delete_where", soft, prepared.shape), build, fixed=prepared.fixed
        )
        values = {**prepared.values, "now": source.clock()}
        return await self.db.execute(statement, statement.bind(values))

    # Inside

    def _some_filters(
        self,
        filters: tuple[object, ...],
        equals: dict[str, object],
        owner: str | None,
        include_deleted: bool = False,
    ) -> Filters:
        if not filters and not equals and owner is None:
            raise ValidationError.of(
                "filters", "none is given: say which rows, a condition that all meet if need be"
            )
        return self._filters(filters, equals, owner, include_deleted)

    def _records(self, rows: list[Row], names: tuple[str, ...]) -> list[tuple[Any, ...]]:
        """Rows as COPY takes them: JSON as text, vectors as pgvector's."""
        columns = [
            [row.get(name) for row in rows]
            if (encode := self._copy_encoder(name)) is None
            else [None if (v := row.get(name)) is None else encode(v, name) for row in rows]
            for name in names
        ]
        return list(zip(*columns, strict=True))

    def _copy_encoder(self, name: str) -> Any:
        column = self.source.column(name)
        if column.is_json:
            return encode_json
        if column.type.kind == "Vector":
            return lambda value, _name: value
        return None

    def _check_inserted_all(self, first: Row, number: int) -> Check:
        """Whether a lone COPY is there: it is one statement, so that the first row tells for all."""
        check_first = self._check_inserted(first)

        async def check(fetch: Fetch) -> Verdict:
            verdict, _ = await check_first(fetch)
            return verdict, [number]

        return check

    async def _insert_lists(self, rows: list[Row], names: tuple[str, ...]) -> list[Any]:
        """Rows with array columns, which unnest() would take apart: as lists of VALUES in one transaction."""
        records: list[Any] = []
        async with self.db.join_or_begin():
            for start in range(0, len(rows), _VALUES_ROWS):
                part = rows[start : start + _VALUES_ROWS]
                statement = self._inserting_values(names, len(part))
                values = {
                    f"{name}_{index}": row.get(name)
                    for index, row in enumerate(part)
                    for name in names
                }
                records += await self.db.write(statement, self._bind(statement, values))
        return records

    def _inserting_arrays(self, names: tuple[str, ...]) -> Statement:
        def build() -> Statement:
            table = self.source.table
            arrays = [parameter(name, ARRAY(table.c[name].type)) for name in names]
            columns = [sa.column(name, table.c[name].type) for name in names]
            rows = sa.func.unnest(*arrays).table_valued(*columns).render_derived(name="rows")
            statement = (
                table.insert()
                .from_select(list(names), sa.select(*(rows.c[name] for name in names)))
                .returning(*self._returned())
            )
            return self._compile(statement, "insert_many")

        return self._statement(("insert_arrays", names), build)

    def _inserting_values(self, names: tuple[str, ...], number: int) -> Statement:
        def build() -> Statement:
            table = self.source.table
            lists = [
                {name: parameter(f"{name}_{index}", table.c[name].type) for name in names}
                for index in range(number)
            ]
            return self._compile(
                table.insert().values(lists).returning(*self._returned()), "insert_many"
            )

        return self._statement(("insert_values", names, number), build)

    def _returned(self) -> list[Any]:
        """The columns of the DTO, and the key to sort by."""
        wanted = dict.fromkeys((*self._plan(self.dto).columns, self.source.key))
        return [self.source.table.c[name] for name in wanted]
