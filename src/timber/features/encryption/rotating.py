"""The rows of one table that are not under the primary key: counted, and encrypted anew batch by batch."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from timber.database.statements import compile_statement, parameter
from timber.errors import EncryptionError
from timber.features.encryption.blind_index import prefix
from timber.features.encryption.encrypting import RingEncryption
from timber.features.encryption.encrypting_persons import PersonEncryption
from timber.features.encryption.envelopes import PERSON, RING, VERSION, head
from timber.features.encryption.reporting import SCAN_SECONDS, UNKNOWN
from timber.features.feature import Write
from timber.models.stored import blind_index

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from timber.database.statements import Statement
    from timber.database.unit_of_work import UnitOfWork
    from timber.features.encryption.provider import EncryptionProvider
    from timber.features.feature import FeatureModel, Row


class RotatedTable:
    """The table of one model with encrypted columns."""

    def __init__(self, model: FeatureModel, provider: EncryptionProvider, *, batch: int) -> None:
        feature = provider.feature(model)
        assert isinstance(feature, RingEncryption)
        self._feature = feature
        self.name: str = model.config.table
        self._db = model.db
        self._model = model.config.name
        self._table = model.table
        self._key = model.table.c[model.config.primary_key]
        self._batch = batch
        self._names = [column.name for column in feature.columns]
        self._written = [
            *self._names,
            *(blind_index(column.name) for column in feature.columns if column.searchable),
        ]
        self._statements: dict[tuple[str, str], Statement] = {}

    async def count(self, primary: str) -> int:
        """How many rows are not under the primary key."""
        counting = self._counting(primary)
        rows = await self._db.fetch(counting, counting.bind({}))
        number: int = rows[0]["n"]
        return number

    async def batches(self, primary: str) -> AsyncIterator[tuple[int, Counter[str]]]:
        """Encrypt rows anew that nobody holds; of each batch how many it were, and how many could not be read, by key."""
        last: Any = None
        while True:

            async def work(unit: UnitOfWork, last: Any = last) -> tuple[list[Row], Counter[str]]:
                return await self._encrypt(unit, primary, last)

            rows, failed = await self._db.run(work, statement_timeout=SCAN_SECONDS)
            if rows:
                last = rows[-1][self._key.name]
                yield len(rows) - failed.total(), failed
            if len(rows) < self._batch:
                return

    async def _encrypt(
        self, unit: UnitOfWork, primary: str, last: Any
    ) -> tuple[list[Row], Counter[str]]:
        """One batch."""
        locked = self._locking(primary, first=last is None)
        found = list(map(dict, await self._db.fetch(locked, locked.bind({"last": last}))))
        renewed, failed = await self._anew(found)
        if renewed:
            values = {name: [row[name] for row in renewed] for name in self._written}
            values["keys"] = [row[self._key.name] for row in renewed]
            updating = self._updating()
            await self._db.write(updating, updating.bind(values))
            # Copies elsewhere are under keys that may soon be gone.
            unit.invalidate(self._model)
        return found, failed

    async def _anew(self, found: Sequence[Row]) -> tuple[list[Row], Counter[str]]:
        """The rows as they are to be, and how many cannot be decrypted or encrypted anew, by the keys that are in the way."""
        failed = Counter[str]()
        try:
            return await self._renewed(found), failed
        except EncryptionError:
            renewed = []
        for row in found:
            try:
                renewed += await self._renewed([row])
            except EncryptionError as error:
                failed[error.key_id or UNKNOWN] += 1
        return renewed, failed

    async def _renewed(self, found: Sequence[Row]) -> list[Row]:
        plain = [dict(row) for row in found]
        await self._feature.after_query(plain)
        changes = [{name: row[name] for name in self._names} for row in plain]
        keys = [row[self._key.name] for row in plain]
        await self._feature.before_update(
            Write("update", changes, keys, current=plain, single=False)
        )
        return [{**row, self._key.name: key} for row, key in zip(changes, keys, strict=True)]

    # Statements

    def _counting(self, primary: str) -> Statement:
        return self._kept(
            ("count", primary),
            lambda: (
                sa.select(sa.func.count().label("n"))
                .select_from(self._table)
                .where(self._elsewhere(primary))
            ),
        )

    def _locking(self, primary: str, *, first: bool) -> Statement:
        def build() -> sa.Select[Any]:
            columns = dict.fromkeys((self._key.name, *self._names, *self._feature.support))
            statement = sa.select(*(self._table.c[name] for name in columns))
            statement = statement.where(self._elsewhere(primary))
            if not first:
                statement = statement.where(self._key > parameter("last", self._key.type))
            statement = statement.order_by(self._key).limit(sa.literal_column(str(self._batch)))
            return statement.with_for_update(skip_locked=True)

        return self._kept((f"lock {first}", primary), build)

    def _updating(self) -> Statement:
        def build() -> sa.Update:
            table = self._table
            lists = [parameter("keys", ARRAY(self._key.type, dimensions=1))]
            lists += [parameter(n, ARRAY(table.c[n].type, dimensions=1)) for n in self._written]
            columns = [sa.column("key", self._key.type)]
            columns += [sa.column(name, table.c[name].type) for name in self._written]
            new = sa.func.unnest(*lists).table_valued(*columns).render_derived(name="new")
            values = {name: new.c[name] for name in self._written}
            return table.update().values(values).where(self._key == new.c.key).returning(self._key)

        return self._kept(("update", ""), build)

    def _elsewhere(self, primary: str) -> sa.ColumnElement[bool]:
        """The condition of rows with a value, or a digest, that is not under the primary key."""
        of_person = isinstance(self._feature, PersonEncryption)
        conditions = []
        for column in self._feature.columns:
            stored = self._table.c[column.name]
            wanted = bytes((VERSION, PERSON)) if of_person else head(RING, column.tag, primary)
            conditions.append(_begins_otherwise(stored, wanted))
            if column.searchable:
                digest = self._table.c[blind_index(column.name)]
                without = sa.or_(digest.is_(None), _begins_otherwise(digest, prefix(primary)))
                conditions.append(sa.and_(stored.is_not(None), without))
        return sa.or_(*conditions)

    def _kept(self, name: tuple[str, str], build: Any) -> Statement:
        if name not in self._statements:
            self._statements[name] = compile_statement(
                build(), self._db.dialect, label=f"rotate {self._model}"
            )
        return self._statements[name]


def _begins_otherwise(column: sa.Column[Any], wanted: bytes) -> sa.ColumnElement[bool]:
    """Whether bytes that are not NULL begin with others than these."""
    beginning = sa.func.substring(column, 1, sa.literal_column(str(len(wanted))))
    return beginning != sa.literal_column(f"'\\x{wanted.hex()}'::bytea")
