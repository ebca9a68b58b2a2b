"""How rows are ranked in SQL: by the words of a query, by its meaning, or by both.

Both together are ranked by reciprocal rank fusion: each of the two lists gives a row 1 / (60 + its rank there), after
Cormack, Clarke and Büttcher, "Reciprocal rank fusion outperforms Condorcet and individual rank learning methods",
SIGIR 2009. It needs no scale that word counts and distances would have in common.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import REGCONFIG, TSQUERY

from timber.database.statements import parameter
from timber.repository.nearest import pieces_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.sql.elements import ColumnElement

    from timber.repository.source import Source

FUSION: Final = 60
"""The constant of reciprocal rank fusion: how little the first places count more than those behind them."""

_DEPTH: Final = 100
"""How far down a list of words or of meanings fusion looks, at least."""
_WORDS: Final = 64
"""How many words of a query count, the longest first."""
_BY_LENGTH: Final = (
    8  # of ts_rank: divided by the number of different words, since long texts have every word
)


def sizes(limit: int) -> dict[str, Any]:
    """The values of the parameters that say how much is looked at for so many hits."""
    return {"limit": limit, "depth": max(limit, _DEPTH), **pieces_for(limit)}


def query_words(source: Source) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    """The text search configuration of a model, and the query of parameter ``query`` in it."""
    search = source.config.features.search
    language: Any = sa.literal_column(
        f"'{search.language if search else 'simple'}'::regconfig", REGCONFIG
    )
    return language, sa.func.websearch_to_tsquery(language, parameter("query", sa.Text))


def has_words(source: Source) -> ColumnElement[Any]:
    """Whether a row has all words of the query, as people type it."""
    search = source.config.features.search
    assert search is not None
    _, query = query_words(source)
    return source.table.c[search.column].op("@@", is_comparison=True)(query)


def by_words(
    source: Source, filtered: Callable[[], list[ColumnElement[Any]]], meaning: sa.CTE
) -> sa.CTE:
    """The rows with words of the query: ``key`` and ``rank``.

    Those that have all of its words, as a search by words has them, and those near in meaning that have some: questions
    have words that no answer has. What rare words weigh, and how little frequent ones, is told by these rows themselves, as
    ln((1 + rows) / rows with the word).
    """
    search = source.config.features.search
    assert search is not None
    key, vector = source.table.c[source.key], source.table.c[search.column]
    language, query = query_words(source)
    all_words = (
        sa.select(key.label("key"))
        .where(has_words(source), *filtered())
        .order_by(sa.func.ts_rank_cd(vector, query, 1 | 32).desc(), key.desc())
        .limit(parameter("depth", sa.BigInteger))
    )
    candidates = sa.union(sa.select(meaning.c.key), all_words.subquery().select()).cte("candidates")
    words = _words(language)
    worth = sa.func.ts_rank(vector, words.c.query, _BY_LENGTH)
    found = (
        sa.select(candidates.c.key, words.c.word, worth.label("worth"))
        .select_from(
            candidates.join(source.table, key == candidates.c.key).join(
                words, vector.op("@@", is_comparison=True)(words.c.query)
            )
        )
        .cte("found")
    )
    rows: Any = sa.select(sa.func.count(sa.text("*"))).select_from(candidates).scalar_subquery()
    one: Any = sa.literal_column("1.0::float8")
    weight = sa.func.ln((one + rows) / sa.func.count(sa.text("*"))).label("weight")
    weights = sa.select(found.c.word, weight).group_by(found.c.word).cte("weights")
    score = sa.func.sum(found.c.worth * weights.c.weight)
    ranked = sa.select(
        found.c.key,
        sa.func.row_number().over(order_by=(score.desc(), found.c.key.desc())).label("rank"),
    )
    joined = found.join(weights, weights.c.word == found.c.word)
    return ranked.select_from(joined).group_by(found.c.key).cte("by_words")


def _words(language: Any) -> sa.CTE:
    """The words of the query, each with a query of its own."""
    vector = sa.func.to_tsvector(language, parameter("query", sa.Text))
    word: Any = sa.func.unnest(sa.func.tsvector_to_array(vector)).column_valued("word")
    slashes = sa.func.replace(word, "\\", "\\\\")
    quoted: Any = sa.literal("'") + sa.func.replace(slashes, "'", "''") + sa.literal("'")
    return (
        sa.select(word.label("word"), sa.cast(quoted, TSQUERY).label("query"))
        .order_by(sa.func.length(word).desc(), word)
        .limit(sa.literal_column(str(_WORDS)))
        .cte("words")
        .prefix_with("MATERIALIZED")
    )


def fused(words: sa.CTE, meaning: sa.CTE) -> sa.CTE:
    """Both lists as one: ``key``, ``score``, both ranks, and the best piece."""
    key = sa.func.coalesce(words.c.key, meaning.c.key)
    return (
        sa.select(
            key.label("key"),
            (_share(words) + _share(meaning)).label("score"),
            words.c.rank.label("keyword_rank"),
            meaning.c.rank.label("semantic_rank"),
            meaning.c.start,
            meaning.c.length,
        )
        .select_from(words.join(meaning, words.c.key == meaning.c.key, full=True))
        .cte("fused")
    )


def _share(ranked: sa.CTE) -> ColumnElement[Any]:
    one: Any = sa.literal_column("1.0::float8")
    return sa.func.coalesce(one / (sa.literal_column(str(FUSION)) + ranked.c.rank), one - one)
