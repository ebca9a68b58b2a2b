"""Full-text search over the model's search column."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.dialects.postgresql import REGCONFIG

from timber.database.statements import parameter
from timber.dto import SearchHit
from timber.errors import UsageError, ValidationError
from timber.repository.ordering import check_limit
from timber.repository.querying import MAX_LIMIT, Querying
from timber.repository.source import check_text

D = TypeVar("D", bound=BaseModel)

_QUERY_LIMIT = 10_000
_SNIPPET = "MaxWords=25, MinWords=10, MaxFragments=1, StartSel=**, StopSel=**"
_SNIPPET_TEXT = 100_000  # characters of a document that a snippet is looked for in


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
        limit: int = 20,
        owner: str | None = None,
        include_deleted: bool = False,
        **equals: object,
    ) -> list[SearchHit[D]]:
        """The rows whose text matches, best first.

        Args:
            query: words as people type them, up to 10,000 characters: quotes hold a phrase together, ``or`` and ``-`` work.
            limit: 1 to 1000.

        Raises:
            UsageError: the model declares no search.
            ValidationError: naming the filter or argument that does not fit; nothing has been sent.
        """
        config = self.source.config.features.search
        if config is None:
            raise UsageError(
                f"{self.source.name} declares no search: add `features: {{search: {{weights: ...}}}}` to the model."
            )
        if len(check_text("query", query)) > _QUERY_LIMIT:
            raise ValidationError.of("query", f"is longer than {_QUERY_LIMIT} characters")
        check_limit(limit, "limit", MAX_LIMIT)
        prepared = self._filters(filters, equals, owner, include_deleted)
        if not query.strip():
            return []

        def build() -> Any:
            table = self.source.table
            language = sa.literal_column(f"'{config.language}'::regconfig", REGCONFIG)
            words = sa.func.websearch_to_tsquery(language, parameter("query", sa.Text))
            vector = table.c[config.column]
            fields = self._plan(self.dto).columns
            score = sa.func.ts_rank_cd(vector, words, 1 | 32).label("_score")
            best = (
                sa.select(*self._selected(self.dto, *config.weights, self.source.key), score)
                .where(vector.op("@@", is_comparison=True)(words), *prepared.build())
                .order_by(score.desc(), table.c[self.source.key].desc())
                .limit(parameter("limit", sa.BigInteger))
                .subquery("best")
            )
            text = sa.func.concat_ws(
                " ", *(sa.cast(best.c[name], sa.Text) for name in config.weights)
            )
            # Made for the hits only: a snippet parses the whole text again.
            snippet = sa.func.ts_headline(
                language, sa.func.left(text, _SNIPPET_TEXT), words, _SNIPPET
            )
            return sa.select(
                *(best.c[name] for name in fields), best.c["_score"], snippet.label("_snippet")
            ).order_by(best.c["_score"].desc(), best.c[self.source.key].desc())

        statement = self._filtered(prepared, None, build, "search")
        values = {**prepared.values, "query": _sensible(query), "limit": limit}
        rows: list[Any] = await self.db.fetch(statement, statement.bind(values))
        return [
            SearchHit.model_construct(item=item, score=row["_score"], snippet=row["_snippet"])
            for item, row in zip(await self._load(self.dto, rows), rows, strict=True)
        ]
