"""The repository of one model in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel

from timber.dto import DTO, SearchHit
from timber.errors import UsageError, ValidationError
from timber.repository import Repository
from timber.repository.ordering import check_limit
from timber.repository.querying import MAX_LIMIT
from timber.repository.source import check_text
from timber.services.base import Service
from timber.testing.memory.database import InMemoryDatabase
from timber.testing.memory.searching import WEIGHTS, Query
from timber.testing.memory.writing import WritingInMemory

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from timber.features.providers import Features
    from timber.models.feature_configs import SearchConfig
    from timber.models.registry import ModelRegistry
    from timber.testing.memory.tables import Row

D = TypeVar("D", bound=BaseModel)
E = TypeVar("E", bound=BaseModel)
S = TypeVar("S", bound=Service[Any])


class InMemoryRepository(WritingInMemory[D]):
    """The verbs of a repository over rows in memory, for unit tests: the same checks, results and errors.

    What only PostgreSQL can do says so with a UsageError: SQLAlchemy expressions as filters, nested DTOs, subscriptions. Text
    is ordered by its characters, checks written in SQL are not held, and a search finds words as they are.

    Args:
        model: a mapped class of the registry.
        dto: what rows are given as.
        db: the database in memory with the rows of all models; one of its own where none is given.
    """

    def __init__(
        self,
        model: type[Any],
        dto: type[D],
        *,
        db: InMemoryDatabase,
        clock: Callable[[], datetime] | None = None,
        features: Features | None = None,
    ) -> None:
        self.memory = db
        super().__init__(db, model, dto, clock=clock, features=features)

    async def search(
        self,
        query: str,
        *filters: object,
        limit: int = 20,
        owner: str | None = None,
        include_deleted: bool = False,
        **equals: object,
    ) -> list[SearchHit[D]]:
        config = self.source.config.features.search
        if config is None:
            raise UsageError(
                f"{self.source.name} declares no search: add `features: {{search: {{weights: ...}}}}` to the model."
            )
        if len(check_text("query", query)) > 10_000:
            raise ValidationError.of("query", "is longer than 10000 characters")
        check_limit(limit, "limit", MAX_LIMIT)
        prepared = self._filters(filters, equals, owner, include_deleted)
        sought = Query(query)
        scored = [
            (score, row)
            for row in self._matching(prepared)
            if (score := sought.score(_texts(config, row))) is not None
        ]
        key = self.source.key
        scored.sort(key=lambda pair: (pair[0], pair[1][key]), reverse=True)
        best = scored[:limit]
        items = await self._dtos(self.dto, [row for _, row in best])
        return [
            SearchHit.model_construct(
                item=item, score=score, snippet=sought.snippet(_texts(config, row))
            )
            for item, (score, row) in zip(items, best, strict=True)
        ]


def _texts(config: SearchConfig, row: Row) -> list[tuple[str, float]]:
    """The texts that are searched, each with its weight; of JSON every string in it."""
    return [
        (text, WEIGHTS[weight])
        for name, weight in config.weights.items()
        for text in _strings(row[name])
    ]


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)
    elif isinstance(value, str):
        yield value


def in_memory(
    service: type[S],
    db: InMemoryDatabase | None = None,
    *,
    registry: ModelRegistry | None = None,
    **options: Any,
) -> S:
    """Make a service over rows in memory.

    Args:
        db: the database, where several services are to share one; ``service.db`` has that of one alone.
        registry: the models, where no database is given.
        options: what else the service takes.
    """
    database = db if db is not None else InMemoryDatabase(registry)

    def repository_of(self: Service[Any], model: str, dto: type[DTO]) -> Repository[Any]:
        rows = database.registry.get_model(model)
        return InMemoryRepository(rows, dto, db=database, clock=self.clock, features=self.features)

    kind: Any = type(
        service.__name__,
        (service,),
        {"repository_of": repository_of, "__module__": service.__module__},
    )
    made: S = kind(database, registry=database.registry, **options)
    return made
