"""A model with every feature, two of its rows, and what can be seen of them beside the library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import asyncpg

from timber import Repository, Service, Timber
from timber.features.embedding.provider import EmbeddingProvider

OLD = {"secret": "old-secret", "level": 1, "body": "old body"}
NEW = {"secret": "new-secret", "level": 2, "body": "new body"}
BAD = {"secret": "new-secret", "level": 99, "body": "new body"}


@dataclass(slots=True)
class Scene:
    """What a path works on.

    Attributes:
        keys: of the two rows that are there, numbered 1 and 2, with the values of OLD.
        shelf: the key of a row to link to.
        values: what the path is to write.
    """

    timber: Timber
    rows: Repository[Any]
    service: Service[Any]
    beside: asyncpg.Connection[Any]
    keys: list[Any]
    shelf: Any
    embedding: EmbeddingProvider
    values: dict[str, Any]

    def new(self, number: int = 3) -> dict[str, Any]:
        """A whole new row with the values that the path is to write."""
        return {"number": number, "user_id": "u", **self.values}

    async def stored(self) -> list[asyncpg.Record]:
        """The rows as PostgreSQL has them, by number."""
        return await self.beside.fetch("SELECT * FROM dossiers ORDER BY number")

    async def audited(self) -> list[asyncpg.Record]:
        return await self.beside.fetch(
            "SELECT action, row_key, fields FROM timber_audit WHERE model = 'Dossier' ORDER BY id"
        )

    async def recorded(self) -> int:
        count: int = await self.beside.fetchval("SELECT count(*) FROM records")
        return count

    async def embed(self) -> None:
        """Make the vectors of whatever waits for them."""
        for work in self.embedding.background():
            await work.step()

    async def cached_reads(self, *, fresh: bool = False) -> list[object]:
        """What reads give that may come from the cache."""
        rows = self.rows
        return [
            await rows.get_or_none(self.keys[0], fresh=fresh),
            await rows.get_many(self.keys, fresh=fresh),
            await rows.find(user_id="u", fresh=fresh),
            await rows.count(user_id="u", fresh=fresh),
            (await rows.page(user_id="u", fresh=fresh)).total,
        ]

    @property
    def hits(self) -> int:
        """How many reads the memory has answered."""
        hits: int = self.timber.cache.stats()["l1"]["Dossier"]["hits"]
        return hits

    async def pending(self) -> set[Any]:
        """The keys of the rows that wait to be embedded."""
        rows = await self.beside.fetch(
            "SELECT row_key FROM timber_dossiers_embedding WHERE state = 'pending'"
        )
        return {row[0] for row in rows}
