"""kill -9 of a real PostgreSQL under load: what was acknowledged is there, and what was not is known."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.faults import rows
from tests.faults.journal import Journal
from tests.faults.load import Load, account_of, prepare, spread, tell
from tests.faults.report import Report, forms, seeded_bug
from tests.harness.postgres import Postgres
from timber.database import transaction
from timber.database.manager import AsyncDatabaseManager
from timber.database.outcome import Outcome
from timber.settings import TimberSettings

ROW = rows.KILLED
CLIENTS = {"run": 6, "unit": 3, "lone": 3}

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="finds the server's processes in /proc"
)


@pytest.fixture(autouse=True)
def resolved(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts the COMMITs that were asked about, and their answers."""
    resolve = transaction.resolve_transaction

    async def counting(*args: Any, **options: Any) -> Outcome:
        outcome = await resolve(*args, **options)
        report.count(f"COMMITs without an answer, found {outcome.replace('_', ' ')}", 1)
        return outcome

    monkeypatch.setattr(transaction, "resolve_transaction", counting)


async def kill(size: int, server: Postgres, report: Report, folder: Path) -> None:
    report.count("kills", size)
    report.version("PostgreSQL", await prepare(server))
    journal = Journal(folder / "journal")
    db = AsyncDatabaseManager(server.url, settings=TimberSettings())
    waits: list[float] = []
    try:
        async with Load(db, journal, report.random, CLIENTS) as load:
            for _ in range(size):
                await asyncio.sleep(report.random.uniform(0.05, 0.6))
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)
                waits.append(await load.next_success())
                # The server forgets whose an id was with the crash after the next: each has to have asked before that.
                for kind in CLIENTS:
                    await load.everybody_succeeds(kind)
    finally:
        await db.dispose()
        journal.close()
    account = await account_of(server, journal.path)
    tell(report, account)
    report.figure("first success after recovery", spread(waits))
    account.check()


@forms(2, 50, timeout=1800)
async def test_what_was_acknowledged_is_there_and_the_rest_is_known(
    size: int, server: Postgres, report: Report, tmp_path: Path
):
    await kill(size, server, report, tmp_path)


@pytest.mark.slow
@seeded_bug("sessions are opened with synchronous_commit = off")
async def test_commits_acknowledged_too_early_are_caught(
    server: Postgres, report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from timber.database import engine

    connect_arguments = engine.connect_arguments

    def hasty(*args: Any) -> Any:
        arguments = connect_arguments(*args)
        arguments["server_settings"]["synchronous_commit"] = "off"
        return arguments

    monkeypatch.setattr(engine, "connect_arguments", hasty)
    with pytest.raises(AssertionError, match="lost"):
        await kill(6, server, report, tmp_path)


@pytest.mark.slow
@seeded_bug("a unit of work sends no BEGIN")
async def test_units_that_happen_by_half_are_caught(
    server: Postgres, report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(
        "timber.database.levels.TransactionOptions.begin", lambda *_: "SET timezone = 0"
    )
    with pytest.raises(AssertionError, match=r"halved|doubled"):
        await kill(6, server, report, tmp_path)
