"""Scenarios: who is in the world at the beginning of each run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tests.cache.model import actors, frozen
from tests.cache.model.world import World

Extra = Callable[[World], None]
Writer = tuple[int, str] | tuple[int, str, str]


def scenario(
    *,
    readers: Sequence[int] = (1,),
    writers: Sequence[Writer] = ((0, "commit"),),
    extra: Sequence[Extra] = (),
    **world: Any,
) -> Callable[[], World]:
    """What makes the runs of a search.

    Args:
        readers: the process of each.
        writers: the process of each, how its transaction ends, and how it reaches the cache.
        extra: what else there is.
    """

    def make() -> World:
        made = World(**world)
        for index, number in enumerate(readers):
            process = made.processes[f"p{number}"]
            name = f"R{index}@{process.name}"
            made.threads.add(name, actors.reads(made, process), process.name)
        for index, (number, *rest) in enumerate(writers):
            process = made.processes[f"p{number}"]
            name = f"W{index}@{process.name}"
            made.threads.add(name, actors.writes(made, process, 1 << index, *rest), process.name)
        for add in extra:
            add(made)
        return made

    return make


def reader(number: int, may_begin: Callable[[World], bool]) -> Extra:
    """A reader who begins only when something has happened, where that leaves out orders in which nothing can be seen."""

    def add(world: World) -> None:
        process = world.processes[f"p{number}"]
        name = f"R@{process.name}"
        world.threads.add(name, actors.reads(world, process, may_begin), process.name)

    return add


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


def freeze(world: World) -> None:
    world.threads.add("freeze", frozen.freezes(world), "fate", is_daemon=True)


def long_freeze(world: World) -> None:
    world.threads.add("freeze", frozen.freezes_for_long(world), "fate", is_daemon=True)


def keeping(number: int, beats: int = 1) -> Extra:
    def add(world: World) -> None:
        process = world.processes[f"p{number}"]
        name = f"{process.name} keeps"
        world.threads.add(name, frozen.keeps(process, beats), process.name, is_daemon=True)

    return add


def probing(number: int) -> Extra:
    def add(world: World) -> None:
        process = world.processes[f"p{number}"]
        name = f"{process.name} probes"
        world.threads.add(name, frozen.probes(process), process.name, is_daemon=True)

    return add


def deaf(number: int) -> Extra:
    def add(world: World) -> None:
        process = world.processes[f"p{number}"]
        world.threads.add("deaf", frozen.goes_deaf(process), process.name, is_daemon=True)

    return add
