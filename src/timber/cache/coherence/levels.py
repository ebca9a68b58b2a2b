"""What reading, writing and listening in one process share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from timber.cache.coherence.flights import Flights
from timber.cache.coherence.stats import Counts, Stats
from timber.cache.coherence.unconfirmed import Unconfirmed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from timber.cache.codec import Codec
    from timber.cache.coherence.clock import Clock
    from timber.cache.coherence.store import Store
    from timber.cache.memory import MemoryCache


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of entries: the rows of a model, its lists, its counts.

    Attributes:
        model: the model's name, a tag of every entry.
        codec: freezes and packs the values.
        ttl: seconds an entry may live in Redis.
        memory_ttl: seconds an entry may live in the process.
    """

    model: str
    codec: Codec[Any]
    ttl: float
    memory_ttl: float
    l1: Counts
    l2: Counts


@dataclass(slots=True)
class Levels:
    """The state of one process.

    Attributes:
        is_heard: whether this process hears of the changes of the others: L1 is off while it does not.
    """

    memory: MemoryCache
    store: Store | None
    clock: Clock
    lease_seconds: float = 3.0
    stats: Stats = field(default_factory=Stats)
    flights: Flights = field(default_factory=Flights)
    unconfirmed: Unconfirmed = field(default_factory=Unconfirmed)
    is_heard: bool = False

    def drop(self, names: Sequence[str]) -> None:
        """Forget copies of what has changed and overtake its loads."""
        self.memory.drop_tagged(names)
        self.flights.overtake(names)
        for name in names:
            self.stats.invalidated("l1", name)

    def drop_all(self) -> None:
        """Forget every copy and overtake every load."""
        self.memory.wipe()
        self.flights.overtake_all()
