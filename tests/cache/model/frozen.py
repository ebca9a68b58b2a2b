"""A Redis that stands still for a while and then goes on with what it has not read, a subscription that breaks alone, and what
keeps a process going.
"""

from __future__ import annotations

from tests.cache.model.schedules import step, touches
from tests.cache.model.world import Process, World
from timber.cache.coherence.keeping import Keeping


async def freezes(world: World) -> None:
    """It stands still: what is sent to it waits, and whoever has sent it gives up."""
    await step("FREEZE", touches(writes=["frozen"]))
    world.server.is_frozen = True
    await step("THAW", touches(writes=["frozen"]))
    world.server.is_frozen = False


async def freezes_for_long(world: World) -> None:
    """It stands still until every process has missed the answer to a ping."""
    await step("FREEZE", touches(writes=["frozen"]))
    world.server.is_frozen = True
    for process in world.processes.values():
        await step(f"{process.name} misses a ping", _everything(process))
        process.lose_subscription()
        process.cache.listening.lost()
        process.store.suspect()
    await step("THAW", touches(writes=["frozen"]))
    world.server.is_frozen = False
    for process in world.processes.values():
        world.threads.add(
            f"{process.name} subscribes", subscribes(process), process.name, is_daemon=True
        )


async def goes_deaf(process: Process) -> None:
    """The subscription breaks, alone; that is noticed late, and it is made anew."""
    name = process.name
    await step("SUBSCRIPTION LOST", process.mine(writes=[f"queue {name}"]))
    process.lose_subscription()
    await step("notices the loss", _everything(process))
    process.cache.listening.lost()
    process.store.suspect()
    await subscribes(process)


async def subscribes(process: Process) -> None:
    """What the subscription does once Redis has taken it."""
    await step("SUBSCRIBE", process.alive(writes=[f"queue {process.name}"]))
    process.is_subscribed = True
    assert await process.store.probe()
    process.cache.listening.subscribed()
    await process.cache.writing.repeat_recent()


async def keeps(process: Process, beats: int) -> None:
    """The background: probes, repeats, replays."""
    store, cache = process.store, process.cache
    keeping = Keeping(process.clock, store, store.breaker, cache.writing, cache.owing)
    for _ in range(beats):
        await step(
            "beats",
            process.mine(reads=["frozen"]),
            is_enabled=lambda: (
                not process.world.server.is_frozen
                and (store.breaker.is_open or cache.writing.pending > 0)
            ),
        )
        await keeping.beat()


async def probes(process: Process) -> None:
    """The ping of the subscription, which closes the breaker before what is pending has been repeated."""
    breaker, server = process.store.breaker, process.world.server
    await step(
        "pings",
        process.mine(reads=["frozen"]),
        is_enabled=lambda: not server.is_frozen and breaker.is_open,
    )
    await process.store.probe()


def _everything(process: Process) -> frozenset[tuple[str, bool]]:
    name = process.name
    return process.mine(writes=[f"queue {name}", f"breaker {name}"])
