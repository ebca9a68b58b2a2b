"""Reading through the levels: L1, then Redis under a lease, then the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from timber.cache.codec import PayloadError
from timber.cache.coherence.envelope import HEAD_BYTES, LEASE, open_seal
from timber.cache.coherence.store import Fill, Lease, UnreachableError, Wish
from timber.cache.memory import MISSING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from timber.cache.coherence.flights import Flight
    from timber.cache.coherence.levels import Kind, Levels

    Load = Callable[[], Awaitable[Any]]

_FIRST_PAUSE = 0.002
_LONGEST_PAUSE = 0.05


class Reading:
    """The readers of one process."""

    def __init__(self, levels: Levels) -> None:
        self.levels = levels

    async def read(self, kind: Kind, name: str, tags: Sequence[str], load: Load) -> Any:
        """The frozen value: a copy that is current, or what ``load`` reads from the database.

        A change that this process has acknowledged is in it, and a change that was rolled back is not.
        """
        levels = self.levels
        found = levels.memory.peek(name)
        if found is not MISSING:
            kind.l1.hits += 1
            return found
        kind.l1.misses += 1
        stamped = (kind.model, *tags)
        while True:
            if levels.unconfirmed.covers(name, stamped):
                levels.stats.direct += 1
                return kind.codec.freeze(await load())
            flight = levels.flights.joinable(name)
            if flight is None:
                return await self._lead(kind, name, stamped, load)
            landing = await flight.wait(levels.clock)
            if landing == "value":
                levels.stats.joined += 1
                return flight.value
            if landing == "failed":
                # Its error belongs to the task that met it. Each of the others asks for itself, as without a cache.
                levels.stats.direct += 1
                return kind.codec.freeze(await load())

    async def _lead(self, kind: Kind, name: str, tags: tuple[str, ...], load: Load) -> Any:
        flights = self.levels.flights
        flight = flights.begin(name, tags, overtaken=not self.levels.is_heard)
        try:
            frozen = await self._through(kind, name, tags, load, flight)
        except Exception:
            flights.end(flight, "failed")
            raise
        except BaseException:
            flights.end(flight, "handed_over")
            raise
        flights.end(flight, "value", frozen)
        return frozen

    async def _through(
        self, kind: Kind, name: str, tags: tuple[str, ...], load: Load, flight: Flight
    ) -> Any:
        levels = self.levels
        if levels.store is None:
            frozen = kind.codec.freeze(await load())
            self.keep(kind, flight, frozen, len(kind.codec.encode(frozen)))
            return frozen
        try:
            found = await self._from_store(kind, name, tags, flight)
        except UnreachableError:
            found = None
        if not isinstance(found, Lease):
            if found is not None:
                return found[0]
            levels.stats.direct += 1
            return kind.codec.freeze(await load())
        return await self._fill(kind, found, load, flight)

    async def _from_store(
        self, kind: Kind, name: str, tags: tuple[str, ...], flight: Flight
    ) -> tuple[Any] | Lease | None:
        """A hit, the lease to fill with, or None where another one holds it for too long."""
        levels = self.levels
        assert levels.store is not None
        pause = _FIRST_PAUSE
        patience = levels.clock.now() + levels.lease_seconds
        while True:
            blob, *stamps = await levels.store.read((name,), tags)
            hit = self.check(kind, blob, stamps)
            if hit is not None:
                kind.l2.hits += 1
                assert blob is not None
                self.keep(kind, flight, hit[0], len(blob))
                return hit
            if blob is not None and blob[:1] == LEASE:
                if levels.clock.now() >= patience:
                    return None
                await levels.clock.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            lease = (await self.lease([self.wish(name, blob, tags)]))[0]
            if lease is not None:
                kind.l2.misses += 1
                return lease
            if levels.clock.now() >= patience:
                return None

    async def _fill(self, kind: Kind, lease: Lease, load: Load, flight: Flight) -> Any:
        levels = self.levels
        assert levels.store is not None
        try:
            frozen = kind.codec.freeze(await load())
        except BaseException:
            levels.clock.spawn(self.release([lease]))
            raise
        payload = kind.codec.encode(frozen)
        try:
            is_filled = (await levels.store.fill([Fill(lease, payload, kind.ttl)]))[0]
        except UnreachableError:
            is_filled = False
        self.settle(kind, flight, frozen, len(payload), is_filled=is_filled)
        return frozen

    def settle(
        self, kind: Kind, flight: Flight, frozen: Any, size: int, *, is_filled: bool
    ) -> None:
        """Count what became of a load, and keep it in L1 if Redis took it."""
        if is_filled:
            kind.l2.fills += 1
            kind.l2.bytes += size
            self.keep(kind, flight, frozen, size)
        else:
            kind.l2.fills_refused += 1

    def keep(self, kind: Kind, flight: Flight, frozen: Any, size: int) -> None:
        """Keep a value in L1, unless something has changed since its load began."""
        if flight.overtaken:
            kind.l1.stale_prevented += 1
        elif self.levels.is_heard:
            name, *tags = flight.names
            self.levels.memory.keep(name, frozen, size, kind.memory_ttl, tags)
            kind.l1.fills += 1

    def check(
        self, kind: Kind, blob: bytes | None, stamps: Sequence[bytes | None]
    ) -> tuple[Any] | None:
        """The value of an entry that counts, in a tuple, since None is a value."""
        assert self.levels.store is not None
        if blob is None or blob[:1] == LEASE:
            return None
        payload = open_seal(blob, self.levels.store.epoch, stamps)
        if payload is None:
            kind.l2.stale_prevented += 1
            return None
        try:
            return (kind.codec.decode(payload),)
        except PayloadError:
            kind.l2.corrupted += 1
            return None

    def wish(self, name: str, blob: bytes | None, tags: tuple[str, ...]) -> Wish:
        """The lease wanted over what was seen."""
        token = self.levels.clock.token
        seen = b"" if blob is None else blob[:HEAD_BYTES]
        return Wish(name, seen, token(), tags, tuple([token() for _ in tags]))

    async def lease(self, wishes: Sequence[Wish]) -> list[Lease | None]:
        """Take leases, and give back what Redis grants to a reader who was cut off meanwhile."""
        assert self.levels.store is not None
        try:
            return await self.levels.store.lease(wishes)
        except Exception:
            raise
        except BaseException:
            self.levels.clock.spawn(self.release(wishes))
            raise

    async def release(self, leases: Sequence[Lease | Wish]) -> None:
        """Give back leases whose load was cut off, so that nobody waits for them."""
        assert self.levels.store is not None
        try:
            await self.levels.store.release(leases)
        except UnreachableError:
            return  # they expire
