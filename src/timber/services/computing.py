"""One computation at a time for a key, in this process and in all others that use the same database."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Generic, TypeVar
from uuid import UUID, uuid4

from timber.dto import DTO
from timber.errors import ServiceError, UsageError
from timber.repository import Repository

logger: logging.Logger = logging.getLogger(__name__)

R = TypeVar("R", bound=DTO)

Find = Callable[[], Awaitable[R | None]]
Compute = Callable[[], Awaitable[R]]

_FIRST_WAIT = 0.02  # seconds between two looks at what another process computes
_LONGEST_WAIT = 0.5


class LeaseDTO(DTO):
    """The right to compute the result of one key."""

    source_hash: str
    holder: UUID
    expires_at: datetime


class Leases:
    """Rights to compute, each held by one at a time, and over when its holder no longer renews it.

    Args:
        rows: where they are kept.
        length: how long one lasts without being renewed.
    """

    def __init__(
        self, rows: Repository[LeaseDTO], *, clock: Callable[[], datetime], length: timedelta
    ) -> None:
        self._rows = rows
        self._clock = clock
        self._length = length

    async def take(self, key: str, holder: UUID) -> bool:
        """Take the lease of a key if it is free, or over."""
        now = self._clock()
        mine = {"holder": holder, "expires_at": now + self._length}
        lease = await self._rows.upsert(
            {"source_hash": key, **mine}, on=("source_hash",), update=()
        )
        if lease.holder == holder or lease.expires_at > now:
            return lease.holder == holder
        over = self._rows.where.expires_at <= now
        return await self._rows.update_where(mine, over, source_hash=key) > 0

    async def keep(self, key: str, holder: UUID) -> None:
        """Renew a lease until cancelled."""
        while True:
            await asyncio.sleep(self._length.total_seconds() / 3)
            try:
                await self._rows.update_where(
                    {"expires_at": self._clock() + self._length}, source_hash=key, holder=holder
                )
            except ServiceError as error:
                # At worst somebody else computes the same, and the next round may succeed.
                logger.warning("A lease could not be renewed: %s", error)

    async def give_back(self, key: str, holder: UUID) -> None:
        """Let go of a lease; one that cannot be given back is over by itself."""
        try:
            await self._rows.delete_where(source_hash=key, holder=holder)
        except ServiceError as error:
            logger.warning("A lease could not be given back and will run out: %s", error)


class _Flight(Generic[R]):
    """A computation that goes on in this process; ``landed`` gets its result, or None when it was given up."""

    def __init__(self) -> None:
        self.pilot = asyncio.current_task()
        self.waiting = 0
        self.landed: asyncio.Future[R | None] = asyncio.get_running_loop().create_future()

    async def wait(self) -> R | None:
        """A copy of the result of one's own."""
        if self.pilot is asyncio.current_task():
            raise UsageError(
                "A loader asks for the key that it is loading: it would wait for itself."
            )
        self.waiting += 1
        try:
            # Shielded: one who stops waiting must not end it for the others.
            result = await asyncio.shield(self.landed)
        finally:
            self.waiting -= 1
        return result.model_copy(deep=True) if result is not None else None

    def land(self, result: R) -> None:
        self.landed.set_result(result.model_copy(deep=True) if self.waiting else result)

    def crash(self, error: Exception) -> None:
        self.landed.set_exception(error)
        self.landed.exception()  # looked at, so that asyncio does not report it where nobody waits


class Computing(Generic[R]):
    """Finds the result of a key, or has it computed."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self._flights: dict[str, _Flight[R]] = {}

    async def find_or_compute(self, key: str, find: Find[R], compute: Compute[R]) -> R:
        """The result of a key.

        Args:
            find: looks for a stored result that is fresh enough.
            compute: computes and stores one; what it raises is raised to all who wait for it in this process.
        """
        while True:
            found = await find()
            if found is not None:
                return found
            flight = self._flights.get(key)
            if flight is None:
                return await self._fly(key, find, compute)
            found = await flight.wait()
            if found is not None:
                return found

    async def _fly(self, key: str, find: Find[R], compute: Compute[R]) -> R:
        flight = self._flights[key] = _Flight[R]()
        try:
            result = await self._lead(key, find, compute)
            flight.land(result)
        except Exception as error:
            flight.crash(error)
            raise
        finally:
            del self._flights[key]
            if not flight.landed.done():
                flight.landed.set_result(None)  # cancelled: one of those who wait takes over
        return result

    async def _lead(self, key: str, find: Find[R], compute: Compute[R]) -> R:
        """Compute under the lease, unless whoever held it before has stored a result."""
        holder = uuid4()
        wait = _FIRST_WAIT
        held = True  # a cancelled attempt to take it may have succeeded
        keeping: asyncio.Task[None] | None = None
        try:
            while not (held := await self._leases.take(key, holder)):
                await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311  # spreads the load, hides nothing
                wait = min(wait * 2, _LONGEST_WAIT)
                found = await find()
                if found is not None:
                    return found
                held = True
            keeping = asyncio.get_running_loop().create_task(self._leases.keep(key, holder))
            found = await find()  # somebody may have finished between the last look and the lease
            return found if found is not None else await compute()
        finally:
            if keeping is not None:
                keeping.cancel()
                await asyncio.wait({keeping})
            if held:
                await self._leases.give_back(key, holder)
