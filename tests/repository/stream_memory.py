"""Streams all jobs of a database, and tells as JSON by how many bytes the process has grown at most meanwhile."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.repository.models import REGISTRY
from timber.database.manager import AsyncDatabaseManager
from timber.repository import Repository


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


async def main(url: str) -> None:
    db = AsyncDatabaseManager(url)
    jobs = Repository(db, REGISTRY.get_model("Job"), REGISTRY.read_dto("Job"))
    await jobs.find(limit=1000)  # everything is imported, connected and compiled
    before = _peak()
    rows = total = 0
    async with jobs.stream() as found:
        async for job in found:
            rows += 1
            total += job.priority  # type: ignore[attr-defined]
    sys.stdout.write(json.dumps({"rows": rows, "sum": total, "grown": _peak() - before}))
    await db.dispose()


asyncio.run(main(sys.argv[1]))
