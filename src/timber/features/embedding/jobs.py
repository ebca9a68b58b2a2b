"""One model's embedding jobs: made with the writes, claimed, stored behind a fence, or given up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy.dialects import postgresql

from timber.database.statements import Statement
from timber.features.embedding import job_sql
from timber.features.feature import Companion
from timber.models.embedding_tables import (
    DEAD,
    DONE,
    PENDING,
    chunks_table,
    embedded_text,
    jobs_table,
    text_hash,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from uuid import UUID

    from timber.features.embedding.chunking import Chunk
    from timber.features.feature import FeatureModel


@dataclass(frozen=True, slots=True)
class EmbeddingStatus:
    """How far the vectors of a model's rows have come.

    Attributes:
        rows: all of them, soft-deleted ones too.
        embedded: those whose vectors are those of their text.
        pending: those that wait for a worker, or are being worked at.
        dead: those that could not be embedded; :meth:`Embedding.dead_letters` has the reasons.
        chunks: pieces with a vector.
        oldest_pending_seconds: how long the oldest of those pending has waited; None where none is.
    """

    rows: int
    embedded: int
    pending: int
    dead: int
    chunks: int
    oldest_pending_seconds: float | None

    @property
    def coverage(self) -> float:
        """The share of the rows that are embedded, from 0 to 1."""
        return self.embedded / self.rows if self.rows else 1.0


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A row that could not be embedded: its key, the reason, and since when it waits."""

    key: Any
    reason: str
    queued_at: datetime


Place = tuple[int, int, int]
Stored = dict[bytes, Place | None]
"""Pieces by their digests, with number, start and length; None of those that another embedder has embedded."""


@dataclass(slots=True)
class Work:
    """A row that is being embedded.

    Attributes:
        text: what it is embedded by, and ``digest`` the digest of that.
        chunks: its pieces.
        missing: the digests of those that have no vector yet.
        moved: the numbers of those that have one, and stand elsewhere now.
        gone: the digests of stored pieces that it no longer has.
    """

    key: Any
    text: str
    digest: bytes
    chunks: list[Chunk]
    missing: set[bytes]
    moved: list[int]
    gone: list[bytes]

    @classmethod
    def of(cls, key: Any, text: str, digest: bytes, made: list[Chunk], stored: Stored) -> Work:
        """What is to be done so that the stored pieces are those of the text."""
        wanted = {chunk.digest for chunk in made}
        there = {piece: place for piece, place in stored.items() if place is not None}
        return cls(
            key,
            text,
            digest,
            made,
            missing=wanted - there.keys(),
            moved=[
                number
                for number, chunk in enumerate(made)
                if chunk.digest in there
                and there[chunk.digest] != (number, chunk.start, chunk.length)
            ],
            gone=[piece for piece in stored if piece not in wanted],
        )


@dataclass(frozen=True, slots=True)
class Made:
    """A vector, as pgvector writes it, of one piece of a row."""

    work: Work
    number: int
    vector: str


class Jobs:
    """The jobs of one model, and the pieces that came of them.

    Args:
        attempts: how often a row is tried before it is given up.
        lease: seconds that a claimed row is its claimer's alone.
        first_wait: seconds until a row that failed is tried again, doubled each time up to ``longest_wait``.
    """

    def __init__(
        self,
        model: FeatureModel,
        *,
        embedder: str,
        recipe: str,
        attempts: int,
        lease: float,
        first_wait: float,
        longest_wait: float,
    ) -> None:
        self._db = model.db
        self._embedder = embedder
        self._recipe = recipe
        self._attempts = attempts
        self._lease = lease
        self._waits = (first_wait, longest_wait)
        config, key = model.config, model.table.c[model.config.primary_key]
        text = embedded_text(config, "t")
        self._names = {
            "table": config.table,
            "key": key.name,
            "key_type": key.type.compile(dialect=postgresql.dialect()),  # type: ignore[no-untyped-call]
            "jobs": jobs_table(config.table),
            "chunks": chunks_table(config.table),
            "text": text,
            "hash": text_hash(text),
            "hash_of_text": text_hash("s.text"),
            "pending": PENDING,
            "done": DONE,
            "dead": DEAD,
        }
        self._model = config.name
        self._statements: dict[str, Statement] = {}
        written = text_hash(embedded_text(config, "w"))
        columns = config.features.embedding.columns if config.features.embedding else ()
        self.columns: frozenset[str] = frozenset(columns)
        """The columns whose text is embedded."""
        self.companion: Companion = Companion(
            job_sql.QUEUE.format(**{**self._names, "hash": written}),
            needs=tuple(dict.fromkeys((key.name, *columns))),
        )
        """Makes a job for every written row whose text is another than before."""

    # Jobs that no write has made

    async def queue_missing(self, limit: int = 500) -> int:
        """Make jobs for rows that have none, such as those that were there before; for how many."""
        return len(await self._write(job_sql.QUEUE_MISSING, limit))

    async def queue_others(self, limit: int = 500) -> int:
        """Have rows embedded again whose vectors another embedder made, or of pieces of another size; how many."""
        return len(await self._write(job_sql.QUEUE_OTHERS, self._recipe, limit))

    async def queue_changed(self, after: Any = None, limit: int = 500) -> tuple[Any, int]:
        """Look through some rows behind a key for texts that have been changed past Timber.

        Returns:
            The last key looked at, None at the end, and for how many a job was made.
        """
        found = await self._write(job_sql.QUEUE_CHANGED, after, limit)
        return (found[0]["row_key"], found[0]["changed"]) if found else (None, 0)

    async def retry_dead(self) -> int:
        """Have everything tried again that was given up; how many rows."""
        return len(await self._write(job_sql.RETRY_DEAD))

    # A worker's

    async def claim(self, token: UUID, limit: int) -> dict[Any, int]:
        """Take up to so many rows for the length of a lease; how often each has been tried, this time included."""
        rows = await self._write(job_sql.CLAIM, limit, token, self._lease)
        return {row["row_key"]: row["attempts"] for row in rows}

    async def measure(self, keys: Iterable[Any]) -> dict[Any, int]:
        """How many characters the texts of these rows have; of those that are still there."""
        rows = await self._fetch(job_sql.MEASURE, list(keys))
        return {row["key"]: row["length"] for row in rows}

    async def read(self, keys: Iterable[Any], token: UUID) -> dict[Any, tuple[str, bytes]]:
        """The texts of these rows and their digests."""
        rows = await self._fetch(job_sql.READ, list(keys))
        found = {row["key"]: (row["text"], row["text_hash"]) for row in rows}
        if found:
            digests = [digest for _, digest in found.values()]
            await self._write(job_sql.ADOPT, list(found), digests, token)
        return found

    async def stored(self, keys: Iterable[Any]) -> dict[Any, Stored]:
        """The stored pieces of these rows by their digests."""
        found: dict[Any, Stored] = {}
        for row in await self._fetch(job_sql.STORED, list(keys), self._embedder):
            place = (row["number"], row["start"], row["length"]) if row["is_ours"] else None
            found.setdefault(row["row_key"], {})[row["text_hash"]] = place
        return found

    async def store(self, token: UUID, made: Sequence[Made], finished: Sequence[Work]) -> set[Any]:
        """Store vectors, and end the jobs that have them all.

        Nothing is stored for a row whose text has changed since it was read, that somebody else has claimed meanwhile,
        or that is gone.

        Returns:
            The rows for which something was stored.
        """
        works = {id(work): work for work in (*finished, *(one.work for one in made))}
        ended = {id(work) for work in finished}
        pieces: list[tuple[Any, int, Chunk, str | None]] = [
            (one.work.key, one.number, one.work.chunks[one.number], one.vector) for one in made
        ]
        pieces += [
            (work.key, number, work.chunks[number], None)
            for work in finished
            for number in work.moved
        ]
        gone = [(work.key, digest) for work in finished for digest in work.gone]
        rows = await self._write(
            job_sql.STORE,
            [work.key for work in works.values()],
            [work.digest for work in works.values()],
            [key in ended for key in works],
            token,
            [key for key, _, _, _ in pieces],
            [chunk.digest for _, _, chunk, _ in pieces],
            [number for _, number, _, _ in pieces],
            [chunk.start for _, _, chunk, _ in pieces],
            [chunk.length for _, _, chunk, _ in pieces],
            [vector for _, _, _, vector in pieces],
            self._embedder,
            [key for key, _ in gone],
            [digest for _, digest in gone],
            self._recipe,
            self._lease,
        )
        return {row["row_key"] for row in rows}

    async def fail(
        self, token: UUID, reasons: dict[Any, str], *, final: bool = False
    ) -> dict[Any, bool]:
        """Put rows back for a later attempt, or give them up; which of them were given up.

        Args:
            final: whether no other attempt can help.
        """
        rows = await self._write(
            job_sql.FAIL,
            list(reasons),
            list(reasons.values()),
            [final] * len(reasons),
            token,
            self._attempts,
            *self._waits,
        )
        return {row["row_key"]: row["state"] == DEAD for row in rows}

    async def release(self, token: UUID, keys: Iterable[Any]) -> None:
        """Give rows back that were not tried."""
        given = list(keys)
        if given:
            await self._write(job_sql.RELEASE, given, token)

    # Figures

    async def status(self) -> EmbeddingStatus:
        """How far the vectors have come."""
        return EmbeddingStatus(**dict((await self._fetch(job_sql.STATUS))[0]))

    async def dead_letters(self, limit: int) -> list[DeadLetter]:
        """Rows that were given up."""
        return [
            DeadLetter(row["row_key"], row["reason"] or "", row["queued_at"])
            for row in await self._fetch(job_sql.DEAD, limit)
        ]

    # Inside

    def _statement(self, sql: str) -> Statement:
        statement = self._statements.get(sql)
        if statement is None:
            made = Statement(sql.format(**self._names), label=f"embed {self._model}")
            statement = self._statements[sql] = made
        return statement

    async def _fetch(self, sql: str, *args: object) -> list[Any]:
        return await self._db.fetch(self._statement(sql), args)

    async def _write(self, sql: str, *args: object) -> list[Any]:
        return await self._db.write(self._statement(sql), args)
