"""Who provides embeddings for all models of one Timber: the embedders, by name, and the worker for their jobs."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from timber.database.statements import Statement
from timber.errors import ConfigurationError
from timber.features.embedding.embedding import Embedding, EmbeddingOptions
from timber.features.embedding.worker import EmbeddingWorker
from timber.features.feature import FeatureModel, FeatureProvider
from timber.models.column_types import nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from timber.database.manager import AsyncDatabaseManager
    from timber.features.background import BackgroundWork
    from timber.features.embedding.embedder import Embedder
    from timber.models.registry import ModelRegistry

_PGVECTOR = Statement(
    "SELECT 1 FROM pg_available_extensions WHERE name = 'vector'", label="pgvector"
)


class EmbeddingProvider(FeatureProvider):
    """Embeddings for the models that declare one.

    Args:
        embedders: the one embedder of all models, or several by the names that models ask for them by.
        owned: whether the embedders are closed with the Timber.
    """

    name: ClassVar[str] = "embedding"

    def __init__(
        self,
        embedders: Embedder | Mapping[str, Embedder],
        *,
        options: EmbeddingOptions | None = None,
        owned: bool = False,
    ) -> None:
        self._embedders = embedders
        self._options = options or EmbeddingOptions()
        self._owned = owned
        self._made: dict[tuple[int, str], Embedding] = {}

    def feature(self, model: FeatureModel) -> Embedding:
        """The embedding of a model.

        Raises:
            ConfigurationError: the model asks for an embedder that is not there.
        """
        known = (id(model.db), model.config.name)
        if known not in self._made:
            self._made[known] = Embedding(model, self._embedder(model), self._options)
        return self._made[known]

    async def start(self, db: AsyncDatabaseManager, registry: ModelRegistry) -> None:
        """Make the embedding of every model that declares one.

        Raises:
            ConfigurationError: the server has no pgvector, or a model asks for an embedder that is not there.
        """
        declared = [
            name
            for name in registry.list_models()
            if registry.model_config(name).features.embedding is not None
        ]
        if declared and not await db.fetch(_PGVECTOR):
            raise ConfigurationError(
                f"{', '.join(declared)} declare an embedding, and this PostgreSQL has no pgvector: install it on the server "
                "(its package is called like postgresql-18-pgvector), or take the embedding out of the models."
            )
        for name in declared:
            self.feature(FeatureModel(registry.model_config(name), registry.table(name), db))

    def background(self) -> Sequence[BackgroundWork]:
        """The worker for the jobs of all these models."""
        return (EmbeddingWorker(self._made.values()),) if self._made else ()

    @property
    def embeddings(self) -> dict[str, Embedding]:
        """The embeddings by the names of their models, after the start."""
        return {made.name: made for made in self._made.values()}

    async def close(self) -> None:
        """Close the embedders, where they are its own."""
        self._made.clear()
        for embedder in self._all().values() if self._owned else ():
            close: Any = getattr(embedder, "close", None)
            if close is not None and inspect.isawaitable(closing := close()):
                await closing

    def _all(self) -> Mapping[str, Embedder]:
        found = self._embedders
        return found if isinstance(found, Mapping) else {found.name: found}

    def _embedder(self, model: FeatureModel) -> Embedder:
        declared = model.config.features.embedding
        wanted = declared.embedder if declared is not None else None
        embedders = self._all()
        if wanted is None and len(embedders) == 1:
            return next(iter(embedders.values()))
        if wanted is None:
            raise ConfigurationError(
                f"{model.config.name} does not say which embedder it wants, and there are {', '.join(sorted(embedders))}: "
                "name one in its `features: {embedding: {embedder: ...}}`."
            )
        if wanted not in embedders:
            raise ConfigurationError(
                f"{model.config.name} wants the embedder {wanted!r}, and there is none of that name"
                f"{nearest(wanted, embedders)}: pass it to EmbeddingProvider."
            )
        return embedders[wanted]
