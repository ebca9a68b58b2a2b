"""One process with many readers of one cold key; it says how often it asked the database."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any
from uuid import UUID

from tests.cache.wired.house import REGISTRY, House
from timber import Timber


async def run(options: dict[str, Any]) -> dict[str, int]:
    key = UUID(options["key"])
    async with Timber(
        options["database_url"],
        registry=REGISTRY,
        cache_url=options["cache_url"],
        cache_prefix=options["prefix"],
        pool_size=8,
    ) as timber:
        _take_your_time(timber)
        house = House(timber)
        asked: list[str] = []
        timber.db.monitor.listeners.append(lambda label, _sql, _seconds: asked.append(label))
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.readline)
        readers = [asyncio.create_task(house.tasks.get(key)) for _ in range(options["readers"])]
        await asyncio.sleep(0)
        # The first of them leads the load of this process: it is cut off.
        readers[0].cancel()
        found = await asyncio.gather(*readers, return_exceptions=True)
        return {
            "found": sum(not isinstance(row, BaseException) for row in found),
            "failed": sum(isinstance(row, Exception) for row in found),
            "loads": asked.count("copy Task"),
        }


def _take_your_time(timber: Timber) -> None:
    """Four processes on few cores are slower than a Redis that has gone would be."""
    levels = timber.cache.levels
    levels.lease_seconds = 60.0
    store: Any = levels.store
    store._lease_ms = 60_000
    store._read_deadline = 10.0


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(run(json.loads(sys.argv[1])))))
