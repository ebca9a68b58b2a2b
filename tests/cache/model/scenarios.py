"""Scenarios: who is in the world at the beginning of each run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tests.cache.model import actors
from tests.cache.model.world import World

Extra = Callable[[World], None]


def scenario(
    *,
    readers: Sequence[int] = (1,),
    writers: Sequence[tuple[int, str]] = ((0, "commit"),),
    extra: Sequence[Extra] = (),
    **world: Any,
) -> Callable[[], World]:
    """What makes the runs of a search.

    Args:
        readers: the process of each.
        writers: the process of each, and how its transaction ends.
        extra: what else there is.
    """

    def make() -> World:
        made = World(**world)
        for index, number in enumerate(readers):
            process = made.processes[f"p{number}"]
            name = f"R{index}@{process.name}"
            made.threads.add(name, actors.reads(made, process), process.name)
        for index, (number, ending) in enumerate(writers):
            process = made.processes[f"p{number}"]
            name = f"W{index}@{process.name}"
            made.threads.add(name, actors.writes(made, process, 1 << index, ending), process.name)
        for add in extra:
            add(made)
        return made

    return make


def crash(world: World) -> None:
    world.threads.add("crash", actors.crashes(world.processes["p0"]), "fate", is_daemon=True)


def cut_off(number: int) -> Extra:
    def add(world: World) -> None:
        process = world.processes[f"p{number}"]
        world.threads.add("cut", actors.is_cut_off(process), "fate", is_daemon=True)

    return add


def flush(world: World) -> None:
    world.threads.add("flush", actors.is_flushed(world), "fate", is_daemon=True)


def failover(world: World) -> None:
    world.threads.add("failover", actors.fails_over(world), "fate", is_daemon=True)


def replay(world: World) -> None:
    process = world.processes["p1"]
    world.threads.add("replay", actors.replays(process), process.name, is_daemon=True)


def repeat(world: World) -> None:
    process = world.processes["p0"]
    world.threads.add("repeat", actors.repeats(process), process.name, is_daemon=True)
