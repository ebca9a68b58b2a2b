"""One computation at a time for a key, in this process and in all others that use the same database."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar
from uuid import UUID, uuid4

from timber.dto import DTO
from timber.errors import ServiceError, UsageError
from timber.repository import Repository

logger = logging.getLogger(__name__)

R = TypeVar("R")

_FIRST_WAIT = 0.02  # seconds between two looks at what another process computes
_LONGEST_WAIT = 0.5


class LeaseDTO(DTO):
    """The right to compute the result of one key."""

    source_hash: str
    holder: UUID
    expires_at: datetime


class Leases:
    """Rights to compute, each held by one process at a time and over when its holder no longer renews it.

    Args:
        rows: where they are kept.
        length: how long one lasts without being renewed; renewed after a third of it.
    """

    def __init__(
        self, rows: Repository[LeaseDTO], *, clock: Callable[[], datetime], length: timedelta
    ) -> None:
        self._rows = rows
        self._clock = clock
        self._length = length

    async def take(self, key: str, holder: UUID) -> bool:
        """Take the lease of a key if it is free or over."""
        now = self._clock()
        mine = {"holder": holder, "expires_at": now + self._length}
        lease = await self._rows.upsert({"source_hash": key, **mine}, on=("source_hash",), update=())
        if lease.holder == holder:
            return True
        if lease.expires_at > now:
            return False
        taken = await self._rows.update_where(
            mine, self._rows.where.expires_at <= now, source_hash=key
        )
        return taken > 0

    async def give_back(self, key: str, holder: UUID) -> None:
        """Let go of a lease, if it is still held."""
        await self._rows.delete_where(source_hash=key, holder=holder)

    async def keep(self, key: str, holder: UUID) -> None:
        """Renew a lease until cancelled."""
        pause = self._length.total_seconds() / 3
        while True:
            await asyncio.sleep(pause)
            try:
                await self._rows.update_where(
                    {"expires_at": self._clock() + self._length}, source_hash=key, holder=holder
                )
            except ServiceError as error:
                # At worst somebody else computes the same; the next round may succeed.
                logger.warning("A lease could not be renewed: %s", error)


class _Flight(Generic[R]):
    """A computation that goes on in this process; ``landed`` gets its result, or None when it was given up."""

    def __init__(self) -> None:
        self.pilot = asyncio.current_task()
        self.landed: asyncio.Future[R | None] = asyncio.get_running_loop().create_future()


class Computing(Generic[R]):
    """Finds the result of a key or has it computed.

    Args:
        find: looks for a stored result that is fresh enough.
        store: stores what was computed.
    """

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self._flights: dict[str, _Flight[R]] = {}

    async def find_or_compute(
        self,
        key: str,
        find: Callable[[], Awaitable[R | None]],
        loader: Callable[[], Awaitable[Any]],
        store: Callable[[Any], Awaitable[R]],
    ) -> tuple[R, bool]:
        """The result of a key, and whether others in this process have been given the same object.

        Raises:
            Exception: what the loader raised, in the task that ran it and in those that waited for it.
        """
        while True:
            found = await find()
            if found is not None:
                return found, False
            flight = self._flights.get(key)
            if flight is not None:
                if flight.pilot is asyncio.current_task():
                    raise UsageError("A loader asks for the key that it is loading: it would wait for itself.")
                # Shielded: one who stops waiting must not end it for the others.
                result = await asyncio.shield(flight.landed)
                if result is not None:
                    return result, True
                continue
            return await self._fly(key, find, loader, store), False

    async def _fly(
        self,
        key: str,
        find: Callable[[], Awaitable[R | None]],
        loader: Callable[[], Awaitable[Any]],
        store: Callable[[Any], Awaitable[R]],
    ) -> R:
        flight = self._flights[key] = _Flight[R]()
        try:
            result = await self._lead(key, find, loader, store)
        except Exception as error:
            flight.landed.set_exception(error)
            flight.landed.exception()  # looked at, so that asyncio does not report it where nobody waited
            raise
        else:
            flight.landed.set_result(result)
            return result
        finally:
            del self._flights[key]
            if not flight.landed.done():
                flight.landed.set_result(None)  # cancelled: one of those who wait takes over

    async def _lead(
        self,
        key: str,
        find: Callable[[], Awaitable[R | None]],
        loader: Callable[[], Awaitable[Any]],
        store: Callable[[Any], Awaitable[R]],
    ) -> R:
        """Wait for the lease, or for the result of whoever holds it."""
        holder = uuid4()
        wait = _FIRST_WAIT
        while not await self._leases.take(key, holder):
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311  # spreads the load, hides nothing
            wait = min(wait * 2, _LONGEST_WAIT)
            found = await find()
            if found is not None:
                return found
        keeping = asyncio.get_running_loop().create_task(self._leases.keep(key, holder))
        try:
            # Between the look and the lease somebody may have finished.
            found = await find()
            if found is None:
                found = await store(await loader())
            return found
        finally:
            keeping.cancel()
            with suppress(asyncio.CancelledError):
                await keeping
            await self._leases.give_back(key, holder)
