"""Reading many entries at once: one round trip to Redis, one load for all that are missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from timber.cache.coherence.envelope import LEASE
from timber.cache.coherence.store import Fill, Lease, UnreachableError
from timber.cache.memory import MISSING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from timber.cache.coherence.flights import Flight
    from timber.cache.coherence.levels import Kind
    from timber.cache.coherence.reading import Reading

    LoadMany = Callable[[Sequence[str]], Awaitable[dict[str, Any]]]


async def read_many(
    reading: Reading, kind: Kind, names: Sequence[str], load: LoadMany
) -> dict[str, Any]:
    """Frozen values by name.

    What others are loading is waited for only after our own loads have ended, so that two such calls cannot wait for one
    another. Another process's lease is not waited for: such an entry is read from the database and not filled.

    Args:
        load: gives the values of the names that are missing; a name that it leaves out has no value, None.
    """
    levels = reading.levels
    found: dict[str, Any] = {}
    ours: dict[str, Flight] = {}
    others: dict[str, Flight] = {}
    direct: list[str] = []
    for name in dict.fromkeys(names):
        hit = levels.memory.peek(name)
        if hit is not MISSING:
            kind.l1.hits += 1
            found[name] = hit
            continue
        kind.l1.misses += 1
        if levels.unconfirmed.covers(name, (kind.model,)):
            levels.stats.direct += 1
            direct.append(name)
        elif (flight := levels.flights.joinable(name)) is not None:
            others[name] = flight
        else:
            ours[name] = levels.flights.begin(name, (kind.model,), overtaken=not levels.is_heard)
    if ours or direct:
        found.update(await _lead(reading, kind, ours, direct, load))
    for name, flight in others.items():
        if await flight.wait(levels.clock) == "value":
            levels.stats.joined += 1
            found[name] = flight.value
        else:
            found[name] = await reading.read(kind, name, (), _one(name, load))
    return found


def _one(name: str, load: LoadMany) -> Callable[[], Awaitable[Any]]:
    async def one() -> Any:
        return (await load([name])).get(name)

    return one


async def _lead(
    reading: Reading, kind: Kind, ours: dict[str, Flight], direct: list[str], load: LoadMany
) -> dict[str, Any]:
    flights = reading.levels.flights
    found: dict[str, Any] = {}
    try:
        found = await _through(reading, kind, ours, direct, load)
    except Exception:
        _end_all(flights.end, ours, "failed")
        raise
    except BaseException:
        _end_all(flights.end, ours, "handed_over")
        raise
    for name, flight in ours.items():
        flights.end(flight, "value", found[name])
    return found


def _end_all(end: Callable[..., None], flights: dict[str, Flight], landing: str) -> None:
    for flight in flights.values():
        end(flight, landing)


async def _through(
    reading: Reading, kind: Kind, ours: dict[str, Flight], direct: list[str], load: LoadMany
) -> dict[str, Any]:
    levels = reading.levels
    found: dict[str, Any] = {}
    leases: dict[str, Lease] = {}
    if levels.store is not None and ours:
        try:
            leases = await _from_store(reading, kind, ours, found)
        except UnreachableError:
            levels.stats.direct += len(ours) - len(found)
    missing = [*(name for name in ours if name not in found), *direct]
    if not missing:
        return found
    try:
        loaded = await load(missing)
        frozen = {name: kind.codec.freeze(loaded.get(name)) for name in missing}
    except BaseException:
        if leases:
            levels.clock.spawn(reading.release(list(leases.values())))
        raise
    found.update(frozen)
    if levels.store is None:
        for name, flight in ours.items():
            reading.keep(kind, flight, frozen[name], len(kind.codec.encode(frozen[name])))
    elif leases:
        await _fill(reading, kind, ours, leases, frozen)
    return found


async def _from_store(
    reading: Reading, kind: Kind, ours: dict[str, Flight], found: dict[str, Any]
) -> dict[str, Lease]:
    """Put the hits into ``found`` and give leases for the rest."""
    store = reading.levels.store
    assert store is not None
    tags = (kind.model,)
    names = tuple(ours)
    answers = await store.read(names, tags)
    stamps = answers[len(names) :]
    wishes = []
    for name, blob in zip(names, answers[: len(names)], strict=True):
        hit = reading.check(kind, blob, stamps)
        if hit is not None:
            kind.l2.hits += 1
            assert blob is not None
            found[name] = hit[0]
            reading.keep(kind, ours[name], hit[0], len(blob))
        elif blob is None or blob[:1] != LEASE:
            wishes.append(reading.wish(name, blob, tags))
    if not wishes:
        return {}
    leases = await reading.lease(wishes)
    kind.l2.misses += len(leases)
    return {lease.name: lease for lease in leases if lease is not None}


async def _fill(
    reading: Reading,
    kind: Kind,
    ours: dict[str, Flight],
    leases: dict[str, Lease],
    frozen: dict[str, Any],
) -> None:
    store = reading.levels.store
    assert store is not None
    fills = [
        Fill(lease, kind.codec.encode(frozen[name]), kind.ttl) for name, lease in leases.items()
    ]
    try:
        filled = await store.fill(fills)
    except UnreachableError:
        filled = [False] * len(fills)
    for fill, is_filled in zip(fills, filled, strict=True):
        name = fill.lease.name
        size = len(fill.payload)
        reading.settle(kind, ours[name], frozen[name], size, is_filled=is_filled)
