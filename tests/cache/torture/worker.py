"""One process: it writes counters, one at a time or several at once, and reads them through its cache."""

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
from timber.cache.codec import JsonCodec
from timber.cache.coherence.connecting import coherent_cache
from timber.cache.coherence.owing import NAMES_COLUMN, new_owed_id, owing_sql, row_name_sql
from timber.database.manager import AsyncDatabaseManager
from timber.database.statements import Statement
from timber.errors import ServiceError
from timber.settings import TimberSettings

TAG = "all_counters"

READ = Statement("SELECT n FROM counter WHERE id = $1", label="read")
TOTAL = Statement("SELECT sum(n)::bigint AS n FROM counter", label="total")
WRITE = Statement(
    owing_sql(
        "UPDATE counter SET n = n + 1 WHERE id = ANY($1) RETURNING id, n",
        returned=["id", "n"],
        names=[row_name_sql("Counter", "id"), f"'{TAG}'"],
        parameters=1,
    ),
    label="write",
)


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
    def __init__(self, options: dict[str, Any]) -> None:
        self.number: int = options["number"]
        self.until = 0.0
        self.db = AsyncDatabaseManager(
            options["database_url"], settings=TimberSettings(pool_size=8, max_overflow=2)
        )
        self.cache = coherent_cache(options["cache_url"], self.db)
        self.kind = self.cache.kind("Counter", JsonCodec("00"))
        self.board = Board(Path(options["board"]))
        self.report = Report()
        self.chance = random.Random(options["number"])

    async def run(self) -> Report:
        await self.cache.start()
        await self.db.ping()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        self.until = float(await asyncio.to_thread(sys.stdin.readline))
        try:
            tasks = [self._write() for _ in range(2)] + [self._read() for _ in range(3)]
            await asyncio.gather(*tasks)
            # As long as replay and ping take.
            await asyncio.sleep(3)
            for key in range(KEYS):
                stored = (await self.db.fetch(READ, [key]))[0]["n"]
                self.report.stale_for_good += await self._value(key) != stored
            stored = (await self.db.fetch(TOTAL))[0]["n"]
            self.report.stale_for_good += await self._total() != stored
            self.report.stats = self.cache.stats()
        finally:
            await self.cache.close()
            await self.db.dispose()
            self.board.close()
        return self.report

    async def _write(self) -> None:
        while monotonic() < self.until:
            await asyncio.sleep(self.chance.random() * 0.02)
            several = self.chance.random() < 0.2
            keys = sorted(self.chance.sample(range(KEYS), 3 if several else 1))
            changes = self.cache.changes()
            changes.owed = new_owed_id()
            try:
                rows = await self.db.write(WRITE, [keys, changes.owed])
            except ServiceError:
                self.report.errors += 1
                continue
            changes.add_names(rows[0][NAMES_COLUMN])
            await self.cache.committed(changes)
            now = monotonic()
            for row in rows:
                self.board.acknowledge(self.number, row["id"], row["n"], now)
            self.report.writes += 1

    async def _read(self) -> None:
        while monotonic() < self.until:
            await asyncio.sleep(self.chance.random() * 0.002)
            key = self.chance.randrange(KEYS)
            began = monotonic()
            if self.chance.random() < 0.2:
                own = sum(self.board.of(self.number, each) for each in range(KEYS))
                self.report.own_stale += await self._total() < own
            else:
                own, anybody = self.board.of(self.number, key), self.board.of_any(key)
                value = await self._value(key)
                self.report.own_stale += value < own
                if value < anybody:
                    self.report.late.append((began, began - self.board.first_after(key, value)))
            self.report.slowest_read = max(self.report.slowest_read, monotonic() - began)
            self.report.reads += 1

    async def _value(self, key: int) -> int:
        async def load() -> int:
            rows = await self.db.fetch(READ, [key])
            value: int = rows[0]["n"]
            return value

        return int(await self.cache.read(self.kind, f"Counter:{key}", load))

    async def _total(self) -> int:
        async def load() -> int:
            value: int = (await self.db.fetch(TOTAL))[0]["n"]
            return value

        return int(await self.cache.read(self.kind, "Counter?total", load, tags=[TAG]))


def main() -> None:
    report = asyncio.run(Worker(json.loads(sys.argv[1])).run())
    sys.stdout.write(json.dumps(asdict(report)))


if __name__ == "__main__":
    main()
