"""The embedding of one model: makes its jobs with the writes, and knows how to look for a meaning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from timber.database.statements import Statement
from timber.errors import ConfigurationError
from timber.features.embedding.embedder import CheckedEmbedder
from timber.features.embedding.jobs import DeadLetter, EmbeddingStatus, Jobs
from timber.features.feature import Companion, Feature, FeatureModel, Write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from timber.database.manager import AsyncDatabaseManager
    from timber.features.embedding.embedder import Embedder

_ITERATIVE = (0, 8)
"""The version of pgvector from which on an index goes on looking until enough rows have met the filters."""

_VERSION = Statement(
    "SELECT extversion FROM pg_extension WHERE extname = 'vector'", label="pgvector"
)


@dataclass(frozen=True, slots=True)
class EmbeddingOptions:
    """How embedders are worked with. Times are in seconds.

    Attributes:
        timeout: for one call of an embedder.
        batch: how many pieces are handed to an embedder at once.
        attempts: how often a row is tried before it is given up.
        first_wait: until a row that failed is tried again; doubled each time.
        longest_wait: the most of that.
        longest_text: in characters; a row with more is given up at once.
        margin: that a worker may take beyond three calls of the embedder before others may have its rows.
    """

    timeout: float = 30.0
    batch: int = 64
    attempts: int = 6
    first_wait: float = 2.0
    longest_wait: float = 300.0
    longest_text: int = 20_000_000
    margin: float = 30.0

    @property
    def lease(self) -> float:
        """How long a worker has its rows for itself; each batch that it stores begins it anew."""
        return 3 * self.timeout + self.margin


class Embedding(Feature):
    """Keeps the vectors of a model's rows, by jobs that a worker does."""

    def __init__(
        self, model: FeatureModel, embedder: Embedder, options: EmbeddingOptions | None = None
    ) -> None:
        declared = model.config.features.embedding
        if declared is None:
            raise ConfigurationError(f"{model.config.name} declares no embedding.")
        options = options or EmbeddingOptions()
        self.options: EmbeddingOptions = options
        self.name: str = model.config.name
        self.chunk_size: int = declared.chunk_size
        self.chunk_overlap: int = declared.chunk_overlap
        self.embedder: CheckedEmbedder = CheckedEmbedder(
            embedder, model=self.name, dimension=declared.dimension, seconds=options.timeout
        )
        self.db: AsyncDatabaseManager = model.db
        self.jobs: Jobs = Jobs(
            model,
            embedder=embedder.name,
            recipe=f"{embedder.name} {self.chunk_size}/{self.chunk_overlap}",
            attempts=options.attempts,
            lease=options.lease,
            first_wait=options.first_wait,
            longest_wait=options.longest_wait,
        )
        self._iterative: bool | None = None

    # Rows on their way in

    def companions(self, write: Write) -> Sequence[Companion]:
        """A job for each row whose text is another than before; the row's deletion takes it along."""
        if write.verb == "delete":
            return ()
        if write.verb == "update" and not any(self.jobs.columns & row.keys() for row in write.rows):
            return ()
        return (self.jobs.companion,)

    # Searches

    async def query_vector(self, query: str) -> str | None:
        """What to look for, as pgvector writes it; None if the query points nowhere.

        Raises:
            UnavailableError: the embedder failed, or gave no answer in time.
            ConfigurationError: it gave something else than a vector of the declared dimension.
        """
        return await self.embedder.embed_query(query)

    async def scans_iteratively(self) -> bool:
        """Whether this server's pgvector can go on looking in the index until enough rows have met the filters.

        Raises:
            ConfigurationError: the database has no pgvector.
        """
        if self._iterative is None:
            rows = await self.db.fetch(_VERSION)
            if not rows:
                raise ConfigurationError(
                    f"The embedding of {self.name} needs pgvector, and the database has no extension `vector`: "
                    "install pgvector on the server, and create the tables again or run `timber migrate`."
                )
            version = tuple(int(part) for part in rows[0][0].split(".")[:2])
            self._iterative = version >= _ITERATIVE
        return self._iterative

    # Figures, and what is in an operator's hands

    async def status(self) -> EmbeddingStatus:
        """How many rows are embedded, how many wait and for how long, and how many were given up."""
        return await self.jobs.status()

    async def dead_letters(self, limit: int = 100) -> list[DeadLetter]:
        """Rows that could not be embedded, with the reasons."""
        return await self.jobs.dead_letters(limit)

    async def retry_dead(self) -> int:
        """Have everything tried again that was given up; how many rows."""
        return await self.jobs.retry_dead()

    async def queue_missing(self) -> int:
        """Make jobs for rows that were there before their model had an embedding, and for rows that another embedder
        has embedded; for how many. A worker does so by itself, at its start and every few minutes.
        """
        total = 0
        for queue in (self.jobs.queue_missing, self.jobs.queue_others):
            while number := await queue():
                total += number
        return total

    async def queue_changed(self) -> int:
        """Look through all rows for texts that somebody's own SQL has changed past Timber, and make jobs for them; how
        many.
        """
        total, last = 0, None
        while True:
            last, number = await self.jobs.queue_changed(last)
            total += number
            if last is None:
                return total
