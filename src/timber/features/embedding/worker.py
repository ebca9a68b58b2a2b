"""The worker: has embedded what the writes have left to do, model by model, batch by batch."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from timber.features.embedding.batch import Batch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from timber.features.embedding.embedding import Embedding

logger: logging.Logger = logging.getLogger(__name__)

_SWEEP_SECONDS: Final = 300.0


class EmbeddingWorker:
    """Embeds what the writes of some models have left to do. Any number of workers may be at it at once.

    A worker that dies gives its rows back with the end of its lease. What fails is tried again, and given up after a
    number of attempts; the row itself is never touched.
    """

    name = "embedding"

    def __init__(self, embeddings: Iterable[Embedding]) -> None:
        self._models = [_ModelWork(embedding) for embedding in embeddings]

    async def step(self) -> int:
        """Embed one bounded batch of each model; how many rows were embedded or given up."""
        return sum([await model.step() for model in self._models])

    async def figures(self) -> Mapping[str, float]:
        """All models together: rows, embedded, pending, dead, and how long the oldest has waited."""
        found = [await model.embedding.status() for model in self._models]
        return {
            "rows": sum(status.rows for status in found),
            "embedded": sum(status.embedded for status in found),
            "pending": sum(status.pending for status in found),
            "dead": sum(status.dead for status in found),
            "oldest_pending_seconds": max(
                (status.oldest_pending_seconds or 0.0 for status in found), default=0.0
            ),
        }

    async def retry_dead(self) -> int:
        """Have everything tried again that was given up; how many rows."""
        return sum([await model.embedding.retry_dead() for model in self._models])


class _ModelWork:
    """The worker's part for one model."""

    def __init__(self, embedding: Embedding) -> None:
        self.embedding = embedding
        self._next_sweep = 0.0

    async def step(self) -> int:
        """Embed up to 64 rows; how many were dealt with, one way or the other."""
        await self._sweep()
        return await Batch(self.embedding).work()

    async def _sweep(self) -> None:
        """Make jobs for rows that no write made one for."""
        if time.monotonic() >= self._next_sweep:
            if number := await self.embedding.queue_missing():
                logger.info("%s: %d rows queued for embedding.", self.embedding.name, number)
            self._next_sweep = time.monotonic() + _SWEEP_SECONDS
