"""Search: by the words of a query over the model's search column, by its meaning over vectors, or by both."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import sqlalchemy as sa
from pydantic import BaseModel

from timber.database.statements import parameter
from timber.dto import SearchHit, SearchMode
from timber.errors import ServiceError, UsageError, ValidationError
from timber.features.embedding.embedding import Embedding
from timber.models.embedding_tables import embedded_text
from timber.repository.nearest import Nearest
from timber.repository.ordering import check_limit
from timber.repository.querying import MAX_LIMIT, Querying
from timber.repository.ranking import by_words, fused, has_words, query_words, sizes
from timber.repository.source import check_text

if TYPE_CHECKING:
    from timber.database.statements import Statement
    from timber.repository.filters import Filters
    from timber.repository.source import Source

logger: logging.Logger = logging.getLogger(__name__)

D = TypeVar("D", bound=BaseModel)

_QUERY_LIMIT = 10_000
_SNIPPET = "MaxWords=25, MinWords=10, MaxFragments=1, StartSel=**, StopSel=**"
_SNIPPET_TEXT = 100_000  # characters of a document that a snippet is looked for in
_SNIPPET_LENGTH = 240  # characters of a piece that was found by its meaning

_RUN = re.compile(r"-{2,}")
_LOOSE = re.compile(r'-(?![\w"])')


def _sensible(query: str) -> str:
    """A query without hyphens that leave out no word: PostgreSQL takes each for a NOT, and fails when there are many."""
    return _LOOSE.sub(" ", _RUN.sub(" ", query))


class Searching(Querying[D]):
    """Searches rows by their text."""

    async def search(
        self,
        query: str,
        *filters: object,
        mode: SearchMode | None = None,
        limit: int = 20,
        owner: str | None = None,
        include_deleted: bool = False,
        **equals: object,
    ) -> list[SearchHit[D]]:
        """The rows whose text matches, best first; ``limit`` of them where there are so many that meet the filters.

        Args:
            query: words as people type them, up to 10,000 characters: quotes hold a phrase together, ``or`` and ``-`` work.
                By meaning it is a question or a description in a language that the embedder knows.
            mode: ``keyword`` for the words, ``semantic`` for the meaning, ``hybrid`` for both. Where nothing is said,
                whatever the model declares, and only the words while the embedder fails.
            limit: 1 to 1000.

        Raises:
            UsageError: the model declares no search, or no embedding.
            UnavailableError: the embedder failed, where the meaning was asked for.
            ValidationError: naming the filter or argument that does not fit; nothing has been sent.
        """
        chosen = self._chosen(mode)
        if len(check_text("query", query)) > _QUERY_LIMIT:
            raise ValidationError.of("query", f"is longer than {_QUERY_LIMIT} characters")
        check_limit(limit, "limit", MAX_LIMIT)
        prepared = self._filters(filters, equals, owner, include_deleted)
        if not query.strip():
            return []
        values = {**prepared.values, "query": _sensible(query), **sizes(limit)}
        if chosen != "keyword":
            vector = await self._vector(query, chosen, falls_back=mode is None)
            if vector is None and chosen == "semantic":
                return []
            chosen = "keyword" if vector is None else chosen
            values |= {"vector": vector, "embedder": self._embedding.embedder.name}
        statement = await self._search_statement(chosen, prepared)
        rows: list[Any] = await self.db.fetch(statement, statement.bind(values))
        return [
            SearchHit.model_construct(
                item=item,
                score=row["_score"],
                snippet=row["_snippet"],
                keyword_rank=row["_keyword_rank"],
                semantic_rank=row["_semantic_rank"],
            )
            for item, row in zip(await self._load(self.dto, rows), rows, strict=True)
        ]

    def _chosen(self, mode: object) -> SearchMode:
        """What a search goes by.

        Raises:
            UsageError: the model does not declare what that takes.
            ValidationError: there is no such mode.
        """
        declared = self.source.config.features
        if mode is not None and mode not in get_args(SearchMode):
            raise ValidationError.of("mode", f"is not one of {', '.join(get_args(SearchMode))}")
        if mode in (None, "hybrid") and declared.search and declared.embedding:
            return "hybrid"
        if mode is None and declared.embedding:
            return "semantic"
        if mode in ("semantic", "hybrid") and declared.embedding is None:
            raise UsageError(
                f"{mode} search compares meanings, and {self.source.name} declares no embedding to do it with: use "
                "mode='keyword', which searches words, or add `features: {embedding: ...}` to the model."
            )
        if mode != "semantic" and declared.search is None:
            raise UsageError(
                f"{self.source.name} declares no search: add `features: {{search: {{weights: ...}}}}` to the model."
            )
        return "semantic" if mode == "semantic" else "keyword"

    # By meaning

    @property
    def _embedding(self) -> Embedding:
        feature = self._features.feature("embedding") if self._features is not None else None
        if not isinstance(feature, Embedding):
            raise UsageError(f"Nobody provides the embedding of {self.source.name}.")
        return feature

    async def _vector(self, query: str, mode: SearchMode, *, falls_back: bool) -> str | None:
        """What to look for; None if that is nothing, or not to be had while words can be searched instead."""
        try:
            return await self._embedding.query_vector(query)
        except ServiceError as error:
            if mode != "hybrid" or not falls_back:
                raise
            logger.warning("Searching %s by words only: %s", self.source.name, error)
            return None

    # Statements

    async def _search_statement(self, mode: SearchMode, filters: Filters) -> Statement:
        if mode == "keyword":
            return self._filtered(filters, mode, lambda: self._by_words(filters), "search")
        iterative = await self._embedding.scans_iteratively()
        build = self._by_both if mode == "hybrid" else self._by_meaning
        return self._filtered(
            filters, (mode, iterative), lambda: build(filters, iterative=iterative), "search"
        )

    def _by_words(self, filters: Filters) -> Any:
        config = self.source.config.features.search
        assert config is not None
        table = self.source.table
        language, words = query_words(self.source)
        score = sa.func.ts_rank_cd(table.c[config.column], words, 1 | 32).label("_score")
        best = (
            sa.select(*self._selected(self.dto, *config.weights, self.source.key), score)
            .where(has_words(self.source), *filters.build())
            .order_by(score.desc(), table.c[self.source.key].desc())
            .limit(parameter("limit", sa.BigInteger))
            .subquery("best")
        )
        return self._hits(best, self._words_around(best, language, words))

    def _by_meaning(self, filters: Filters, *, iterative: bool) -> Any:
        nearest = self._nearest(filters, iterative=iterative)
        ranked = sa.select(nearest, (sa.literal_column("1") - nearest.c.distance).label("score"))
        best = self._best(ranked.subquery("ranked"), {"_semantic_rank": "rank"})
        return self._hits(best, _piece(self.source, best))

    def _by_both(self, filters: Filters, *, iterative: bool) -> Any:
        meaning = self._nearest(filters, iterative=iterative)
        both = fused(by_words(self.source, filters.build, meaning), meaning)
        language, words = query_words(self.source)
        best = self._best(
            both,
            {"_keyword_rank": "keyword_rank", "_semantic_rank": "semantic_rank"},
            has_words(self.source).label("_has_words"),
        )
        around = self._words_around(best, language, words)
        snippet = sa.case((best.c["_has_words"], around), else_=_piece(self.source, best))
        return self._hits(best, snippet)

    def _nearest(self, filters: Filters, *, iterative: bool) -> sa.CTE:
        declared = self.source.config.features.embedding
        assert declared is not None
        return Nearest(self.source, declared.dimension, filters.build, iterative).by_meaning()

    def _best(self, ranked: sa.FromClause, ranks: dict[str, str], *more: Any) -> sa.Subquery:
        """The best of the ranked rows, with what is to be shown of them."""
        config = self.source.config.features
        key = self.source.table.c[self.source.key]
        texts = config.search.weights if config.search is not None else ()
        pieces = config.embedding.columns if config.embedding is not None else ()
        return (
            sa.select(
                *self._selected(self.dto, *texts, *pieces, self.source.key),
                ranked.c.score.label("_score"),
                ranked.c.start.label("_start"),
                ranked.c.length.label("_length"),
                *(ranked.c[name].label(label) for label, name in ranks.items()),
                *more,
            )
            .select_from(self.source.table.join(ranked, ranked.c.key == key))
            .order_by(ranked.c.score.desc(), key.desc())
            .limit(parameter("limit", sa.BigInteger))
            .subquery("best")
        )

    def _words_around(self, best: sa.Subquery, language: Any, words: Any) -> Any:
        """Some words of the text around those of the query."""
        config = self.source.config.features.search
        weights = config.weights if config is not None else ()
        text = sa.func.concat_ws(" ", *(sa.cast(best.c[name], sa.Text) for name in weights))
        return sa.func.ts_headline(language, sa.func.left(text, _SNIPPET_TEXT), words, _SNIPPET)

    def _hits(self, best: sa.Subquery, snippet: Any) -> Any:
        """The statement itself. A snippet is made for the hits only, since it reads the whole text again."""
        fields = self._plan(self.dto).columns
        missing: Any = sa.literal_column("NULL::bigint")
        known: Any = best.c
        ranks = (
            known.get(label, missing).label(label) for label in ("_keyword_rank", "_semantic_rank")
        )
        return sa.select(
            *(best.c[name] for name in fields), best.c["_score"], *ranks, snippet.label("_snippet")
        ).order_by(best.c["_score"].desc(), best.c[self.source.key].desc())


def _piece(source: Source, best: sa.Subquery) -> Any:
    """The beginning of the piece that was found; of a text that has changed since, what stands there now."""
    text = sa.literal_column(embedded_text(source.config, "best"), sa.Text)
    length = sa.func.least(best.c["_length"], _SNIPPET_LENGTH)
    return sa.func.substr(text, best.c["_start"] + 1, length)
