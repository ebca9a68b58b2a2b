"""The protocol with one of its rules taken away, and the circumstances in which that leaves a stale value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import orjson
import pytest

from tests.cache.model import scenarios
from tests.cache.model.scenarios import scenario
from tests.cache.model.simulated import CLEAR_FAILS, DEPOSED, ScriptedStore, Server
from tests.cache.model.ways import Owed, Unit
from tests.cache.model.world import World
from timber.cache.binding import Binding
from timber.cache.coherence import reading
from timber.cache.coherence.cache import CoherentCache
from timber.cache.coherence.envelope import EPOCH_BYTES, HEAD_BYTES, STAMP_BYTES
from timber.cache.coherence.flights import Flight, Flights
from timber.cache.coherence.levels import Kind, Levels
from timber.cache.coherence.listening import Listening
from timber.cache.coherence.owing import Owing
from timber.cache.coherence.reading import Reading
from timber.cache.coherence.store import Fill, Lease, UnreachableError, Wish
from timber.cache.coherence.unconfirmed import Unconfirmed
from timber.cache.coherence.writing import Writing

Patch = pytest.MonkeyPatch


@dataclass(frozen=True)
class Removal:
    """One rule taken away.

    Attributes:
        rule: the rule, as a sentence that no longer holds.
        remove: takes it away.
        make: where that shows.
        preemptions: with how many it shows, where there are too many orders to look at all.
    """

    rule: str
    remove: Callable[[Patch], None]
    make: Callable[[], World]
    preemptions: int | None = None


def _no_lease(patch: Patch) -> None:
    original = Server.__init__

    def unchecked(self: Server) -> None:
        original(self)
        self.checks_lease = False

    patch.setattr(Server, "__init__", unchecked)


def _no_stamps(patch: Patch) -> None:
    original = Server.__init__

    def unchecked(self: Server) -> None:
        original(self)
        self.checks_stamps = False

    def open_anyway(blob: bytes | None, epoch: bytes | None, stamps: list[Any]) -> bytes | None:
        if blob is None or blob[:1] != b"V":
            return None
        return blob[HEAD_BYTES + EPOCH_BYTES + STAMP_BYTES * len(stamps) :]

    patch.setattr(Server, "__init__", unchecked)
    patch.setattr(reading, "open_seal", open_anyway)


def _no_epoch(patch: Patch) -> None:
    original = reading.open_seal

    def open_in_any(blob: bytes | None, epoch: bytes | None, stamps: list[Any]) -> bytes | None:
        own = None if blob is None else blob[HEAD_BYTES : HEAD_BYTES + EPOCH_BYTES]
        return original(blob, own, stamps)

    patch.setattr(reading, "open_seal", open_in_any)


def _no_local_drop(patch: Patch) -> None:
    original = Writing.committed

    async def committed(self: Writing, changes: Any, *, is_known: bool = True) -> None:
        real = self.levels
        self.levels = cast("Levels", _Undropped(real))
        try:
            await original(self, changes, is_known=is_known)
        finally:
            self.levels = real

    patch.setattr(Writing, "committed", committed)


class _Undropped:
    """Levels whose copies a writer cannot drop."""

    def __init__(self, levels: Levels) -> None:
        self._levels = levels

    def drop(self, names: object) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self._levels, name)


def _join_overtaken(patch: Patch) -> None:
    patch.setattr(Flights, "joinable", lambda self, name: self._joinable.get(name))


def _keep_overtaken(patch: Patch) -> None:
    def keep(self: Reading, kind: Kind, flight: Flight, frozen: Any, size: int) -> None:
        self.levels.memory.keep(flight.name, frozen, size, kind.memory_ttl, flight.names[1:])

    patch.setattr(Reading, "keep", keep)


def _deaf_and_on(patch: Patch) -> None:
    def subscribed(self: Listening) -> None:
        self._levels.is_heard = True

    patch.setattr(Listening, "lost", lambda _: None)
    patch.setattr(Listening, "subscribed", subscribed)


def _forget_unknown(patch: Patch) -> None:
    patch.setattr(CoherentCache, "unknown", CoherentCache.committed)


def _no_publish(patch: Patch) -> None:
    patch.setattr(ScriptedStore, "publishes", False)


def _publish_first(patch: Patch) -> None:
    patch.setattr(ScriptedStore, "publishes_first", True)


async def _nothing(*_: Any) -> bool:
    return True


async def _replays_nothing(*_: Any) -> int:
    return 0


def _no_replay(patch: Patch) -> None:
    patch.setattr(Owing, "replay", _replays_nothing)


def _no_repetition(patch: Patch) -> None:
    patch.setattr(Writing, "repeat_recent", _nothing)


def _read_unconfirmed(patch: Patch) -> None:
    patch.setattr(Unconfirmed, "covers", lambda *_: False)


def _kept_for_nobody(patch: Patch) -> None:
    patch.setattr(Writing, "retry", _nothing)
    _no_replay(patch)


def _load_before_lease(patch: Patch) -> None:
    original = Reading._lead

    async def lead(self: Reading, kind: Kind, name: str, tags: tuple[str, ...], load: Any) -> Any:
        value = await load()

        async def known() -> Any:
            return value

        return await original(self, kind, name, tags, known)

    patch.setattr(Reading, "_lead", lead)


def _stamps_of_the_fill(patch: Patch) -> None:
    original = Server.fill

    def fill(self: Server, fill: Fill) -> bool:
        tags = fill.lease.tags
        now = tuple(self.data.setdefault("g:" + tag, b"s" * STAMP_BYTES) for tag in tags)
        return original(self, replace(fill, lease=replace(fill.lease, stamps=now)))

    patch.setattr(Server, "fill", fill)


def _no_generations(patch: Patch) -> None:
    none = b"0" * STAMP_BYTES
    read, lease, fill = Server.read, Server.lease, Server.fill

    def read_without(self: Server, names: Any, tags: Any) -> list[bytes | None]:
        found = read(self, names, tags)
        return [*found[: len(names)], *(none if g is None else g for g in found[len(names) :])]

    def lease_without(self: Server, wish: Wish) -> Lease | None:
        before = {key: value for key, value in self.data.items() if key.startswith("g:")}
        granted = lease(self, replace(wish, fresh=(none,) * len(wish.tags)))
        for key in [key for key in self.data if key.startswith("g:") and key not in before]:
            del self.data[key]
        return granted

    def fill_without(self: Server, fill_: Fill) -> bool:
        missing = ["g:" + tag for tag in fill_.lease.tags if "g:" + tag not in self.data]
        self.data.update(dict.fromkeys(missing, none))
        is_filled = fill(self, fill_)
        for key in missing:
            del self.data[key]
        return is_filled

    patch.setattr(Server, "read", read_without)
    patch.setattr(Server, "lease", lease_without)
    patch.setattr(Server, "fill", fill_without)


def _clears_only(prefix: str) -> Callable[[Patch], None]:
    def delete(self: Server, names: Any) -> None:
        for name in names:
            self.data.pop(prefix + name, None)

    return lambda patch: patch.setattr(Server, "delete", delete)


def _message_drops_only(patch: Patch) -> None:
    def message(self: Listening, data: bytes) -> None:
        self._levels.memory.drop_tagged(orjson.loads(data))

    patch.setattr(Listening, "message", message)


def _keeps_while_deaf(patch: Patch) -> None:
    begin = Flights.begin

    def subscribed(self: Listening) -> None:
        self._levels.is_heard = True

    def keep(self: Reading, kind: Kind, flight: Flight, frozen: Any, size: int) -> None:
        if not flight.overtaken:
            self.levels.memory.keep(flight.name, frozen, size, kind.memory_ttl, flight.names[1:])

    patch.setattr(Listening, "subscribed", subscribed)
    patch.setattr(Reading, "keep", keep)
    patch.setattr(
        Flights, "begin", lambda self, name, tags, **_: begin(self, name, tags, overtaken=False)
    )


def _paid_before(patch: Patch) -> None:
    original = Writing.committed

    async def committed(self: Writing, changes: Any, *, is_known: bool = True) -> None:
        assert self.owing is not None
        await self.owing.rows.delete([changes.owed])
        await original(self, changes, is_known=is_known)

    patch.setattr(Writing, "committed", committed)


def _replay_deletes_first(patch: Patch) -> None:
    async def replay(self: Owing) -> int:
        due = await self.rows.due()
        await self.rows.delete([id_ for id_, _ in due])
        store = self._levels.store
        assert store is not None
        try:
            await store.clear(tuple(name for _, names in due for name in names))
        except UnreachableError:
            return 0
        return len(due)

    patch.setattr(Owing, "replay", replay)


def _told_before(patch: Patch) -> None:
    original = Binding._before_commit

    async def before_commit(self: Binding, unit: Any) -> None:
        await original(self, unit)
        await self._cache.committed(self._owing.pop(unit))

    patch.setattr(Binding, "_before_commit", before_commit)


def _owes_nothing(patch: Patch) -> None:
    original = Unit.owe

    async def owe(self: Unit) -> Owed:
        await original(self)
        return []

    patch.setattr(Unit, "owe", owe)


def _believes_the_old_epoch(patch: Patch) -> None:
    patch.setattr(ScriptedStore, "forgets_epoch", False)


def _confirmed_for_all(patch: Patch) -> None:
    def confirm(self: Unconfirmed, names: Any) -> None:
        for name in names:
            self._counts.pop(name, None)

    patch.setattr(Unconfirmed, "confirm", confirm)


REMOVALS = [
    Removal("a fill needs its lease", _no_lease, scenario(readers=(0,), warm=())),
    Removal(
        "a list counts only under its tags' generations",
        _no_stamps,
        scenario(readers=(1,), is_list=True, warm=("l2",)),
    ),
    Removal(
        "a value counts only in its epoch",
        _no_epoch,
        scenario(readers=(0,), warm=("l2",), extra=[scenarios.failover]),
    ),
    Removal("a clear is announced", _no_publish, scenario(readers=(1,))),
    Removal("a clear is announced after it", _publish_first, scenario(readers=(1,), warm=("l2",))),
    Removal(
        "own copies are dropped before the call returns", _no_local_drop, scenario(readers=(0,))
    ),
    Removal("nobody joins an overtaken load", _join_overtaken, scenario(readers=(0, 0), warm=())),
    Removal("L1 keeps no overtaken load", _keep_overtaken, scenario(readers=(0,), warm=())),
    Removal(
        "an unconfirmed name is read from the database",
        _read_unconfirmed,
        scenario(readers=(0,), warm=("l2",), operation_faults=("fails",), budget=1),
    ),
    Removal(
        "what is owed is replayed after a crash",
        _no_replay,
        scenario(readers=(1,), warm=("l2",), extra=[scenarios.crash]),
    ),
    Removal(
        "a clear that failed is repeated",
        _kept_for_nobody,
        scenario(readers=(1,), warm=("l2",), operation_faults=("fails",), budget=1),
    ),
    Removal(
        "without its subscription L1 is empty and off",
        _deaf_and_on,
        scenario(readers=(1,), warm=("l1", "l2"), extra=[scenarios.cut_off(1)]),
    ),
    Removal(
        "clears of the last seconds are repeated after a loss",
        _no_repetition,
        scenario(readers=(1,), warm=(), operation_faults=(DEPOSED,), budget=1),
    ),
    Removal(
        "after an unknown outcome the owed row stays",
        _forget_unknown,
        scenario(readers=(1,), writers=((0, "unknown"),), warm=(), budget=1),
    ),
    Removal(
        "the database is read under the lease",
        _load_before_lease,
        scenario(readers=(1,), warm=()),
    ),
    Removal(
        "an entry has the stamps from before the read",
        _stamps_of_the_fill,
        scenario(readers=(1,), is_list=True, warm=()),
    ),
    Removal(
        "a generation that is missing is made before anything hangs on it",
        _no_generations,
        scenario(readers=(1,), is_list=True, warm=("l2",)),
    ),
    Removal("a clear deletes entries", _clears_only("g:"), scenario(readers=(1,), warm=("l2",))),
    Removal(
        "a clear deletes generations",
        _clears_only("e:"),
        scenario(readers=(1,), is_list=True, warm=("l2",)),
    ),
    Removal(
        "a message overtakes loads",
        _message_drops_only,
        scenario(readers=(1,), warm=("l2",)),
    ),
    Removal(
        "L1 keeps nothing that was loaded before it hears again",
        _keeps_while_deaf,
        scenario(readers=(1,), warm=("l2",), extra=[scenarios.deaf(1)]),
        preemptions=3,
    ),
    Removal(
        "a transaction leaves an owed row",
        _owes_nothing,
        scenario(readers=(1,), warm=("l2",), extra=[scenarios.crash]),
    ),
    Removal(
        "an owed row stays until Redis has confirmed",
        _paid_before,
        scenario(readers=(1,), warm=("l2",), extra=[scenarios.crash]),
    ),
    Removal(
        "a replayed row stays until Redis has confirmed",
        _replay_deletes_first,
        scenario(
            readers=(),
            warm=("l2",),
            operation_faults=("fails",),
            budget=1,
            extra=[scenarios.crash, scenarios.replay],
        ),
    ),
    Removal("Redis is told after COMMIT", _told_before, scenario(readers=(1,), warm=())),
    Removal(
        "after a lost connection nothing counts before the epoch is known",
        _believes_the_old_epoch,
        scenario(readers=(0,), warm=("l2",), extra=[scenarios.failover]),
        preemptions=1,
    ),
    Removal(
        "a name is unconfirmed for as long as one of its writers is",
        _confirmed_for_all,
        scenario(
            readers=(),
            writers=((0, "commit"), (0, "commit")),
            warm=(),
            operation_faults=(CLEAR_FAILS,),
            budget=1,
            extra=[
                scenarios.reader(1, lambda world: bool(world.redis_changes)),
                scenarios.reader(0, lambda world: world.acknowledged.get("p0", 0) >= 2),
            ],
        ),
        preemptions=2,
    ),
    Removal(
        "a fill that a frozen Redis finds late needs its lease",
        _no_lease,
        scenario(
            readers=(1,),
            warm=(),
            has_breaker=True,
            extra=[scenarios.freeze, scenarios.keeping(0)],
        ),
        preemptions=2,
    ),
    Removal(
        "what a frozen Redis did not confirm is read from the database",
        _read_unconfirmed,
        scenario(
            readers=(0,),
            warm=("l2",),
            has_breaker=True,
            extra=[scenarios.freeze, scenarios.probing(0)],
        ),
        preemptions=2,
    ),
]
