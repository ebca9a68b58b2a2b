"""The second level in Redis or Valkey: five operations with deadlines, behind the circuit breaker."""

from __future__ import annotations

import asyncio
import random
import re
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from redis.exceptions import (
    BusyLoadingError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)

from timber.cache.coherence import scripts
from timber.cache.coherence.envelope import LEASE, epoch_of, seal
from timber.cache.coherence.gathering import Gathering
from timber.cache.coherence.inventory import take_inventory, wipe
from timber.cache.coherence.line import Line
from timber.cache.coherence.listening import message_of
from timber.cache.coherence.store import Fill, Lease, UnreachableError, Wish

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Sequence

    from redis.asyncio import Redis

    from timber.cache.coherence.breaker import Breaker
    from timber.cache.coherence.inventory import Inventory
    from timber.cache.coherence.scripts import Script
    from timber.cache.keys import Keyspace

T = TypeVar("T")

_JITTER = 0.1
"""The share of its time to live by which an entry may expire earlier, so that not all of them do at once."""
_ORPHANS = 1000
"""How many leases whose answers did not come are remembered; those before them expire by themselves."""
_INFO = re.compile(rb"^(\w+):(\S*)", re.MULTILINE)

# A server that cannot be had, or that no longer is the primary. Any other error is one of this operation alone.
_GONE = (
    OSError,
    TimeoutError,
    RedisConnectionError,
    RedisTimeoutError,
    BusyLoadingError,
    ReadOnlyError,
)


class RedisStore:
    """The operations of the protocol on a client.

    Args:
        client: says how to connect; answers must not be decoded. It is closed with the store.
        read_deadline: seconds that a read waits for Redis before the breaker opens.
        clear_deadline: seconds that a writer waits.
        lease_seconds: how long others wait for a load.
        generation_seconds: how long a generation lives unused; longer than any entry.
    """

    def __init__(
        self,
        client: Redis,
        keys: Keyspace,
        breaker: Breaker,
        *,
        read_deadline: float = 0.04,
        clear_deadline: float = 0.25,
        lease_seconds: float = 3.0,
        generation_seconds: float = 2 * 86_400.0,
    ) -> None:
        self.client = client
        self.breaker = breaker
        self.on_epoch: list[Callable[[], object]] = []
        self._keys = keys
        self._read_deadline = read_deadline
        self._clear_deadline = clear_deadline
        self._lease_ms = int(lease_seconds * 1000)
        self._generation_ms = int(generation_seconds * 1000)
        self._replication_id: bytes | None = None
        self._epoch: bytes | None = None
        self._gathering = Gathering(self._mget)
        self._line = Line(client, breaker.open)
        self._orphans: deque[tuple[str, bytes]] = deque(maxlen=_ORPHANS)
        breaker.on_open.append(self._opened)

    @property
    def keys(self) -> Keyspace:
        """The keys of this cache in Redis."""
        return self._keys

    # Epoch

    @property
    def epoch(self) -> bytes | None:
        return self._epoch

    def _opened(self) -> None:
        # Whoever answers next may be another server: until it has told, no value counts.
        self._epoch = None
        self._line.drop()

    def suspect(self) -> None:
        """Something else has lost Redis: believe nothing until a probe has asked."""
        self._epoch = None

    def _learn(self, replication_id: bytes) -> None:
        if replication_id == self._replication_id and self._epoch is not None:
            return
        is_other = replication_id != self._replication_id and self._replication_id is not None
        self._replication_id = replication_id
        self._epoch = epoch_of(replication_id.decode())
        if is_other:
            for callback in self.on_epoch:
                callback()

    async def probe(self) -> bool:
        """Whether Redis answers as a primary; learns its epoch, and closes the breaker or opens it."""
        try:
            async with asyncio.timeout(self._clear_deadline):
                await self._line.open()
                text = await self._line.ask("INFO", "replication", deadline=self._clear_deadline)
            info = dict(_INFO.findall(text))
        except (*_GONE, RedisError):
            info = {}
        if info.get(b"role") != b"master":
            self.breaker.open()
            self._line.drop()
            return False
        self._learn(info[b"master_replid"])
        self.breaker.close()
        if self._orphans:
            await self._release_orphans()
        return True

    async def close(self) -> None:
        """Close the connection."""
        await self._line.close()
        await self.client.aclose()

    # Operations

    async def read(self, names: Sequence[str], tags: Sequence[str]) -> list[bytes | None]:
        keys = [self._keys.entry(name) for name in names]
        keys += [self._keys.generation(tag) for tag in tags]
        return await self._gathering.read(keys)

    async def _mget(self, keys: Sequence[str]) -> list[bytes | None]:
        answer = self._line.ask("MGET", *keys, deadline=self._read_deadline)
        values: list[bytes | None] = await self._answer(answer)
        return values

    async def lease(self, wishes: Sequence[Wish]) -> list[Lease | None]:
        calls = [
            (
                [self._keys.entry(w.name), *map(self._keys.generation, w.tags)],
                [w.seen, LEASE + w.token, self._lease_ms, self._generation_ms, *w.fresh],
            )
            for w in wishes
        ]
        with self._orphaning(wishes):
            answers = await self._run(scripts.LEASE, calls, self._read_deadline)
        return [self._granted(w, answer) for w, answer in zip(wishes, answers, strict=True)]

    def _granted(self, wish: Wish, answer: list[bytes] | None) -> Lease | None:
        if not answer:
            return None
        replication_id, *stamps = answer
        self._learn(replication_id)
        epoch = epoch_of(replication_id.decode())
        return Lease(wish.name, wish.token, wish.tags, tuple(stamps), epoch)

    async def fill(self, fills: Sequence[Fill]) -> list[bool]:
        calls = []
        for fill in fills:
            lease = fill.lease
            value = seal(lease.token, lease.epoch, lease.stamps, fill.payload)
            keys = [self._keys.entry(lease.name), *map(self._keys.generation, lease.tags)]
            milliseconds = max(1, int(fill.ttl * 1000 * (1.0 - _JITTER * random.random())))  # noqa: S311
            calls.append((keys, [LEASE + lease.token, value, milliseconds, *lease.stamps]))
        with self._orphaning([fill.lease for fill in fills]):
            answers = await self._run(scripts.FILL, calls, self._read_deadline)
        return [bool(answer) for answer in answers]

    async def release(self, leases: Sequence[Lease | Wish]) -> None:
        with self._orphaning(leases):
            await self._release([(lease.name, lease.token) for lease in leases])

    async def _release(self, leases: Sequence[tuple[str, bytes]]) -> None:
        calls = [([self._keys.entry(name)], [LEASE + token]) for name, token in leases]
        await self._run(scripts.RELEASE, calls, self._read_deadline)

    @contextmanager
    def _orphaning(self, leases: Sequence[Lease | Wish]) -> Generator[None]:
        """Remember leases that Redis may have given, or give yet, although its answer did not come."""
        try:
            yield
        except UnreachableError:
            self._orphans.extend((lease.name, lease.token) for lease in leases)
            raise

    async def _release_orphans(self) -> None:
        """Give back what nobody is going to fill: others would wait for it until it expires."""
        orphans = list(self._orphans)
        self._orphans.clear()
        try:
            await self._release(orphans)
        except UnreachableError:
            self._orphans.extend(orphans)

    async def clear(self, names: Sequence[str]) -> None:
        keys = [self._keys.entry(name) for name in names]
        keys += [self._keys.generation(name) for name in names]
        call = (keys, [self._keys.channel, message_of(names)])
        await self._run(scripts.CLEAR, [call], self._clear_deadline)

    # All keys: of people who look after a cache, and not of the protocol

    async def wipe(self) -> None:
        """Delete every key, and only then tell every process. A load under way finds its lease gone.

        Raises:
            UnreachableError: Redis cannot be reached.
        """
        await self._answer(wipe(self.client, self._keys))

    async def inventory(self) -> Inventory:
        """What there is.

        Raises:
            UnreachableError: Redis cannot be reached.
        """
        return await self._answer(take_inventory(self.client, self._keys))

    # Asking

    async def _run(
        self, script: Script, calls: Sequence[tuple[list[str], list[Any]]], deadline: float
    ) -> list[Any]:
        commands = [("EVALSHA", script.sha, len(keys), *keys, *args) for keys, args in calls]

        async def send() -> list[Any]:
            try:
                return await self._line.ask_all(commands, deadline=deadline)
            except NoScriptError:
                # A server that has just been started knows no script; none of the calls has run.
                loads = [("SCRIPT", "LOAD", each.text) for each in scripts.ALL]
                return await self._line.ask_all([*loads, *commands], deadline=deadline)

        return (await self._answer(send()))[-len(commands) :]

    async def _answer(self, operation: Awaitable[T]) -> T:
        try:
            return await operation
        except _GONE as error:
            self.breaker.open()
            raise UnreachableError from error
        except (RedisError, UnicodeEncodeError) as error:
            # A name with half a character in it: PostgreSQL refuses it in words of its own.
            raise UnreachableError from error
