"""The rows whose pieces are nearest to a vector, in SQL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on

from timber.database.statements import parameter
from timber.models.embedding_tables import chunks_table
from timber.models.types import Vector

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.sql.elements import ColumnElement

    from timber.repository.source import Source

_PIECES_A_ROW: Final = 20
"""How many of the nearest pieces are looked at for each row wanted, since several may be of one row."""
_PIECES: Final = (200, 5_000)
_BEAM: Final = 1_000  # pgvector's own limit


def pieces_for(limit: int) -> dict[str, Any]:
    """The values of the parameters that say how many pieces are looked at for so many rows."""
    fewest, most = _PIECES
    pieces = min(max(limit * _PIECES_A_ROW, fewest), most)
    return {"pieces": pieces, "beam": str(min(pieces, _BEAM))}


@dataclass(frozen=True, slots=True)
class Nearest:
    """The rows whose pieces are nearest to a vector.

    The index gives the nearest pieces, of rows that meet the filters. Where those are of fewer rows than are wanted, as
    when the filters leave few or some rows have very many pieces, every piece of every row that meets the filters is
    compared: a search is never short of rows that there are. PostgreSQL decides that within the statement.

    Attributes:
        iterative: whether the index can go on looking until enough rows have met the filters.
    """

    source: Source
    dimension: int
    filtered: Callable[[], list[ColumnElement[Any]]]
    iterative: bool

    def by_meaning(self) -> sa.CTE:
        """The rows nearest to parameter ``vector``: ``key``, ``distance``, ``rank``, and the best piece's ``start`` and
        ``length``.
        """
        near = self._from_index()
        every = self._from_all(near)
        both = sa.union_all(sa.select(near), sa.select(every)).subquery("near_or_every")
        best = (
            sa.select(both)
            .where(both.c.distance != sa.literal_column("'NaN'::float8"))
            .ext(distinct_on(both.c.key))
            .order_by(both.c.key, both.c.distance)
            .subquery("best_pieces")
        )
        rank = sa.func.row_number().over(order_by=(best.c.distance, best.c.key.desc()))
        ranked = sa.select(best, rank.label("rank"))
        return (
            ranked.order_by(best.c.distance, best.c.key.desc())
            .limit(parameter("depth", sa.BigInteger))
            .cte("by_meaning")
        )

    def _from_index(self) -> sa.CTE:
        chunks = self._chunks()
        distance = self._distance(chunks)
        pieces = self._pieces(chunks, distance, self._scanning()).order_by(distance)
        near = pieces.limit(parameter("pieces", sa.BigInteger)).cte("near")
        return near.prefix_with("MATERIALIZED")

    def _from_all(self, near: sa.CTE) -> sa.CTE:
        chunks = self._chunks()
        distance = self._distance(chunks)
        rows = sa.select(sa.func.count(near.c.key.distinct())).scalar_subquery()
        is_short = rows < parameter("limit", sa.BigInteger)
        pieces = self._pieces(chunks, distance, [is_short]).ext(distinct_on(chunks.c.row_key))
        return pieces.order_by(chunks.c.row_key, distance).cte("every").prefix_with("MATERIALIZED")

    def _pieces(
        self, chunks: Any, distance: ColumnElement[Any], conditions: list[ColumnElement[Any]]
    ) -> sa.Select[Any]:
        """Pieces of this embedder's, of rows that meet the filters."""
        key = self.source.table.c[self.source.key]
        columns = (
            chunks.c.row_key.label("key"),
            chunks.c.start,
            chunks.c.length,
            distance.label("distance"),
        )
        statement: Any = sa.select(*columns).where(
            chunks.c.embedder == parameter("embedder", sa.Text), *conditions
        )
        filters = self.filtered()
        source = chunks
        if filters:
            source = chunks.join(self.source.table, key == chunks.c.row_key)
        pieces: sa.Select[Any] = statement.select_from(source).where(*filters)
        return pieces

    def _chunks(self) -> Any:
        key = self.source.table.c[self.source.key]
        return sa.table(
            chunks_table(self.source.config.table),
            sa.column("row_key", key.type),
            sa.column("start", sa.Integer),
            sa.column("length", sa.Integer),
            sa.column("embedder", sa.Text),
            sa.column("embedding", Vector(self.dimension)),
        )

    def _distance(self, chunks: Any) -> ColumnElement[Any]:
        # In a subquery, so that the text is made a vector once and not for each piece.
        wanted = sa.select(
            sa.cast(parameter("vector", sa.Text), Vector(self.dimension))
        ).scalar_subquery()
        return chunks.c.embedding.op("<=>", return_type=sa.Double())(wanted)  # type: ignore[no-any-return]

    def _scanning(self) -> list[ColumnElement[Any]]:
        """How the index is looked through, said within the statement: it is evaluated once, before the first piece.

        Set for the transaction, since PostgreSQL knows nothing shorter. Whether it is heard or not, no row is missed.
        """
        settings = {"hnsw.ef_search": parameter("beam", sa.Text)}
        if self.iterative:
            settings["hnsw.iterative_scan"] = sa.literal_column("'relaxed_order'")  # type: ignore[assignment]
        return [
            sa.select(sa.func.set_config(name, value, sa.literal_column("true")))
            .scalar_subquery()
            .is_not(None)
            for name, value in settings.items()
        ]
