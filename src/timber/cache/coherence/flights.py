"""Loads under way in this process, so that many readers of one thing wait for one load, and a change overtakes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from timber.cache.coherence.clock import Clock, Event

Landing = Literal["value", "handed_over", "failed"]


class Flight:
    """One load.

    Attributes:
        overtaken: something that it depends on has changed since it began; its value may be returned to whoever was there
            before, but nobody joins it any more and L1 does not keep it.
    """

    __slots__ = ("_event", "_landing", "name", "names", "overtaken", "value")

    def __init__(self, name: str, tags: Iterable[str], *, overtaken: bool) -> None:
        self.name: str = name
        self.names: tuple[str, ...] = (name, *tags)
        self.overtaken: bool = overtaken
        self.value: Any = None
        self._event: Event | None = None
        self._landing: Landing | None = None

    async def wait(self, clock: Clock) -> Landing:
        """Wait for the end of a load that another task makes."""
        if self._landing is None:
            if self._event is None:
                self._event = clock.event()
            await self._event.wait()
        assert self._landing is not None
        return self._landing

    def land(self, landing: Landing, value: Any = None) -> None:
        """It has ended."""
        self.value = value
        self._landing = landing
        if self._event is not None:
            self._event.set()


class Flights:
    """The loads of one process."""

    def __init__(self) -> None:
        self._joinable: dict[str, Flight] = {}
        self._depending: dict[str, set[Flight]] = {}

    def joinable(self, name: str) -> Flight | None:
        """A load of this name that a reader who begins now may share."""
        flight = self._joinable.get(name)
        return None if flight is None or flight.overtaken else flight

    def begin(self, name: str, tags: Iterable[str], *, overtaken: bool) -> Flight:
        """Register a load; begun ``overtaken``, nobody joins it and L1 does not keep it."""
        flight = Flight(name, tags, overtaken=overtaken)
        for each in flight.names:
            self._depending.setdefault(each, set()).add(flight)
        if not overtaken:
            self._joinable[name] = flight
        return flight

    def end(self, flight: Flight, landing: Landing, value: Any = None) -> None:
        """A load has ended: with a value, with an error, or cut off, so that one of those who wait takes over."""
        if self._joinable.get(flight.name) is flight:
            del self._joinable[flight.name]
        for each in flight.names:
            flights = self._depending.get(each)
            if flights is not None:
                flights.discard(flight)
                if not flights:
                    del self._depending[each]
        flight.land(landing, value)

    def overtake(self, names: Iterable[str]) -> None:
        """These have changed."""
        for name in names:
            for flight in self._depending.get(name, ()):
                flight.overtaken = True

    def overtake_all(self) -> None:
        """Anything may have changed."""
        for flights in self._depending.values():
            for flight in flights:
                flight.overtaken = True

    def __len__(self) -> int:
        return len(self._depending)
