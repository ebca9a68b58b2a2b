"""The vectors of a person's rows: what they were made from can be told from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from timber.models.embedding_tables import chunks_table, jobs_table
from timber.privacy.asking import tell

if TYPE_CHECKING:
    from timber.privacy.holdings import Holding
    from timber.privacy.means import Means


def vector_tables(holding: Holding) -> tuple[sa.Table, ...]:
    """The tables with the pieces of a model's texts and their vectors, and with what is to be embedded; often none."""
    if holding.config.features.embedding is None:
        return ()
    key = holding.table.c[holding.key].type
    names = chunks_table(holding.config.table), jobs_table(holding.config.table)
    return tuple(sa.Table(name, sa.MetaData(), sa.Column("row_key", key)) for name in names)


async def drop_vectors(means: Means, holding: Holding, keys: list[Any]) -> None:
    """Delete the vectors of rows whose text has been emptied, without waiting for the worker that makes new ones."""
    embedding = holding.config.features.embedding
    if embedding is None or holding.neutral.keys().isdisjoint(embedding.columns):
        return
    chunks, _ = vector_tables(holding)
    theirs = chunks.c.row_key == sa.any_(sa.literal(keys, ARRAY(chunks.c.row_key.type)))
    await tell(means.db, chunks.delete().where(theirs), f"erase {chunks.name}")
