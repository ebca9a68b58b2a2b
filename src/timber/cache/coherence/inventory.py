"""Every key of a cache in Redis, looked at or thrown away by those who look after it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from timber.cache.coherence.envelope import LEASE
from timber.cache.coherence.listening import EVERYTHING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis

    from timber.cache.keys import Keyspace

_BATCH: Final = 500


@dataclass(slots=True)
class Holding:
    """What there is of one model, or of one cached method.

    Attributes:
        rows: how many copies of rows, or of their absence.
        answers: how many lists, numbers and answers of methods.
        leases: how many loads are under way.
        bytes: what the values take.
    """

    rows: int = 0
    answers: int = 0
    leases: int = 0
    bytes: int = 0


@dataclass(slots=True)
class Inventory:
    """What there is.

    Attributes:
        models: by their names.
        tags: how many tags have a generation.
    """

    models: dict[str, Holding] = field(default_factory=dict)
    tags: int = 0


async def take_inventory(client: Redis, space: Keyspace) -> Inventory:
    """Count every key."""
    inventory = Inventory()
    start = space.entry("")
    async for keys in _batches(client, space):
        names = [key.decode().removeprefix(start) for key in keys if key.startswith(start.encode())]
        inventory.tags += len(keys) - len(names)
        async with client.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.strlen(space.entry(name))
                pipe.getrange(space.entry(name), 0, 0)
            found: list[Any] = await pipe.execute()
        for name, size, kind in zip(names, found[::2], found[1::2], strict=True):
            model = name.partition("?")[0] if "?" in name else name.partition(":")[0]
            held = inventory.models.setdefault(model, Holding())
            if kind == LEASE:
                held.leases += 1
            else:
                held.rows += "?" not in name
                held.answers += "?" in name
                held.bytes += size
    return inventory


async def wipe(client: Redis, space: Keyspace) -> None:
    """Delete every key, and only then tell every process."""
    async for keys in _batches(client, space):
        await client.unlink(*keys)
    await client.publish(space.channel, EVERYTHING)


async def _batches(client: Redis, space: Keyspace) -> AsyncIterator[list[bytes]]:
    batch: list[bytes] = []
    for pattern in (space.entry("*"), space.generation("*")):
        async for key in client.scan_iter(match=_plain(pattern), count=_BATCH):
            batch.append(key)
            if len(batch) >= _BATCH:
                yield batch
                batch = []
    if batch:
        yield batch


def _plain(pattern: str) -> str:
    """A pattern in which nothing but its end stands for something else."""
    return "".join(f"\\{c}" if c in "?[]\\^" else c for c in pattern[:-1]).replace("*", "\\*") + "*"
