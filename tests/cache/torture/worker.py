"""One process: it turns counters in every way there is, and reads them through its cache."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from tests.cache.torture.board import KEYS, Board
from tests.cache.torture.counters import REGISTRY, SHELF, Counters
from timber import Timber
from timber.errors import ServiceError


@dataclass
class Report:
    reads: int = 0
    writes: int = 0
    own_stale: int = 0
    late: list[tuple[float, float]] = field(default_factory=list)
    """When a value was read that was older than another process's acknowledgement, and by how many seconds."""
    slowest_read: float = 0.0
    errors: int = 0
    stale_for_good: int = 0
    stats: dict[str, Any] = field(default_factory=dict)


class Worker:
    def __init__(self, options: dict[str, Any], timber: Timber) -> None:
        self.number: int = options["number"]
        self.until = 0.0
        self.timber = timber
        self.counters = Counters(timber)
        self.board = Board(Path(options["board"]))
        self.report = Report()
        self.chance = random.Random(options["number"])

    async def run(self) -> Report:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        self.until = float(await asyncio.to_thread(sys.stdin.readline))
        tasks = [self._write() for _ in range(2)] + [self._read() for _ in range(3)]
        await asyncio.gather(*tasks)
        # As long as replay and ping take.
        await asyncio.sleep(3)
        await self._look_at_rest()
        self.report.stats = self.timber.cache.stats()
        self.board.close()
        return self.report

    async def _look_at_rest(self) -> None:
        rows = self.counters.rows
        for key in range(KEYS):
            stored = await rows.get(key, fresh=True)
            self.report.stale_for_good += await rows.get(key) != stored
        listed = await rows.find(shelf=SHELF, order_by="id")
        self.report.stale_for_good += listed != await rows.find(
            shelf=SHELF, order_by="id", fresh=True
        )

    async def _write(self) -> None:
        while monotonic() < self.until:
            await asyncio.sleep(self.chance.random() * 0.02)
            several = self.chance.random() < 0.3
            keys = sorted(self.chance.sample(range(KEYS), 3 if several else 1))
            try:
                turned = await self.chance.choice(self.counters.ways)(keys)
            except ServiceError:
                self.report.errors += 1
                continue
            now = monotonic()
            for key, n in turned.items():
                self.board.acknowledge(self.number, key, n, now)
            self.report.writes += 1

    async def _read(self) -> None:
        while monotonic() < self.until:
            await asyncio.sleep(self.chance.random() * 0.002)
            began = monotonic()
            if self.chance.random() < 0.2:
                await self._read_list(began)
            else:
                await self._read_row(self.chance.randrange(KEYS), began)
            self.report.slowest_read = max(self.report.slowest_read, monotonic() - began)
            self.report.reads += 1

    async def _read_row(self, key: int, began: float) -> None:
        own, anybody = self.board.of(self.number, key), self.board.of_any(key)
        self._judge(key, (await self.counters.rows.get(key)).n, (own, anybody), began)

    async def _read_list(self, began: float) -> None:
        known = [(self.board.of(self.number, k), self.board.of_any(k)) for k in range(KEYS)]
        for row in await self.counters.rows.find(shelf=SHELF):
            self._judge(row.id, row.n, known[row.id], began)

    def _judge(self, key: int, value: int, known: tuple[int, int], began: float) -> None:
        own, anybody = known
        self.report.own_stale += value < own
        if value < anybody:
            self.report.late.append((began, began - self.board.first_after(key, value)))


async def run(options: dict[str, Any]) -> Report:
    timber = Timber(
        options["database_url"],
        registry=REGISTRY,
        cache_url=options["cache_url"],
        cache_prefix="torture",
        pool_size=8,
        max_overflow=2,
    )
    async with timber:
        return await Worker(options, timber).run()


def main() -> None:
    report = asyncio.run(run(json.loads(sys.argv[1])))
    sys.stdout.write(json.dumps(asdict(report)))


if __name__ == "__main__":
    main()
