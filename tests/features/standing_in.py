"""Features that stand in for real ones: one that stores values in another form, and one that records every write."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

import orjson
import sqlalchemy as sa

from timber.features.feature import Companion, Feature, FeatureModel, FeatureProvider, Row, Write
from timber.models.column_types import ColumnType
from timber.models.columns import ColumnConfig
from timber.models.config import ModelConfig
from timber.models.stored import blind_index


class MarkedProvider(FeatureProvider):
    """Stores values as bytes that name their row and column, and refuses to read them anywhere else."""

    name = "encryption"
    after = frozenset({"recorded"})

    def feature(self, model: FeatureModel) -> Feature:
        return Marked(model.config)


class Marked(Feature):
    def __init__(self, config: ModelConfig) -> None:
        assert config.features.encryption is not None
        self.transformed = frozenset(config.features.encryption.columns)
        self.searchable = config.features.encryption.searchable
        self.support = frozenset({config.owner} if config.owner else ())
        self.key = config.primary_key
        self.owner = config.owner

    async def before_insert(self, write: Write) -> None:
        assert write.keys is not None
        for row, key in zip(write.rows, write.keys, strict=True):
            self.mark(row, key)

    async def before_update(self, write: Write) -> None:
        if not self.transformed.isdisjoint(write.rows[0]):
            assert write.keys is not None, "values that are bound to a row need its key"
            for row, key in zip(write.rows, write.keys, strict=True):
                self.mark(row, key)

    async def after_query(self, rows: Sequence[Row]) -> None:
        for row in rows:
            if self.owner is not None:
                assert row[self.owner], "support columns are read too"
            for name in self.transformed & row.keys():
                if row[name] is not None:
                    stored = orjson.loads(row[name])
                    assert stored["of"] == [name, str(row[self.key])], stored
                    row[name] = stored["value"]

    def needs_current(self, changed: Collection[str], merged: Collection[str]) -> Collection[str]:
        return ()

    def stored_forms(self, column: str, values: Sequence[Any]) -> tuple[str, Sequence[Any]] | None:
        if column not in self.searchable:
            return None
        return blind_index(column), [digest(value) for value in values]

    def mark(self, row: Row, key: UUID) -> None:
        for name in self.transformed & row.keys():
            value = row[name]
            if name in self.searchable:
                row[blind_index(name)] = None if value is None else digest(value)
            if value is not None:
                row[name] = orjson.dumps({"of": [name, str(key)], "value": value})


def digest(value: str) -> bytes:
    return b"#" + value.encode()[::-1]


records = sa.Table(
    "records",
    sa.MetaData(),
    sa.Column("n", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("verb", sa.Text),
    sa.Column("row", sa.Text),
    sa.Column("fields", sa.ARRAY(sa.Text)),
)


class RecordedProvider(FeatureProvider):
    """Writes beside each row what was done to it."""

    name = "recorded"

    def on_model(self, config: ModelConfig) -> Sequence[ColumnConfig]:
        return (ColumnConfig(name="recorded_as", type=ColumnType("Text")),)

    def feature(self, model: FeatureModel) -> Feature:
        return Recorded(model.config.primary_key)


class Recorded(Feature):
    def __init__(self, key: str) -> None:
        self.key = key
        self.seen: list[Write] = []

    async def before_insert(self, write: Write) -> None:
        for row in write.rows:
            assert not isinstance(row.get("ssn"), bytes), "it comes before what stores another form"
            row["recorded_as"] = "new"

    def companions(self, write: Write) -> Sequence[Companion]:
        self.seen.append(write)
        fields = sorted(write.rows[0]) if write.rows else []
        key = self.key
        return (
            Companion(
                f"INSERT INTO records (verb, row, fields) SELECT {{0}}::text, written.{key}::text, {{1}}::text[]"
                " FROM written",
                (write.verb, fields),
                (key,),
            ),
        )
