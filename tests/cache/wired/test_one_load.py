"""A thousand readers in four processes of something that nobody has: one of them asks the database."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.cache.wired.conftest import MakeHouse
from timber.database.statements import Statement

ROOT = Path(__file__).parents[3]
PROCESSES = 4
READERS = 250


async def _start(options: dict[str, Any]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.cache.wired.waiting", json.dumps(options)),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )


@pytest.mark.timeout(180)
async def test_a_thousand_readers_in_four_processes_cause_one_load_and_none_fails(
    make_house: MakeHouse, house_url: str, cache_url: str
) -> None:
    house = await make_house()
    key = (await house.tasks.insert({"user_id": "ann"})).id
    options = {
        "database_url": house_url,
        "cache_url": cache_url,
        "prefix": f"timber-test-{uuid4().hex[:12]}",
        "key": str(key),
        "readers": READERS,
    }
    processes = [await _start(options) for _ in range(PROCESSES)]
    try:
        for process in processes:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
        async with house.timber.unit_of_work():
            # The load takes a while: nobody can read the table until this is over.
            lock = Statement("LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE", label="lock")
            await house.timber.db.execute(lock)
            for process in processes:
                assert process.stdin is not None
                process.stdin.write(b"go\n")
                await process.stdin.drain()
            await asyncio.sleep(0.5)
        outputs = [json.loads((await process.communicate())[0]) for process in processes]
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert sum(output["loads"] for output in outputs) == 1
    assert [output["failed"] for output in outputs] == [0] * PROCESSES
    # Of each process one reader was cancelled, and nobody else was hurt.
    assert [output["found"] for output in outputs] == [READERS - 1] * PROCESSES
