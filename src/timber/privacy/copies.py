"""Copies of a person's rows in the caches, and what the database notes for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from timber.database.statements import Statement
from timber.models.owed_table import OWED_TABLE

if TYPE_CHECKING:
    from timber.cache.coherence.cache import CoherentCache
    from timber.privacy.planning import PersonalModels

OWED: Final = Statement(
    f"SELECT count(*) FROM {OWED_TABLE} WHERE EXISTS"  # noqa: S608  # a fixed name
    " (SELECT FROM unnest(names) AS name WHERE $1 = ANY (string_to_array(name, ':')))",
    label="count owed",
)
"""How many clears wait in the database that name a person."""


class CachedCopies:
    """The caches of one Timber: the memory of this process and Redis.

    Writes have made the copies worthless already, whoever has them; this takes out their bytes.
    """

    name = "cache"

    def __init__(self, cache: CoherentCache, models: PersonalModels) -> None:
        self._cache = cache
        self._models = [
            name
            for name, holding in models.holdings.items()
            if holding.config.features.cache is not None
        ]

    async def erase(self, person: str) -> int:
        """Drop what holds the person's id, and all lists of the models that hold personal data."""
        await self._cache.settle()
        return await self._cache.remains.drop(person, self._models)

    async def count(self, person: str) -> int:
        """How many copies hold the person's id."""
        return await self._cache.remains.count(person)
