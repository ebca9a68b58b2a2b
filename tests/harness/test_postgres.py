"""Servers of a test's own come back from everything that is done to them."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path

import asyncpg
import pytest

from tests.harness.postgres import Postgres, replicated, runs, wait_until_ended
from timber.database.manager import AsyncDatabaseManager
from timber.database.statements import Statement

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="finds the server's processes in /proc"
)
WHERE = Statement("SHOW data_directory", label="where")


@pytest.fixture
def folder() -> Generator[Path]:
    with tempfile.TemporaryDirectory(prefix="timber-own-", ignore_cleanup_errors=True) as path:
        yield Path(path)


async def value(server: Postgres, query: str) -> object:
    connection = await asyncpg.connect(server.driver_url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_a_primary_and_its_replica_change_places(folder: Path):
    one, two = Postgres(folder / "one"), Postgres(folder / "two")
    db = AsyncDatabaseManager(replicated(one, two))
    try:
        one.start()
        two.follow(one)
        assert await value(one, "SELECT pg_is_in_recovery()") is False
        assert await value(two, "SELECT pg_is_in_recovery()") is True
        assert (await db.fetch(WHERE))[0][0] == str(one.data)
        await asyncio.to_thread(one.stop)
        await asyncio.to_thread(two.promote)
        assert (await db.fetch(WHERE))[0][0] == str(two.data)
        await asyncio.to_thread(one.follow, two)
        assert await value(one, "SELECT pg_is_in_recovery()") is True
        one.kill()
        assert one.pid is None
        one.start()
        one.freeze()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(value(one, "SELECT 1"), 0.2)
        one.thaw()
        assert await value(one, "SELECT 1") == 1
    finally:
        await db.dispose()
        for server in (one, two):
            server.thaw()
            server.stop("immediate")


IN_THE_MIDDLE = """
import sys, time
from pathlib import Path
from tests.harness.postgres import Postgres

server = Postgres(Path(sys.argv[1]) / "one")
server.start()
if sys.argv[2] == "frozen":
    server.freeze()
print(*server.processes, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("state", ["running", "frozen"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_server_goes_when_the_process_of_its_test_goes(state: str, number: signal.Signals):
    folder = Path(tempfile.mkdtemp(prefix="timber-own-"))
    command = [sys.executable, "-c", IN_THE_MIDDLE, str(folder), state]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        processes = [int(pid) for pid in process.stdout.readline().split()]
        assert len(processes) > 1
    finally:
        process.send_signal(number)
        process.communicate()
    wait_until_ended(processes, seconds=60)
    assert not any(runs(pid) for pid in processes)
    while folder.exists():  # the last thing it does, and the test has a time limit
        time.sleep(0.01)
