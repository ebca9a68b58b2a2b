"""What the protocol asks of Redis. Five operations, each of which happens there at once or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


class UnreachableError(Exception):
    """Redis did not answer in time, or is known not to: whether the operation happened is open."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A lease that is wanted.

    Attributes:
        seen: the head of what stood under the name; the lease is given only if it still does.
        fresh: for each tag the generation it gets if it has none.
    """

    name: str
    seen: bytes
    token: bytes
    tags: tuple[str, ...]
    fresh: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to fill one entry, with the epoch and the generations of its tags before the database is read."""

    name: str
    token: bytes
    tags: tuple[str, ...]
    stamps: tuple[bytes, ...]
    epoch: bytes


@dataclass(frozen=True, slots=True)
class Fill:
    """A value to be stored over its lease."""

    lease: Lease
    payload: bytes
    ttl: float


class Store(Protocol):
    """The second level. Every operation raises :class:`UnreachableError`."""

    @property
    def epoch(self) -> bytes | None:
        """The epoch of the Redis that answers, None while that is not known."""
        raise NotImplementedError

    async def read(self, names: Sequence[str], tags: Sequence[str]) -> list[bytes | None]:
        """What stands under the names, then the generations of the tags."""
        raise NotImplementedError

    async def lease(self, wishes: Sequence[Wish]) -> list[Lease | None]:
        """Take leases of 3 seconds; None where the entry has changed since it was seen."""
        raise NotImplementedError

    async def fill(self, fills: Sequence[Fill]) -> list[bool]:
        """Store values; False where the lease is gone or a tag has another generation."""
        raise NotImplementedError

    async def release(self, leases: Sequence[Lease | Wish]) -> None:
        """Give leases back unused, also those that are only being asked for."""
        raise NotImplementedError

    async def clear(self, names: Sequence[str]) -> None:
        """Delete entries, leases and generations of these names, and only then tell every process."""
        raise NotImplementedError
