"""Redis as the protocol sees it, in memory: what the scripts do, and the store of a process whose operations are steps.

It does in Python what the scripts do in Lua; another test holds the two to the same answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tests.cache.model.schedules import OK, step, touches
from timber.cache.coherence.breaker import Breaker
from timber.cache.coherence.envelope import HEAD_BYTES, LEASE, epoch_of, seal
from timber.cache.coherence.store import Fill, Lease, UnreachableError, Wish

if TYPE_CHECKING:
    from tests.cache.model.world import Process

DEPOSED = "is confirmed by a deposed primary"
CLEAR_FAILS = "fails to clear"
_OF_CLEARS = (DEPOSED, CLEAR_FAILS)


class Server:
    """What Redis holds, and what its scripts do."""

    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}
        self.replication_id = "a"
        self.checks_lease = True
        self.checks_stamps = True
        self.is_frozen = False

    @property
    def epoch(self) -> bytes:
        return epoch_of(self.replication_id)

    def read(self, names: Sequence[str], tags: Sequence[str]) -> list[bytes | None]:
        return [self.data.get("e:" + n) for n in names] + [self.data.get("g:" + t) for t in tags]

    def lease(self, wish: Wish) -> Lease | None:
        key = "e:" + wish.name
        if self.data.get(key, b"")[:HEAD_BYTES] != wish.seen:
            return None
        stamps = tuple(
            self.data.setdefault("g:" + tag, fresh)
            for tag, fresh in zip(wish.tags, wish.fresh, strict=True)
        )
        self.data[key] = LEASE + wish.token
        return Lease(wish.name, wish.token, wish.tags, stamps, self.epoch)

    def fill(self, fill: Fill) -> bool:
        lease, key = fill.lease, "e:" + fill.lease.name
        if self.checks_lease and self.data.get(key) != LEASE + lease.token:
            return False
        if self.checks_stamps and any(
            self.data.get("g:" + tag) != stamp
            for tag, stamp in zip(lease.tags, lease.stamps, strict=True)
        ):
            self.data.pop(key, None)
            return False
        self.data[key] = seal(lease.token, lease.epoch, lease.stamps, fill.payload)
        return True

    def release(self, lease: Lease) -> None:
        if self.data.get("e:" + lease.name) == LEASE + lease.token:
            del self.data["e:" + lease.name]

    def delete(self, names: Sequence[str]) -> None:
        for name in names:
            self.data.pop("e:" + name, None)
            self.data.pop("g:" + name, None)

    def expire_leases(self) -> bool:
        expired = [key for key, value in self.data.items() if value[:1] == LEASE]
        for key in expired:
            del self.data[key]
        return bool(expired)


class ScriptedStore:
    """The store of one process: each operation is a step at the server and a step back home."""

    publishes_first = False
    publishes = True
    forgets_epoch = True

    def __init__(self, process: Process) -> None:
        self._process = process
        self._line = 0
        self._epoch_before = process.known_epoch
        self.breaker = Breaker()
        self.breaker.on_open.append(self.suspect)

    @property
    def epoch(self) -> bytes | None:
        return self._process.known_epoch

    def suspect(self) -> None:
        """The connection is gone, and with it what is known of the server."""
        self._line += 1
        if self.forgets_epoch:
            self._process.known_epoch = None

    async def probe(self) -> bool:
        """Whether the server answers; closes the breaker if it does."""
        process, server = self._process, self._process.world.server
        await step("INFO", process.alive(reads=["frozen", "epoch"]))
        is_there, epoch = not (server.is_frozen or process.is_cut), server.epoch
        await step("INFO: the reply", process.mine(writes=[f"breaker {process.name}"]))
        if not is_there:
            self.breaker.open()
            return False
        self._learn(epoch)
        self.breaker.close()
        return True

    def _learn(self, epoch: bytes) -> None:
        process = self._process
        process.known_epoch = epoch
        if epoch != self._epoch_before:
            self._epoch_before = epoch
            process.cache.listening.epoch_changed()

    async def _do(
        self,
        label: str,
        effect: Callable[[], Any],
        reads: Sequence[str],
        writes: Sequence[str],
        changes_process: Callable[[Any], bool] = lambda _: True,
    ) -> Any:
        """One operation; an answer after which the process goes on to its next step without touching anything that its
        other tasks see needs no step of its own."""
        process, world = self._process, self._process.world
        faults = world.operation_faults
        variants = (OK, *(f for f in faults if f not in _OF_CLEARS or label == "clear"))
        line = self._line
        touched = process.alive([*reads, *self._surroundings()], writes)
        how = await step(label, touched, variants)
        is_lost = process.is_cut or self.breaker.is_open
        result = None
        if how == "is late" or (world.server.is_frozen and not is_lost):
            self._arrive_late(label, effect, reads, writes)
            is_lost = True
        elif how not in ("fails", DEPOSED, CLEAR_FAILS) and not is_lost:
            result = effect()
            if writes:
                world.redis_changes += 1
        if how == DEPOSED:
            process.lose_subscription()
        # Learning of it.
        is_lost = is_lost or how in ("fails", "loses its reply", CLEAR_FAILS)
        if is_lost or changes_process(result):
            is_open = [f"breaker {process.name}"] if world.has_breaker else []
            answer = "an error" if is_lost else "the reply"
            await step(f"{label}: {answer}", process.mine([], is_open if is_lost else []))
        if is_lost or line != self._line:
            if world.has_breaker:
                self.breaker.open()
            raise UnreachableError
        return result

    def _surroundings(self) -> list[str]:
        """What an operation depends on besides its keys."""
        process = self._process
        return ["frozen", f"breaker {process.name}"] if process.world.has_breaker else []

    def _arrive_late(
        self, label: str, effect: Callable[[], Any], reads: Sequence[str], writes: Sequence[str]
    ) -> None:
        """The client has given up; the server has yet to find the command in what it has not read, after those before it
        on the same connection and at any time among those on others."""
        process, world = self._process, self._process.world
        waiting = world.unread.setdefault((process.name, self._line), [])
        mine = object()
        waiting.append(mine)

        async def arrive() -> None:
            await step(
                f"late {label}",
                touches([*reads, *self._surroundings()], writes),
                is_enabled=lambda: waiting[0] is mine and not world.server.is_frozen,
            )
            waiting.remove(mine)
            effect()
            world.redis_changes += 1

        name = f"late {label} of {process.name}"
        world.threads.add(name, arrive(), "redis", is_daemon=world.has_breaker)

    async def read(self, names: Sequence[str], tags: Sequence[str]) -> list[bytes | None]:
        server = self._process.world.server
        reads = ["e", *("g:" + tag for tag in tags)]
        found: list[bytes | None] = await self._do(
            "MGET", lambda: server.read(names, tags), reads, (), _is_hit
        )
        return found

    async def lease(self, wishes: Sequence[Wish]) -> list[Lease | None]:
        server = self._process.world.server
        writes = ["e", *("g:" + tag for wish in wishes for tag in wish.tags)]
        leases: list[Lease | None] = await self._do(
            "lease",
            lambda: [server.lease(wish) for wish in wishes],
            (),
            writes,
            lambda leases: any(lease and lease.epoch != self.epoch for lease in leases),
        )
        for lease in leases:
            if lease is not None and lease.epoch != self.epoch:
                self._learn(lease.epoch)
        return leases

    async def fill(self, fills: Sequence[Fill]) -> list[bool]:
        server = self._process.world.server
        reads = ["g:" + tag for fill in fills for tag in fill.lease.tags]
        filled: list[bool] = await self._do(
            "fill", lambda: [server.fill(fill) for fill in fills], reads, ["e"]
        )
        return filled

    async def release(self, leases: Sequence[Lease]) -> None:
        server = self._process.world.server
        await self._do("release", lambda: [server.release(lease) for lease in leases], (), ["e"])

    async def clear(self, names: Sequence[str]) -> None:
        world = self._process.world
        writes = ["e", *("g:" + name for name in names)]
        queues = [f"queue {name}" for name in world.processes]
        publishing: Callable[[], None] = lambda: world.publish(names)  # noqa: E731

        def clear() -> None:
            world.server.delete(names)
            if self.publishes and not self.publishes_first:
                publishing()

        if self.publishes_first:
            await self._do("PUBLISH", publishing, (), queues)
        await self._do("clear", clear, (), [*writes, *queues])


def _is_hit(values: Sequence[bytes | None]) -> bool:
    return values[0] is not None and values[0][:1] != LEASE
