"""Caches as they are usually written, in the same world."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.cache.model.actors import reads
from tests.cache.model.schedules import step
from tests.cache.model.world import Process, World


class NaiveWorld(World):
    """Readers put what they have read, whatever has happened meanwhile."""

    async def look(self, process: Process) -> int:
        await step("GET", process.alive(reads=["e"]))
        found = self.server.data.get("naive")
        await step("GET: the reply", process.mine())
        if found is not None:
            return int(found)
        value = await self._load(process)
        await step("SET", process.alive(writes=["e"]))
        self.server.data["naive"] = str(value).encode()
        await step("SET: the reply", process.mine())
        return value


async def _delete(world: World, process: Process) -> None:
    await step("DEL", process.alive(writes=["e"]))
    world.server.data.pop("naive", None)
    await step("DEL: the reply", process.mine())


async def _commit(world: World, process: Process) -> None:
    await step("COMMIT", process.alive(writes=["db"]))
    world.db |= 1
    await step("learns of it", process.mine())


async def deletes_then_commits(world: World, process: Process) -> None:
    await _delete(world, process)
    await _commit(world, process)


async def commits_then_deletes(world: World, process: Process) -> None:
    await _commit(world, process)
    await _delete(world, process)


def naive_scenario(write: Callable[[World, Process], Any]) -> Callable[[], World]:
    def make() -> World:
        world = NaiveWorld(warm=())
        reader, writer = world.processes["p1"], world.processes["p0"]
        world.threads.add("R", reads(world, reader), reader.name)
        world.threads.add("W", write(world, writer), writer.name)
        return world

    return make
