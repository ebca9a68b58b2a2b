"""The coherent cache of one Timber: both levels, and the protocol above them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from timber.cache import keys
from timber.cache.coherence.changes import Changes
from timber.cache.coherence.clock import LoopClock
from timber.cache.coherence.keeping import Keeping
from timber.cache.coherence.levels import Kind, Levels
from timber.cache.coherence.listening import Listening
from timber.cache.coherence.owing import Owing, Waiting, new_owed_id, owed_statement, owed_text
from timber.cache.coherence.reading import Reading
from timber.cache.coherence.reading_many import read_many
from timber.cache.coherence.remains import Remains
from timber.cache.coherence.store import UnreachableError
from timber.cache.coherence.subscription import Subscription
from timber.cache.coherence.writing import Writing
from timber.cache.memory import MISSING, MemoryCache
from timber.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from redis.asyncio import Redis

    from timber.cache.codec import Codec
    from timber.cache.coherence.clock import Clock
    from timber.cache.coherence.inventory import Inventory
    from timber.cache.coherence.owing import OwedRows
    from timber.cache.coherence.reading import Load
    from timber.cache.coherence.reading_many import LoadMany
    from timber.cache.coherence.redis_store import RedisStore

LONGEST_MEMORY_TTL = 300.0
ALONE_MEMORY_TTL = 5.0
_START_SECONDS = 1.0


class CoherentCache:
    """Copies that are never older than what was acknowledged.

    Args:
        memory: the first level.
        store: the second level; None for a cache in this process alone.
        client: the client for the subscription, with ``store``; it is closed with the cache.
        owed: the table of owed rows; None only where no other process and no crash can come between.
        channel: where clears are announced.
        in_transaction: whether the caller is in a unit of work, where nothing is read from a cache.
        is_sole_writer: without Redis: no other process writes, so that copies may live for longer than 5 seconds.
    """

    def __init__(
        self,
        *,
        memory: MemoryCache | None = None,
        store: RedisStore | None = None,
        client: Redis | None = None,
        channel: str = "timber:clear",
        owed: OwedRows | None = None,
        clock: Clock | None = None,
        in_transaction: Callable[[], bool] = lambda: False,
        is_sole_writer: bool = False,
    ) -> None:
        self.clock: Clock | LoopClock = clock or LoopClock()
        self.memory: MemoryCache = memory or MemoryCache()
        self.levels: Levels = Levels(self.memory, store, self.clock, is_heard=store is None)
        self.owing: Owing | None = (
            None if owed is None or store is None else Owing(self.levels, owed)
        )
        self.reading: Reading = Reading(self.levels)
        self.writing: Writing = Writing(self.levels, self.owing)
        self.listening: Listening = Listening(self.levels)
        self.in_transaction = in_transaction
        self.models: dict[str, Any] = {}  # a ModelCache each, which is made with this one
        """The caches of the models of a database, by their names."""
        self._behind: dict[tuple[str, ...], list[str]] = {}
        self.on_close: list[Callable[[], Any]] = []
        """What ends with the cache, in reverse order."""
        self._store = store
        self._client = client
        self._channel = channel
        self._keeping: Keeping | None = None
        self._longest = (
            LONGEST_MEMORY_TTL if store is not None or is_sole_writer else ALONE_MEMORY_TTL
        )

    # Begin and end

    async def start(self) -> None:
        """Begin to listen and to keep; waits a second for Redis, and goes on without it."""
        store = self._store
        if store is None:
            return
        assert self._client is not None
        store.on_epoch.append(self.listening.epoch_changed)
        subscription = Subscription(
            self._client, self._channel, store, self.listening, self.writing
        )
        self.clock.spawn(subscription.run())
        self._keeping = Keeping(self.clock, store, store.breaker, self.writing, self.owing)
        self.clock.spawn(self._keeping.run())
        try:
            async with asyncio.timeout(_START_SECONDS):
                await subscription.ready.wait()
        except TimeoutError:
            store.breaker.open()

    async def close(self) -> None:
        """End the background, repeat what is unconfirmed once, forget every copy and close the clients."""
        if isinstance(self.clock, LoopClock):
            await self.clock.close()
        if self._keeping is not None:
            await self._keeping.finish()
        self.listening.lost()
        if self._store is not None:
            await self._store.close()
        if self._client is not None:
            await self._client.aclose()
        for end in reversed(self.on_close):
            ending = end()
            if ending is not None:
                await ending
        self.on_close.clear()

    async def settle(self) -> None:
        """Delete the owed rows that are paid, while there still is a database."""
        if self._keeping is not None:
            await self._keeping.settle()

    # Reading

    def models_behind(self, tags: tuple[str, ...]) -> list[str]:
        """The models that declare tags like these, whatever stands in their braces."""
        found = self._behind.get(tags)
        if found is None:
            wanted = {keys.skeleton(tag) for tag in tags}
            found = self._behind[tags] = [
                name
                for name, cached in self.models.items()
                if any(keys.skeleton(tag.text) in wanted for tag in cached.model.tags)
            ]
        return found

    def kind(self, model: str, codec: Codec[Any], *, ttl: float = 3600.0) -> Kind:
        """A kind of entries, made once for each model and form of answer.

        Args:
            ttl: seconds an entry may live; L1 keeps it for 300 at most.
        """
        stats = self.levels.stats
        memory_ttl = min(ttl, self._longest)
        return Kind(model, codec, ttl, memory_ttl, stats.of("l1", model), stats.of("l2", model))

    def peek(self, kind: Kind, name: str) -> Any:
        """The frozen value out of L1, or ``MISSING``; synchronous, for the hot path before :meth:`read`."""
        found = self.memory.peek(name)
        if found is not MISSING:
            kind.l1.hits += 1
        return found

    async def read(self, kind: Kind, name: str, load: Load, *, tags: Sequence[str] = ()) -> Any:
        """The frozen value of a name.

        Args:
            load: reads it from the primary, outside a transaction; None where there is nothing, which is kept too.
            tags: what the answer hangs on besides the model and its own name.
        """
        return await self.reading.read(kind, name, tags, load)

    async def read_many(self, kind: Kind, names: Sequence[str], load: LoadMany) -> dict[str, Any]:
        """Frozen values of many rows: one round trip, one load for all that are missing."""
        return await read_many(self.reading, kind, names, load)

    # Writing

    def changes(self) -> Changes:
        """An empty collection of changes, one for each transaction and each savepoint in it."""
        return Changes()

    def owed_statement(self, changes: Changes) -> tuple[str, list[object]] | None:
        """The owed row of a transaction, to be written in it before COMMIT; None where none is needed."""
        if self.owing is None or not changes:
            return None
        return owed_statement(changes)

    def owed_text(self, changes: Changes) -> str | None:
        """The same as SQL without parameters."""
        return None if self.owing is None or not changes else owed_text(changes)

    async def committed(self, changes: Changes) -> None:
        """To be awaited after COMMIT, before callbacks run and before the call returns."""
        await self.writing.committed(changes)

    async def unknown(self, changes: Changes) -> None:
        """To be awaited after an unknown outcome: clears as if committed, and leaves the owed row to the replay."""
        await self.writing.committed(changes, is_known=False)

    def overdue(self, changes: Changes) -> None:
        """Like :meth:`unknown` for a task that has no time: Redis is told in the background."""
        self.writing.begin(changes, is_known=False)

    async def invalidate(
        self, model: str, *, ids: Iterable[object] = (), tags: Iterable[str] = ()
    ) -> None:
        """Say what somebody else has committed; with neither ids nor tags everything of the model."""
        changes = self.changes()
        changes.add_said(model, ids, tags)
        if self.owing is not None:
            changes.owed = new_owed_id()
            await self.owing.rows.add(changes.owed, changes.names)
        await self.committed(changes)

    async def clear(self) -> None:
        """Throw every copy away, here and everywhere.

        Raises:
            UnavailableError: Redis cannot be reached; the copies in this process are gone.
        """
        self.levels.drop_all()
        if self._store is None:
            return
        try:
            await self._store.wipe()
        except UnreachableError as error:
            raise UnavailableError(
                "Redis cannot be reached, so that the copies there and in other processes stay: try again."
            ) from error

    async def inventory(self) -> Inventory:
        """What there is in Redis, counted key by key.

        Raises:
            UnavailableError: Redis cannot be reached.
            UsageError: there is none.
        """
        if self._store is None:
            raise UsageError("This cache is in the memory of a process alone: ask it for stats().")
        try:
            return await self._store.inventory()
        except UnreachableError as error:
            raise UnavailableError("Redis cannot be reached.") from error

    async def owed(self) -> Waiting:
        """The owed rows of all processes that have not been paid yet."""
        return Waiting(0, 0.0) if self.owing is None else await self.owing.rows.waiting()

    @staticmethod
    def versioned(name: str, version: object) -> str:
        """The name of a copy that is never changed, since its version is a part of it."""
        return keys.versioned(name, version)

    # Looking

    async def health_check(self) -> bool:
        """Whether Redis answers as a primary; a cache in the process alone is always there."""
        return self._store is None or await self._store.probe()

    @property
    def remains(self) -> Remains:
        """Looks through all copies for what is left of somebody."""
        store = self._store
        keys = None if store is None else store.keys
        return Remains(self.memory, self._client if store is not None else None, keys)

    def stats(self) -> dict[str, Any]:
        """Counts for each level and model, and the state of the whole."""
        taken = self.memory.bytes_by_first_tag()
        for model, counts in self.levels.stats.levels["l1"].items():
            counts.bytes = taken.get(model, 0)
        stats = self.levels.stats.as_dict()
        stats["memory"] = {
            "entries": len(self.memory),
            "bytes": self.memory.bytes,
            "evictions": self.memory.evictions,
        }
        stats["breaker"] = None if self._store is None else self._store.breaker.state
        stats["breaker_opened"] = 0 if self._store is None else self._store.breaker.opened
        stats["is_heard"] = self.levels.is_heard
        stats["unconfirmed"] = len(self.levels.unconfirmed)
        return stats
