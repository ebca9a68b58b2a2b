"""A Redis, a database and processes made of memory, whose every operation is a step that a schedule places.

The caches in the processes are the real ones.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any
from uuid import UUID

from tests.cache.model.schedules import OK, Run, StaleError, Threads, drive, step, touches
from tests.cache.model.simulated import ScriptedStore, Server
from timber.cache.codec import JsonCodec
from timber.cache.coherence.cache import CoherentCache
from timber.cache.coherence.listening import message_of
from timber.cache.coherence.owing import Waiting
from timber.cache.memory import MemoryCache

MODEL = "Row"
TAG = "rows:of:one"
LEASE_SECONDS = 3.0


class Event:
    def __init__(self, process: Process) -> None:
        self._process = process
        self._is_set = False

    def set(self) -> None:
        self._is_set = True

    async def wait(self) -> None:
        await step("waits", self._process.mine(), is_enabled=lambda: self._is_set)


class ScriptedClock:
    def __init__(self, process: Process) -> None:
        self._process = process

    def now(self) -> float:
        return self._process.world.time

    async def sleep(self, seconds: float) -> None:
        world = self._process.world
        seen = world.redis_changes
        await step(
            "sleeps",
            self._process.mine(reads=["e"]),
            is_enabled=lambda: world.redis_changes != seen,
        )

    def event(self) -> Event:
        return Event(self._process)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._process.world.threads.add(
            f"{self._process.name}.background", work, self._process.name, is_daemon=True
        )

    def token(self) -> bytes:
        self._process.world.tokens += 1
        return self._process.world.tokens.to_bytes(12, "big")


class OwedRows:
    """The table of owed rows, as the replay of one process sees it."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def add(self, id: UUID, names: Sequence[str]) -> None:
        self._process.world.owed[id] = tuple(names)

    async def due(self) -> list[tuple[UUID, Sequence[str]]]:
        await step("SELECT owed", self._process.alive(reads=["owed"]))
        return list(self._process.world.owed.items())

    async def waiting(self) -> Waiting:
        return Waiting(len(self._process.world.owed), 0.0)

    async def delete(self, ids: Sequence[UUID]) -> None:
        await step("DELETE owed", self._process.alive(writes=["owed"]))
        for id_ in ids:
            self._process.world.owed.pop(id_, None)


class Process:
    """One process with a real cache."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.is_cut = False
        self.known_epoch: bytes | None = world.server.epoch
        self.store: Any = None
        self.queue: list[bytes] = []
        self.is_subscribed = True
        self.direct = 0
        self.restart()

    def restart(self) -> None:
        self.known_epoch = self.world.server.epoch
        self.store = store = ScriptedStore(self)
        self.clock = clock = ScriptedClock(self)
        self.cache = CoherentCache(
            memory=MemoryCache(clock=clock.now, jitter=0),
            store=store,
            owed=OwedRows(self),
            clock=clock,
        )
        self.kind = self.cache.kind(MODEL, JsonCodec("00"))
        self.direct = 0
        self.queue.clear()
        self.subscribe()

    def lose_subscription(self) -> None:
        """Nothing is heard any more, and it is not noticed yet."""
        self.is_subscribed = False
        self.queue.clear()

    def subscribe(self) -> None:
        """The loss was noticed, and now it is over."""
        self.is_cut = False
        self.known_epoch = self.world.server.epoch
        self.is_subscribed = True
        self.cache.listening.subscribed()

    def mine(self, reads: Sequence[str] = (), writes: Sequence[str] = ()) -> Any:
        """What a step inside this process touches."""
        return touches([f"alive {self.name}", *reads], [self.name, *writes])

    def alive(self, reads: Sequence[str] = (), writes: Sequence[str] = ()) -> Any:
        """What a step outside of it touches: only its death comes between."""
        return touches([f"alive {self.name}", *reads], writes)


class World(Run):
    """Redis, database and processes of one run.

    Args:
        processes: how many.
        is_list: what is cached is a list under a tag, so that writers overlap freely; else one row, whose lock orders them.
        operation_faults: how an operation of Redis may go wrong.
        budget: how many faults a run may have.
        has_breaker: whether an operation that fails opens the breaker, so that nothing is asked until a probe is answered.
    """

    def __init__(
        self,
        *,
        processes: int = 2,
        is_list: bool = False,
        operation_faults: tuple[str, ...] = (),
        budget: int = 0,
        has_breaker: bool = False,
        warm: Sequence[str] = ("l1", "l2"),
        prepare: Callable[[World], None] | None = None,
    ) -> None:
        self.threads = Threads()
        self.server = Server()
        self.time = 0.0
        self.tokens = 0
        self.redis_changes = 0
        self.operation_faults = operation_faults
        self.budget = budget
        self.has_breaker = has_breaker
        self.unread: dict[tuple[str, int], list[object]] = {}
        self.is_list = is_list
        self.name = f"{MODEL}?list" if is_list else f"{MODEL}:1"
        self.tags = (TAG,) if is_list else ()
        self.db = 0
        self.written = 0
        self.lock: object = None
        self.owed: dict[UUID, tuple[str, ...]] = {}
        self.acknowledged: dict[str, int] = {}
        self.confirmed = 0
        self.excuses = 0
        self.processes: dict[str, Process] = {}
        for index in range(processes):
            self.processes[f"p{index}"] = Process(self, f"p{index}")
        if prepare is not None:
            prepare(self)
        if "l2" in warm:
            for process in self.processes.values():
                drive(self, self.look(process))
                if "l1" not in warm:
                    process.cache.memory.wipe()
        for process in self.processes.values():
            self.threads.add(
                f"{process.name} hears", self._deliver(process), process.name, is_daemon=True
            )

    # What happens by itself

    def publish(self, names: Sequence[str]) -> None:
        for process in self.processes.values():
            if process.is_subscribed:
                process.queue.append(message_of(names))

    async def _deliver(self, process: Process) -> None:
        while True:
            await step(
                "a message",
                process.mine(writes=[f"queue {process.name}"]),
                is_enabled=lambda: bool(process.queue),
            )
            process.cache.listening.message(process.queue.pop(0))

    def faults_left(self) -> int:
        return self.budget

    def use_fault(self, label: str) -> None:
        self.budget -= 1

    def idle(self) -> bool:
        self.time += LEASE_SECONDS
        self.redis_changes += 1
        return self.server.expire_leases() or self.time < 10 * LEASE_SECONDS

    # Reading

    async def _load(self, process: Process) -> int:
        # Past the cache, what follows ends the load at once; else the next thing is a fill, a step of its own.
        direct = process.cache.levels.stats.direct
        ends_at_once, process.direct = direct != process.direct, direct
        await step("SELECT", process.alive(reads=["db"]))
        value = self.db
        if ends_at_once:
            await step("SELECT: the row", process.mine())
        return value

    async def look(self, process: Process) -> int:
        cache = process.cache
        frozen = await cache.read(
            process.kind, self.name, lambda: self._load(process), tags=self.tags
        )
        value: int = process.kind.codec.thaw(frozen)
        return value

    # At rest

    def finish(self) -> None:
        """Let everything settle, then read everywhere: nothing may be stale for good."""
        self.operation_faults = ()
        self.server.is_frozen = False
        for thread in list(self.threads.all.values()):
            if thread.name.startswith("late") and thread.next is not None:
                assert thread.next.is_enabled()  # they were added in their order
                self.threads.resume(thread, OK)
        for process in self.processes.values():
            if process.store.breaker.is_open:
                process.is_cut = False
                assert drive(self, process.store.probe())
            if not process.is_subscribed:
                process.cache.listening.lost()
                process.subscribe()
                drive(self, process.cache.writing.repeat_recent())
        for process in self.processes.values():
            drive(self, process.cache.writing.retry())
            assert process.cache.owing is not None
            drive(self, process.cache.owing.delete_settled())
        first = next(iter(self.processes.values()))
        assert first.cache.owing is not None
        drive(self, first.cache.owing.replay())
        for process in self.processes.values():
            while process.queue:
                process.cache.listening.message(process.queue.pop(0))
        for process in self.processes.values():
            for _ in range(2):
                value = drive(self, self.look(process))
                if value != self.db:
                    raise StaleError(
                        f"for good: {process.name} reads {value:b}, committed is {self.db:b}"
                    )
                process.cache.memory.wipe()
