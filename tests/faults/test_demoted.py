"""A primary that is one no longer, under load: whoever goes through run() does not notice."""

from __future__ import annotations

import asyncio
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from tests.faults import rows
from tests.faults.journal import Journal
from tests.faults.load import Load, account_of, prepare, spread, tell
from tests.faults.report import Report, forms, seeded_bug
from tests.harness.postgres import Postgres, replicated
from timber.database import hosts, retry
from timber.database.manager import AsyncDatabaseManager
from timber.settings import TimberSettings

ROW = rows.DEMOTED
CLIENTS = {"run": 8, "unit": 2, "lone": 2}


async def change_places(
    size: int, pair: list[Postgres], report: Report, folder: Path, *, patience: float = 30.0
) -> None:
    report.count("switchovers", size)
    report.version("PostgreSQL", await prepare(pair[0]))
    journal = Journal(folder / "journal")
    db = AsyncDatabaseManager(replicated(*pair), settings=TimberSettings(outage_attempts=5))
    away: list[float] = []
    try:
        async with Load(db, journal, report.random, CLIENTS) as load:
            for _ in range(size):
                await asyncio.sleep(report.random.uniform(0.05, 0.5))
                began = monotonic()
                # A fast shutdown hands everything over before it ends.
                await asyncio.to_thread(pair[0].stop)
                await asyncio.to_thread(pair[1].promote)
                pair.reverse()
                await load.next_success(seconds=patience)
                away.append(monotonic() - began)
                await asyncio.to_thread(pair[1].follow, pair[0])
                await load.everybody_succeeds("run")
    finally:
        await db.dispose()
        journal.close()
    account = await account_of(pair[0], journal.path)
    report.count("errors out of run()", load.errors["run"])
    tell(report, account)
    report.figure("no success for", spread(away))
    account.check()
    assert not load.errors["run"], f"errors out of run(): {load.seen}"


async def turn_read_only(size: int, server: Postgres, report: Report, folder: Path) -> None:
    report.count("times read-only", size)
    report.version("PostgreSQL", await prepare(server))
    journal = Journal(folder / "journal")
    db = AsyncDatabaseManager(server.url, settings=TimberSettings(outage_attempts=5))
    try:
        async with Load(db, journal, report.random, CLIENTS) as load:
            for _ in range(size):
                await asyncio.sleep(report.random.uniform(0.05, 0.5))
                for state in ("on", "off"):
                    turn = {"default_transaction_read_only": state}
                    await asyncio.to_thread(lambda turn=turn: server.configure(**turn))
                    await asyncio.sleep(report.random.uniform(0.1, 0.5))
                await load.everybody_succeeds("run")
    finally:
        server.configure(default_transaction_read_only="off")
        await db.dispose()
        journal.close()
    account = await account_of(server, journal.path)
    report.count("errors out of run()", load.errors["run"])
    tell(report, account)
    account.check()
    assert not load.errors["run"], f"errors out of run(): {load.seen}"
    assert load.errors["lone"] + load.errors["unit"], "nobody has met it"


@forms(1, 15, timeout=1200)
async def test_run_finds_the_new_primary(
    size: int, pair: list[Postgres], report: Report, tmp_path: Path
):
    await change_places(size, pair, report, tmp_path)


@forms(1, 25, timeout=1200)
async def test_run_outlives_a_server_that_takes_no_writes_for_a_while(
    size: int, server: Postgres, report: Report, tmp_path: Path
):
    await turn_read_only(size, server, report, tmp_path)


@pytest.mark.slow
@seeded_bug("only the first host of the URL is asked")
async def test_a_primary_that_is_not_looked_for_is_caught(
    pair: list[Postgres], report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    init: Any = hosts.Hosts.__init__
    first = pair[0].url.partition("host=")[2].partition("&")[0]

    def only_one(self: Any, found: Any, wanted: str) -> None:
        init(self, [host for host in found if host.name in first.replace("%2F", "/")], wanted)

    monkeypatch.setattr(hosts.Hosts, "__init__", only_one)
    with pytest.raises(AssertionError, match="nothing succeeds"):
        await change_places(1, pair, report, tmp_path, patience=5)


@seeded_bug("25006 is taken for final")
async def test_a_read_only_server_that_is_not_outlived_is_caught(
    server: Postgres, report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delitem(retry.TRANSIENT, "25006")  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match=r"errors out of run\(\)"):
        await turn_read_only(1, server, report, tmp_path)
