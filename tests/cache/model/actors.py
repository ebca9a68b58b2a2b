"""Who acts in the world: readers, writers, what replays and repeats, and what goes wrong."""

from __future__ import annotations

from collections.abc import Callable

from tests.cache.model.schedules import OK, StaleError, step, touches
from tests.cache.model.ways import ANOTHER, ONE, WAYS
from tests.cache.model.world import MODEL, TAG, Process, World


async def reads(
    world: World, process: Process, may_begin: Callable[[World], bool] = lambda _: True
) -> None:
    """Reads once, and holds what it gets against what was acknowledged before it began."""
    await step(
        "begins to read",
        process.mine(reads=["acknowledged", f"queue {process.name}"]),
        is_enabled=lambda: may_begin(world),
    )
    own = world.acknowledged.get(process.name, 0)
    is_informed = process.is_subscribed and not process.queue
    confirmed = world.confirmed if is_informed else 0
    value = await world.look(process)
    if value & ~world.db:
        raise StaleError(f"{process.name} reads {value:b}, which nobody has committed")
    if own & ~value:
        raise StaleError(f"{process.name} reads {value:b}, older than its own acknowledged {own:b}")
    if confirmed & ~value and not world.excuses:
        raise StaleError(
            f"{process.name} reads {value:b}, older than the acknowledged {confirmed:b}"
        )


async def writes(
    world: World, process: Process, bit: int, ending: str = "commit", way: str = "unit"
) -> None:
    """One transaction.

    Args:
        ending: ``commit``; ``rollback``; ``savepoint`` with a part rolled back before the commit; ``unknown``, where the
            connection breaks at COMMIT.
        way: how it reaches the cache.
    """
    made = WAYS[way](process, ANOTHER if world.is_list else ONE)
    held = touches() if world.is_list else touches(writes=["lock"])
    await step(
        f"writes {bit:b}",
        process.alive() | held,
        is_enabled=lambda: world.is_list or world.lock is None,
    )
    world.lock = bit
    if ending == "savepoint":
        made.undone()
        await step("ROLLBACK TO", process.alive())
    made.write()
    if ending == "rollback":
        await step("ROLLBACK", process.alive() | held)
        world.lock = None
        await made.ended("rolled_back")
        return
    owed = await made.owe()
    variants = (OK,) if ending != "unknown" else (OK, "is cut off, committed", "is cut off, later")
    how = await step("COMMIT", process.alive(writes=["db", "owed"]) | held, variants)

    def commit() -> None:
        world.db |= bit
        world.lock = None
        world.owed.update(owed)

    if how == "is cut off, later":

        async def later() -> None:
            await step("COMMIT goes through", touches(writes=["db", "owed"]) | held)
            commit()

        world.threads.add("the server", later(), "postgres")
    else:
        commit()
    await step("learns of it", process.mine())
    if how != OK:
        await made.ended("unknown")
        return
    await made.ended("committed")
    is_confirmed = not process.cache.writing.pending
    await step("acknowledges", process.mine(writes=["acknowledged"]))
    world.acknowledged[process.name] = world.acknowledged.get(process.name, 0) | bit
    if is_confirmed:
        world.confirmed |= bit


async def replays(process: Process) -> None:
    """The replay of owed rows, once."""
    world = process.world
    await step("polls", process.mine(reads=["owed"]), is_enabled=lambda: bool(world.owed))
    assert process.cache.owing is not None
    await process.cache.owing.replay()


async def repeats(process: Process) -> None:
    """The repetition of clears that were not confirmed, once."""
    await step("beats", process.mine(), is_enabled=lambda: bool(process.cache.writing.pending))
    await process.cache.writing.retry()


async def crashes(process: Process) -> None:
    """The process dies at any point and is started anew."""
    world = process.world
    name = process.name
    await step("CRASH", touches(writes=[name, f"alive {name}", f"queue {name}", "acknowledged"]))
    world.threads.kill(name)
    if world.lock is not None:
        world.lock = None  # the server rolls back what was open; what it had been told to commit is committed
    world.acknowledged.pop(name, None)
    process.restart()
    world.threads.add(f"{name} hears again", world._deliver(process), name, is_daemon=True)


async def is_cut_off(process: Process) -> None:
    """The process loses Redis, notices it late, and finds back."""
    name = process.name
    everything = process.mine(writes=[f"queue {name}", f"alive {name}"])
    await step("CUT OFF", everything)
    process.is_cut = True
    process.lose_subscription()
    await step("notices the loss", everything)
    process.cache.listening.lost()
    await step("subscribes again", everything)
    process.subscribe()
    await process.cache.writing.repeat_recent()


async def is_flushed(world: World) -> None:
    await step("FLUSH", touches(writes=["e", "g:" + MODEL, "g:" + TAG]))
    world.server.data.clear()
    world.redis_changes += 1


async def fails_over(world: World) -> None:
    """A replica that has missed the last writes is promoted."""
    everything = ["e", "g:" + MODEL, "g:" + TAG]
    await step("the replica is in sync up to here", touches(reads=everything))
    before = dict(world.server.data)
    queues = [f"queue {name}" for name in world.processes]
    await step("FAILOVER", touches(writes=[*everything, *queues, *world.processes, "acknowledged"]))
    world.server.data = before
    world.server.replication_id += "b"
    world.redis_changes += 1
    world.excuses += 1
    for process in world.processes.values():
        process.lose_subscription()
        # The connection breaks with the old primary: nothing counts until the new one has told its epoch.
        process.store.suspect()
    for process in world.processes.values():
        await step(f"{process.name} finds it", process.mine(writes=queues))
        process.cache.listening.lost()
        process.subscribe()
        await process.cache.writing.repeat_recent()
