"""The verbs of a repository that store many rows at once."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, TypeVar

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.dialects.postgresql import ARRAY

from timber.database.statements import parameter
from timber.dto import encode_json
from timber.errors import ValidationError
from timber.features.feature import Write
from timber.repository.proving import Proving
from timber.repository.sending import NOT_UNNESTED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from timber.cache.debt import Debt
    from timber.database.statements import Statement
    from timber.repository.rows import Row

D = TypeVar("D", bound=BaseModel)

_VALUES_ROWS: Final = 100  # rows of one VALUES list, where arrays of columns cannot be used


class Bulk(Proving[D]):
    """Stores many rows of one model at once."""

    async def insert_many(self, items: Iterable[object]) -> list[Any]:
        """Store many rows by COPY and give their keys in order: all of them or none.

        Raises:
            ValidationError: naming each position and field that does not fit, as ``3.title``; nothing has been sent.
            ConflictError: a constraint of the table refused a row.
        """
        rows, are_new = self._rows.new_many(items)
        key = self.source.key
        write = await self._prepared_inserts(rows)
        debt = self._debt(write, names_rows=not are_new)
        if rows and not self._can_be_copied(rows):
            records = await self._insert_returning(rows, (key,), write, debt)
            return [record[key] for record in records]
        told = debt.told_by(rows) if debt is not None else []
        keys = [row[key] for row in rows]
        groups = self._by_columns(rows)
        try:
            parts = [(names, self._records(group, names)) for names, group in groups]
        except ValidationError as error:
            raise self._rows.name_json_problems(rows, error) from None
        table = self.source.table.name
        if len(parts) == 1 and not self._has_beside and not told:
            await self.db.copy(table, *parts[0], check=self._proof_of_inserts(rows))
        elif parts:
            async with self.db.join_or_begin() as unit:
                for names, records in parts:
                    await self.db.copy(table, names, records)
                await self._send_beside(write, keys)
                self._tell(unit, told)
        return keys

    async def insert_many_returning(self, items: Iterable[object]) -> list[D]:
        """Store many rows and give them as stored, in order: all of them or none.

        Raises:
            ValidationError: naming each position and field that does not fit, as ``3.title``; nothing has been sent.
            ConflictError: a constraint of the table refused a row.
        """
        rows, are_new = self._rows.new_many(items)
        write = await self._prepared_inserts(rows)
        debt = self._debt(write, names_rows=not are_new)
        records = await self._insert_returning(rows, self._plan(self.dto).columns, write, debt)
        return await self._load_written(records)

    async def _prepared_inserts(self, rows: list[Row]) -> Write:
        """New rows that features have let pass."""
        write = Write("insert", rows, self._keys_of(rows), single=False)
        if rows and self._features is not None:
            await self._features.before_insert(write)
        return write

    # COPY

    def _can_be_copied(self, rows: Sequence[Row]) -> bool:
        """Keys that PostgreSQL makes have to be asked for, and the driver has no COPY for vectors."""
        key = self.source.key
        if any(column.type.kind == "Vector" for column in self.source.columns.values()):
            return False
        return key in rows[0] if self._rows.uniform else all(key in row for row in rows)

    def _records(self, rows: Sequence[Row], names: tuple[str, ...]) -> list[tuple[Any, ...]]:
        """Rows as COPY takes them, with JSON as text; the rows themselves are of no more use."""
        for name in self._rows.json_columns:
            if name in names:
                for row in rows:
                    if row[name] is not None:
                        row[name] = encode_json(row[name])
        if len(names) == 1:
            return [(row[names[0]],) for row in rows]
        return list(map(itemgetter(*names), rows))

    # INSERT ... RETURNING

    async def _insert_returning(
        self, rows: list[Row], wanted: tuple[str, ...], write: Write, debt: Debt | None
    ) -> list[Any]:
        """The stored rows, in the order of the given ones."""
        if not rows:
            return []
        if debt is not None:
            wanted = tuple(dict.fromkeys((*wanted, *debt.needs)))
        parts = [
            (names, group[start : start + size])
            for names, group in self._by_columns(rows)
            for size in [self._rows_at_once(names, len(group))]
            for start in range(0, len(group), size)
        ]
        try:
            bound = [self._bound(names, part, wanted) for names, part in parts]
        except ValidationError as error:
            raise self._rows.name_json_problems(rows, error) from None
        if len(parts) == 1 and not self._has_beside and debt is None:
            statement, args = bound[0]
            check = None
            if all(self.source.key in row for row in rows):
                check = self._proof_of_inserts(rows)
            return self._in_order(rows, await self.db.write(statement, args, check=check))
        stored: list[Any] = []
        given: list[Row] = []
        async with self.db.join_or_begin() as unit:
            for (_, part), (statement, args) in zip(parts, bound, strict=True):
                stored += self._in_order(part, await self.db.write(statement, args))
                given += part
            places = {id(row): index for index, row in enumerate(rows)}
            found: list[Any] = [None] * len(rows)
            for row, record in zip(given, stored, strict=True):
                found[places[id(row)]] = record
            # By now the keys that PostgreSQL has made are known, too.
            write.keys = [record[self.source.key] for record in found]
            await self._send_beside(write, write.keys)
            if debt is not None:
                self._tell(unit, debt.told_by(stored))
        return found

    def _in_order(self, rows: Sequence[Row], records: Sequence[Any]) -> list[Any]:
        key = self.source.key
        if key in rows[0]:
            found = {record[key]: record for record in records}
            return [found[row[key]] for row in rows]
        # Numbers are handed out in the order of the rows; RETURNING promises no order of its own.
        return sorted(records, key=lambda record: record[key])

    def _rows_at_once(self, names: tuple[str, ...], number: int) -> int:
        return _VALUES_ROWS if self._has_lists(names) else number

    def _has_lists(self, names: tuple[str, ...]) -> bool:
        """Whether there are columns that unnest() would take apart."""
        plain = (name for name in names if name not in self.source.transformed)
        return any(self.source.columns[name].type.kind in NOT_UNNESTED for name in plain)

    def _bound(
        self, names: tuple[str, ...], rows: Sequence[Row], wanted: tuple[str, ...]
    ) -> tuple[Statement, list[Any]]:
        if self._has_lists(names):
            statement = self._inserting_values(names, len(rows), wanted)
            values = {
                f"{name}_{index}": row[name] for index, row in enumerate(rows) for name in names
            }
        else:
            statement = self._inserting_arrays(names, wanted)
            values = {name: [row[name] for row in rows] for name in names}
        return statement, statement.bind(values)

    def _inserting_arrays(self, names: tuple[str, ...], wanted: tuple[str, ...]) -> Statement:
        def build() -> Statement:
            table = self.source.table
            arrays = [parameter(name, ARRAY(table.c[name].type, dimensions=1)) for name in names]
            columns = [sa.column(name, table.c[name].type) for name in names]
            rows = (
                sa.func.unnest(*arrays)
                .table_valued(*columns, with_ordinality="position")
                .render_derived(name="rows")
            )
            chosen = sa.select(*(rows.c[name] for name in names)).order_by(rows.c.position)
            return self._compile(
                table.insert().from_select(list(names), chosen).returning(*self._wanted(wanted)),
                "insert_many",
            )

        return self._statement(("insert_arrays", names, wanted), build)

    def _inserting_values(
        self, names: tuple[str, ...], number: int, wanted: tuple[str, ...]
    ) -> Statement:
        def build() -> Statement:
            table = self.source.table
            lists = [
                {name: parameter(f"{name}_{index}", table.c[name].type) for name in names}
                for index in range(number)
            ]
            return self._compile(
                table.insert().values(lists).returning(*self._wanted(wanted)), "insert_many"
            )

        return self._statement(("insert_values", names, number, wanted), build)

    def _by_columns(self, rows: list[Row]) -> list[tuple[tuple[str, ...], list[Row]]]:
        """Rows by the columns that they have; PostgreSQL makes those that are left out."""
        if rows and self._rows.uniform:
            return [(tuple(rows[0]), rows)]
        groups: dict[tuple[str, ...], list[Row]] = {}
        for row in rows:
            groups.setdefault(tuple(row), []).append(row)
        return list(groups.items())

    def _wanted(self, names: tuple[str, ...]) -> list[Any]:
        """The columns asked for, and the key to sort by."""
        return [self.source.table.c[name] for name in dict.fromkeys((*names, self.source.key))]
