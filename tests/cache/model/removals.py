"""The protocol with one of its rules taken away, and the circumstances in which that leaves a stale value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import pytest

from tests.cache.model import scenarios
from tests.cache.model.scenarios import scenario
from tests.cache.model.simulated import DEPOSED, ScriptedStore, Server
from tests.cache.model.world import World
from timber.cache.coherence import reading
from timber.cache.coherence.cache import CoherentCache
from timber.cache.coherence.envelope import EPOCH_BYTES, HEAD_BYTES, STAMP_BYTES
from timber.cache.coherence.flights import Flight, Flights
from timber.cache.coherence.levels import Kind, Levels
from timber.cache.coherence.listening import Listening
from timber.cache.coherence.owing import Owing
from timber.cache.coherence.reading import Reading
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
    """

    rule: str
    remove: Callable[[Patch], None]
    make: Callable[[], World]


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
]
