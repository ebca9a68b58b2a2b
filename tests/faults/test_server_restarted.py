"""A fast shutdown and a start under load: whoever goes through run() does not notice."""

from __future__ import annotations

import asyncio
from pathlib import Path
from time import monotonic

import pytest

from tests.faults import rows
from tests.faults.journal import Journal
from tests.faults.load import Load, account_of, prepare, spread, tell
from tests.faults.report import Report, forms, seeded_bug
from tests.harness.postgres import Postgres
from timber.database import retry
from timber.database.manager import AsyncDatabaseManager
from timber.settings import TimberSettings

ROW = rows.RESTARTED
CLIENTS = {"run": 8, "unit": 2, "lone": 2}
SETTINGS = TimberSettings(outage_attempts=5)
"""A machine may be busy for longer than the three attempts of the default take."""


async def restart(size: int, server: Postgres, report: Report, folder: Path) -> None:
    report.count("restarts", size)
    report.version("PostgreSQL", await prepare(server))
    journal = Journal(folder / "journal")
    db = AsyncDatabaseManager(server.url, settings=SETTINGS)
    away: list[float] = []
    waits: list[float] = []
    try:
        async with Load(db, journal, report.random, CLIENTS) as load:
            for _ in range(size):
                await asyncio.sleep(report.random.uniform(0.05, 0.5))
                began = monotonic()
                await asyncio.to_thread(server.stop)
                await asyncio.to_thread(server.start)
                away.append(monotonic() - began)
                waits.append(await load.next_success())
                await load.everybody_succeeds("run")
    finally:
        await db.dispose()
        journal.close()
    account = await account_of(server, journal.path)
    report.count("errors out of run()", load.errors["run"])
    tell(report, account)
    report.figure("away", spread(away))
    report.figure("first success after the start", spread(waits))
    account.check()
    assert not load.errors["run"], f"errors out of run(): {load.seen}"


@forms(2, 25, timeout=1200)
async def test_run_outlives_a_restart(size: int, server: Postgres, report: Report, tmp_path: Path):
    await restart(size, server, report, tmp_path)


@seeded_bug("an outage is taken for final")
async def test_outages_that_nothing_is_repeated_after_are_caught(
    server: Postgres, report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    trouble_of = retry.trouble_of

    def conflicts_alone(error: BaseException | None, *, locks: bool = False) -> object:
        found = trouble_of(error, locks=locks)
        return found if found == "conflict" else None

    monkeypatch.setattr(retry, "trouble_of", conflicts_alone)
    with pytest.raises(AssertionError, match=r"errors out of run\(\)"):
        await restart(2, server, report, tmp_path)
