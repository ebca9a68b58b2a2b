"""What a running Timber can be asked for at any moment, without a word to the database."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from timber.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from timber import Timber
    from timber.cache.coherence.cache import CoherentCache


class CacheReads(NamedTuple):
    """How many reads of a model had this outcome at this level."""

    level: str
    model: str
    outcome: str
    number: int


def is_running(timber: Timber) -> bool:
    """Whether it has been started and not been closed."""
    try:
        timber.db  # noqa: B018  # it raises
    except UsageError:
        return False
    return True


def cache_reads(timber: Timber) -> Iterator[CacheReads]:
    """What became of reads through the cache; nothing where there is none."""
    cache: CoherentCache | None = None
    with suppress(UsageError):
        cache = getattr(timber, "cache", None)
    if cache is None:
        return
    for level, models in cache.levels.stats.levels.items():
        for model, counts in models.items():
            yield CacheReads(level, model, "hit", counts.hits)
            yield CacheReads(level, model, "miss", counts.misses)
            yield CacheReads(level, model, "stale_prevented", counts.stale_prevented)
            yield CacheReads(level, model, "corrupted", counts.corrupted)
