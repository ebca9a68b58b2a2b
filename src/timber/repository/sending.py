"""The one way out of a repository for everything that is written: the rows, and what features write beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.dialects.postgresql import ARRAY

from timber.cache.debt import NAMES
from timber.database.statements import XID_COLUMN, Statement, parameter
from timber.features.feature import Write
from timber.repository.telling import Telling

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from timber.cache.debt import Debt
    from timber.database.outcome import Check
    from timber.features.feature import Companion, Row

D = TypeVar("D", bound=BaseModel)

NOT_UNNESTED: Final = frozenset({"Array", "Vector"})
"""Kinds of columns that unnest() would take apart."""
WRITTEN = "written"
"""What the rows of a write are called in the statement that has its companions."""
_COUNTED = "SELECT count(*) AS n"
_IF_ANY = " HAVING count(*) > 0"  # what touched no row has written nothing


class Sending(Telling[D]):
    """Sends writes of one model's rows."""

    async def _send(
        self,
        write: Write,
        build: Callable[[tuple[str, ...]], Statement],
        bind: Callable[[Statement], list[Any]],
        *,
        check: Check | None = None,
        tail: str = "",
        names_rows: bool = True,
    ) -> list[Any]:
        """Write rows, and what goes with them in the same statement; the records that it returns.

        Args:
            build: the statement that also returns these columns, behind its others.
            bind: its arguments.
            tail: the order of the records.
            names_rows: whether there can be copies under the keys of the rows.
        """
        companions = self._companions(write)
        debt = self._debt(write, names_rows=names_rows)
        unit = self.db.current() if debt is not None else None
        if debt is not None and unit is None and not self._is_followed:
            companions += self._owed(debt, many=_is_many(write))
        statement = build(_needs(companions, debt))
        args = bind(statement)
        if companions or tail:
            statement, args = self._join(statement, args, companions, f"SELECT {WRITTEN}.*", tail)
        if self._is_followed:
            return await self._send_followed(write, statement, args, debt)
        if debt is None:
            return await self.db.write(statement, args, check=check)
        if unit is None:
            return await self._send_alone(statement, args, debt, check)
        records = await self.db.write(statement, args, check=check)
        if records:
            self._tell(unit, debt.told_by(records))
        return records

    async def _send_followed(
        self, write: Write, statement: Statement, args: list[Any], debt: Debt | None
    ) -> list[Any]:
        async with self.db.join_or_begin() as unit:
            records = await self.db.write(statement, args)
            if records:
                if debt is not None:
                    self._tell(unit, debt.told_by(records))
                await self._follow(write)
        return records

    async def _send_alone(
        self, statement: Statement, args: list[Any], debt: Debt, check: Check | None
    ) -> list[Any]:
        records = await self._write_told(statement, args, debt, check)
        if records:
            await self._pay(debt, debt.told_by(records))
        return records

    async def _send_counting(
        self,
        write: Write,
        build: Callable[[tuple[str, ...]], Statement],
        bind: Callable[[Statement], list[Any]],
    ) -> int:
        """Write whatever rows meet filters; how many they were.

        Args:
            build: the statement, which returns these columns if there are any.
        """
        companions = self._companions(write)
        debt = self._debt(write)
        if companions or debt is not None:
            return await self._send_joined(write, build, bind, companions, debt)
        statement = build(())
        args = bind(statement)
        if not self._is_followed:
            return await self.db.execute(statement, args)
        async with self.db.join_or_begin():
            count = await self.db.execute(statement, args)
            if count:
                await self._follow(write)
        return count

    async def _send_beside(self, write: Write, keys: Sequence[Any]) -> None:
        """Write what goes with rows that have been written already, in this transaction."""
        companions = self._companions(write)
        if companions and keys:
            statement = self._selecting_keys(_needs(companions) or (self.source.key,))
            args = statement.bind({"keys": list(keys)})
            statement, args = self._join(statement, args, companions, _COUNTED, _IF_ANY)
            await self.db.write(statement, args)
        await self._follow(write)

    async def _send_joined(
        self,
        write: Write,
        build: Callable[[tuple[str, ...]], Statement],
        bind: Callable[[Statement], list[Any]],
        companions: list[Companion],
        debt: Debt | None,
    ) -> int:
        is_alone = not self._is_followed and self.db.current() is None
        selected = _COUNTED
        if debt is not None:
            named = f"(SELECT {NAMES} FROM beside_{len(companions)}) AS {NAMES}"  # noqa: S608  # fixed names
            selected = f"{_COUNTED}, {named}"
            companions = [*companions, self._told(debt, is_alone=is_alone)]
        statement = build(_needs(companions, debt) or (self.source.key,))  # RETURNING takes one
        args = bind(statement)
        statement, args = self._join(statement, args, companions, selected, _IF_ANY)
        if is_alone:
            if debt is None:
                return _count(await self.db.write(statement, args))
            records = await self._write_told(statement, args, debt)
            if records:
                await self._pay(debt, debt.told_as(records[0][NAMES]))
            return _count(records)
        async with self.db.join_or_begin() as unit:
            records = await self.db.write(statement, args)
            if records and debt is not None:
                self._tell(unit, debt.told_as(records[0][NAMES]))
            if records and self._is_followed:
                await self._follow(write)
        return _count(records)

    def _keys_of(self, rows: Sequence[Row]) -> list[Any] | None:
        """The keys of new rows; None where PostgreSQL makes them."""
        key = self.source.key
        keys = [row[key] for row in rows if key in row]
        return keys if len(keys) == len(rows) else None

    async def _prepared_deletion(self, now: datetime | None, keys: list[Any] | None) -> Write:
        """A deletion that features have let pass.

        Args:
            now: the time of a soft deletion, which is an update of that time.
        """
        write = (
            Write("delete", [], keys)
            if now is None
            else Write("update", [{"deleted_at": now}], keys)
        )
        if self._features is not None:
            await self._features.before_delete(write)
        return write

    async def _decoded(self, records: Sequence[Any]) -> list[Row]:
        """Records as rows with the values of their columns."""
        rows = [dict(record) for record in records]
        if rows and self._features is not None and self._features.decodes(rows[0]):
            await self._features.after_query(rows)
        return rows

    @property
    def _has_beside(self) -> bool:
        """Whether something may go with a write."""
        features = self._features
        return features is not None and (features.has_companions or features.has_after_write)

    @property
    def _is_followed(self) -> bool:
        return self._features is not None and self._features.has_after_write

    def _companions(self, write: Write) -> list[Companion]:
        return self._features.companions(write) if self._features is not None else []

    async def _follow(self, write: Write) -> None:
        if self._features is not None:
            await self._features.after_write(write)

    # Statements

    def _join(
        self,
        main: Statement,
        args: list[Any],
        companions: Sequence[Companion],
        selected: str,
        tail: str,
    ) -> tuple[Statement, list[Any]]:
        """One statement of the main one and its companions, and the arguments of all."""
        texts = tuple(companion.sql for companion in companions)

        def build() -> Statement:
            number = len(args)
            parts = [f"{WRITTEN} AS ({main.sql})"]
            for index, companion in enumerate(companions):
                numbers = [f"${number + n + 1}" for n in range(len(companion.args))]
                number += len(companion.args)
                parts.append(f"beside_{index} AS ({companion.sql.format(*numbers)})")
            beginning = f"WITH {', '.join(parts)} {selected}"
            end = f" FROM {WRITTEN}{tail}"
            return Statement(
                beginning + end,
                label=main.label,
                returning=True,
                sql_with_xid=f"{beginning}, pg_current_xact_id() AS {XID_COLUMN}{end}",
            )

        statement = self._statements.get(("join", main.sql, texts, selected, tail), build)
        return statement, [*args, *(value for c in companions for value in c.args)]

    def _locking(self, names: tuple[str, ...], *, owned: bool, live: bool) -> Statement:
        """Columns of one row, and what is needed to read them, locked."""
        features = self._features
        support = features.support if features is not None else ()
        wanted = tuple(dict.fromkeys((self.source.key, *names, *support)))

        def build() -> Statement:
            statement = sa.select(*self._columns(wanted)).where(*self._this_row(owned, live))
            return self._compile(statement.with_for_update(of=self.source.table), "lock")

        return self._statement(("lock", wanted, owned, live), build)

    def _selecting_keys(self, names: tuple[str, ...]) -> Statement:
        def build() -> Statement:
            table = self.source.table
            key = table.c[self.source.key]
            statement = sa.select(*(table.c[name] for name in names)).where(
                key == sa.any_(parameter("keys", ARRAY(key.type)))
            )
            return self._compile(statement, "beside")

        return self._statement(("beside", names), build)


def _count(records: Sequence[Any]) -> int:
    count: int = records[0]["n"] if records else 0
    return count


def _needs(companions: Sequence[Companion], debt: Debt | None = None) -> tuple[str, ...]:
    own = debt.needs if debt is not None else ()
    if not companions:
        return own
    needed = dict.fromkeys(name for companion in companions for name in companion.needs)
    return tuple(needed | dict.fromkeys(own))


def _is_many(write: Write) -> bool:
    """Whether it may touch more than one row."""
    return len(write.rows) > 1 or (write.keys is None and write.verb != "insert")
