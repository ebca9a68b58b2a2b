"""Hidden columns that the features of a model need in its table, each with its index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from timber.models.column_types import SEARCH_VECTOR, ColumnType
from timber.models.columns import ColumnConfig
from timber.models.config import IndexColumn, IndexConfig
from timber.models.feed_ddl import TRANSACTION_ID
from timber.models.stored import blind_columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from timber.models.config import ModelConfig
    from timber.models.feature_configs import FeaturesConfig


class Shaper(Protocol):
    """A feature of the application's own, as far as models know it."""

    name: ClassVar[str]
    """What models declare it as."""

    def on_model(self, config: ModelConfig) -> Iterable[ColumnConfig]:
        """Hidden columns that a model which declares it gets."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Needed:
    """A hidden column that a feature needs."""

    feature: str
    column: ColumnConfig
    index: IndexConfig | None = None


def needed_columns(
    features: FeaturesConfig, columns: Mapping[str, ColumnConfig], owner: str | None
) -> Iterable[Needed]:
    """What the built-in features of a model need.

    Args:
        columns: those that the model has by itself.
        owner: the column with the owner of a row, if there is one.
    """
    search = features.search
    if search is not None:
        column = ColumnConfig(name=search.column, type=ColumnType(SEARCH_VECTOR), hidden=True)
        index = IndexConfig(columns=(IndexColumn(name=search.column),), method="gin")
        yield Needed("search", column, index)
    if features.encryption is not None:
        for column, index in blind_columns(features.encryption, columns):
            yield Needed("encryption", column, index)
    feed = features.feed
    by = None if feed is None else feed.by or owner
    if feed is not None and by is not None:
        # Neither ids nor times follow the order of commits, and xmin changes with every update of the row.
        column = ColumnConfig(
            name=feed.column,
            type=ColumnType("BigInteger"),
            nullable=False,
            server_default=TRANSACTION_ID,
            hidden=True,
        )
        primary = [name for name, other in columns.items() if other.primary_key]
        indexed = tuple(IndexColumn(name=name) for name in (by, feed.column, *primary))
        yield Needed("feed", column, IndexConfig(columns=indexed))
