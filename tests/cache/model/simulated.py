"""Redis as the protocol sees it, in memory: what the scripts do, and the store of a process whose operations are steps.

It does in Python what the scripts do in Lua; another test holds the two to the same answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tests.cache.model.schedules import OK, step, touches
from timber.cache.coherence.envelope import HEAD_BYTES, LEASE, epoch_of, seal
from timber.cache.coherence.store import Fill, Lease, UnreachableError, Wish

if TYPE_CHECKING:
    from tests.cache.model.world import Process

DEPOSED = "is confirmed by a deposed primary"


class Server:
    """What Redis holds, and what its scripts do."""

    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}
        self.replication_id = "a"
        self.checks_lease = True
        self.checks_stamps = True
        self.stale: dict[str, bytes] | None = None

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

    def __init__(self, process: Process) -> None:
        self._process = process
        self.breaker = None

    @property
    def epoch(self) -> bytes | None:
        return self._process.known_epoch

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
        variants = (OK, *(fault for fault in faults if fault != DEPOSED or label == "clear"))
        how = await step(label, process.alive(reads, writes), variants)
        if process.is_cut or how in ("fails", DEPOSED):
            result = None
        elif how == "is late":
            world.threads.add(f"late {label}", self._late(label, effect, reads, writes), "redis")
            result = None
        else:
            result = effect()
            if writes:
                world.redis_changes += 1
        if how == DEPOSED:
            process.lose_subscription()
        # Learning of it.
        is_error = process.is_cut or how in ("fails", "is late", "loses its reply")
        if is_error or changes_process(result):
            await step(f"{label}: {'an error' if is_error else 'the reply'}", process.mine())
        if is_error:
            raise UnreachableError
        return result

    async def _late(
        self, label: str, effect: Callable[[], Any], reads: Sequence[str], writes: Sequence[str]
    ) -> None:
        await step(f"late {label}", touches(reads, writes))
        effect()
        self._process.world.redis_changes += 1

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
            "lease", lambda: [server.lease(wish) for wish in wishes], (), writes, lambda _: False
        )
        return leases

    async def fill(self, fills: Sequence[Fill]) -> list[bool]:
        server = self._process.world.server
        reads = ["g:" + tag for fill in fills for tag in fill.lease.tags]
        filled: list[bool] = await self._do(
            "fill", lambda: [server.fill(fill) for fill in fills], reads, ["e"]
        )
        return filled

    async def release(self, lease: Lease) -> None:
        server = self._process.world.server
        await self._do("release", lambda: server.release(lease), (), ["e"])

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
