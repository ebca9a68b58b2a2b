"""A primary that dies, and a synchronous replica that takes its place: what was acknowledged is there."""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path
from time import monotonic

import asyncpg
import pytest

from tests.faults import rows
from tests.faults.journal import Journal
from tests.faults.load import Load, account_of, prepare, spread, tell
from tests.faults.report import Report, forms, seeded_bug
from tests.harness.postgres import Postgres, replicated
from timber.database import transaction
from timber.database.manager import AsyncDatabaseManager
from timber.database.outcome import Outcome
from timber.settings import TimberSettings

ROW = rows.FAILED_OVER
CLIENTS = {"run": 6, "unit": 3, "lone": 3}

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="finds the server's processes in /proc"
)


async def fail_over(size: int, pair: list[Postgres], report: Report, folder: Path) -> None:
    report.count("failovers", size)
    report.version("PostgreSQL", await prepare(pair[0]))
    journal = Journal(folder / "journal")
    db = AsyncDatabaseManager(replicated(*pair), settings=TimberSettings(outage_attempts=5))
    away: list[float] = []
    try:
        async with Load(db, journal, report.random, CLIENTS) as load:
            for _ in range(size):
                await _wait_for_replica(pair)
                await asyncio.sleep(report.random.uniform(0.05, 0.5))
                began = monotonic()
                pair[1].configure(synchronous_standby_names="''")
                await asyncio.to_thread(pair[0].kill)
                await asyncio.to_thread(pair[1].promote)
                pair.reverse()
                await load.next_success()
                away.append(monotonic() - began)
                await asyncio.to_thread(shutil.rmtree, pair[1].data)
                await asyncio.to_thread(pair[1].follow, pair[0])
                await load.everybody_succeeds("run")
    finally:
        for server in pair:
            server.configure(synchronous_standby_names="''")
        await db.dispose()
        journal.close()
    account = await account_of(pair[0], journal.path)
    tell(report, account)
    report.figure("no success for", spread(away))
    # Two servers do not tell of each other's transactions under way.
    account.unresolved.clear()
    account.check()


async def _wait_for_replica(pair: list[Postgres]) -> None:
    """From now on a commit is acknowledged when it is on the replica's disk too."""
    connection = await asyncpg.connect(pair[0].driver_url)
    try:
        async with asyncio.timeout(20):
            while not await connection.fetchval(
                "SELECT state = 'streaming' FROM pg_stat_replication"
            ):
                await asyncio.sleep(0.02)
            await asyncio.to_thread(lambda: pair[0].configure(synchronous_standby_names="'*'"))
            while await connection.fetchval("SELECT sync_state FROM pg_stat_replication") != "sync":
                await asyncio.sleep(0.02)
            # Commits that began before do not wait.
            await asyncio.sleep(0.1)
    finally:
        await connection.close()


@forms(1, 15, timeout=900)
async def test_what_was_acknowledged_is_on_the_replica(
    size: int, pair: list[Postgres], report: Report, tmp_path: Path
):
    await fail_over(size, pair, report, tmp_path)


@pytest.mark.slow
@seeded_bug("a COMMIT whose connection is lost is called committed")
async def test_commits_that_died_with_the_primary_are_caught(
    pair: list[Postgres], report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async def hopeful(*_: object, **__: object) -> Outcome:
        return "committed"

    monkeypatch.setattr(transaction, "resolve_transaction", hopeful)
    with pytest.raises(AssertionError, match="lost"):
        await fail_over(6, pair, report, tmp_path)
