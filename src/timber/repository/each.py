"""Changing rows that meet filters one by one, where what is stored differs from row to row."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.dialects.postgresql import ARRAY

from timber.database.statements import parameter
from timber.features.feature import Write
from timber.repository.sending import NOT_UNNESTED, Sending

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from timber.database.statements import Statement
    from timber.features.feature import Row
    from timber.repository.filters import Filters

D = TypeVar("D", bound=BaseModel)

_BATCH: Final = 500


class ChangingEach(Sending[D]):
    """Gives each row its own values, a batch at a time."""

    async def _update_each(self, prepared: Filters, changes: Row, needed: Sequence[str]) -> int:
        """Change rows that meet filters, each as features shape its changes; the number of rows changed.

        Args:
            needed: the columns of the rows as they are that have to be known.
        """
        support = sorted(self._features.support) if self._features is not None else ()
        names = tuple(dict.fromkeys((self.source.key, *needed, *support)))
        last: Any = None
        changed = 0
        async with self.db.join_or_begin():
            while True:
                current = await self._lock_next(prepared, names, last)
                if current:
                    changed += await self._update_batch(current, changes)
                if len(current) < _BATCH:
                    return changed
                last = current[-1][self.source.key]

    async def _lock_next(self, prepared: Filters, names: tuple[str, ...], last: Any) -> list[Row]:
        """The next rows in the order of their keys, locked."""

        def build() -> Any:
            key = self.source.table.c[self.source.key]
            statement = sa.select(*self._columns(names)).where(*prepared.build())
            if last is not None:
                statement = statement.where(key > parameter("last", key.type))
            return statement.order_by(key).limit(_BATCH).with_for_update()

        statement = self._filtered(prepared, (names, last is None), build, "lock")
        values = {**prepared.values, "last": last}
        return await self._decoded(await self.db.fetch(statement, statement.bind(values)))

    async def _update_batch(self, current: list[Row], changes: Row) -> int:
        key = self.source.key
        keys = [row[key] for row in current]
        write = Write(
            "update", [dict(changes) for _ in current], keys, current=current, single=False
        )
        if self._features is not None:
            await self._features.before_update(write)
        for row in write.rows:
            self._rows.touch(row)
        return sum([await self._send_alike(part) for part in self._alike(write)])

    def _alike(self, write: Write) -> Iterable[Write]:
        """Parts of a write whose rows change the same columns; features may have given them different ones."""
        assert write.keys is not None
        assert write.current is not None
        groups: dict[object, list[int]] = {}
        for position, row in enumerate(write.rows):
            # unnest() would take lists apart: such rows go one by one.
            listed = any(
                self.source.columns[name].type.kind in NOT_UNNESTED
                and name not in self.source.transformed
                and value is not write.rows[0].get(name)
                for name, value in row.items()
                if name in self.source.columns
            )
            groups.setdefault((tuple(row), position if listed else None), []).append(position)
        for positions in groups.values():
            yield replace(
                write,
                rows=[write.rows[position] for position in positions],
                keys=[write.keys[position] for position in positions],
                current=[write.current[position] for position in positions],
            )

    async def _send_alike(self, write: Write) -> int:
        """Send changes of the same columns of some rows."""
        first = write.rows[0]
        own = tuple(
            name for name in first if any(row[name] is not first[name] for row in write.rows)
        )
        shared = tuple(name for name in first if name not in own)
        values: dict[str, Any] = {f"v_{name}": first[name] for name in shared}
        values |= {f"v_{name}": [row[name] for row in write.rows] for name in own}
        values["keys"] = write.keys
        records = await self._send(
            write,
            lambda needs: self._updating_each(shared, own, needs),
            lambda statement: self._bind(statement, values, prefix="v_"),
        )
        return len(records)

    def _updating_each(
        self, shared: tuple[str, ...], own: tuple[str, ...], needs: tuple[str, ...]
    ) -> Statement:
        def build() -> Statement:
            table = self.source.table
            key = table.c[self.source.key]
            lists = [parameter("keys", ARRAY(key.type, dimensions=1))]
            lists += [parameter(f"v_{n}", ARRAY(table.c[n].type, dimensions=1)) for n in own]
            columns = [sa.column("key", key.type)]
            columns += [sa.column(name, table.c[name].type) for name in own]
            rows = sa.func.unnest(*lists).table_valued(*columns).render_derived(name="new")
            values: dict[str, Any] = {n: parameter(f"v_{n}", table.c[n].type) for n in shared}
            values |= {name: rows.c[name] for name in own}
            if self.source.config.versioned:
                values["version"] = table.c.version + sa.literal_column("1")
            statement = table.update().values(values).where(key == rows.c.key)
            returned = self._columns(dict.fromkeys((self.source.key, *needs)))
            return self._compile(statement.returning(*returned), "update_where")

        return self._statement(("update_each", shared, own, needs), build)
