"""Deadlines in a storm: useful work goes on, connections are kept, and nobody is cancelled who was not to be."""

from __future__ import annotations

import asyncio
from statistics import median, quantiles
from typing import Any, NamedTuple

import pytest

from tests.database.conftest import MakeDb
from tests.database.ledger import Observer
from tests.faults import rows
from tests.faults.report import Report, forms, seeded_bug
from tests.faults.storm_of_cancels import PLACES, Storm, Weather
from timber.database import driver
from timber.database.driver import Driver

ROW = rows.STORM


class Size(NamedTuple):
    rounds: int
    seconds: float
    is_timed: bool = False
    """Whether useful work is compared with what is done undisturbed; that says nothing on a machine that does other things."""


async def endure(make_db: MakeDb, observer: Observer, report: Report, size: Size) -> None:
    db = make_db(pool_size=PLACES, max_overflow=0)
    storm = Storm(db, observer, report.random)
    await storm.warm_up(0.5)
    ratios: list[float] = []
    cancels = reconnects = 0
    for number in range(size.rounds):
        calm = Weather(0.0)
        if size.is_timed and number % 2:
            calm = await storm.blow(size.seconds, storm=False)
        weather = await storm.blow(size.seconds, storm=True)
        if size.is_timed and not number % 2:
            calm = await storm.blow(size.seconds, storm=False)
        if size.is_timed:
            ratios.append(weather.throughput / calm.throughput)
        for each in (calm, weather):
            report.count("useful transactions", each.useful)
            assert not each.wrong_victims, f"cancelled, and not meant: {each.wrong_victims[:5]}"
            report.count("not known at the deadline", each.unknown)
            assert not each.misreported, each.misreported
            assert each.slots_lost == 0
        cancels += weather.cancels
        reconnects += weather.reconnects
    report.count("cancels", cancels)
    report.count("reconnects", reconnects)
    report.version("PostgreSQL", await observer.value("SHOW server_version"))
    assert cancels > 8 * size.rounds * size.seconds, "no storm"
    assert reconnects * 100 <= 5 * cancels, f"{reconnects} reconnects for {cancels} cancels"
    if ratios:
        middle = median(ratios)
        report.figure("useful throughput", f"{middle:.0%} (median of {len(ratios)} paired rounds)")
        lower, _, upper = quantiles(ratios, n=4)
        report.figure("half of the rounds between", f"{lower:.0%} and {upper:.0%}")
        assert middle >= 0.8, ratios


@forms(Size(1, 1.5), Size(25, 1.0, is_timed=True), timeout=300)
async def test_a_storm_of_cancels_hits_only_whom_it_is_meant_for_and_costs_few_connections(
    make_db: MakeDb, observer: Observer, report: Report, size: Size
):
    await endure(make_db, observer, report, size)


@seeded_bug("a cancelled statement costs its connection")
async def test_connections_that_are_thrown_away_are_noticed(
    make_db: MakeDb, observer: Observer, report: Report, monkeypatch: pytest.MonkeyPatch
):
    async def abruptly(self: Any, waiter: Any, cancel_waiter: Any = None) -> None:
        if cancel_waiter is not None:
            cancel_waiter.add_done_callback(asyncio.Future.exception)
        self.terminate()
        waiter.set_result(None)

    monkeypatch.setattr(Driver, "_cancel", abruptly)
    with pytest.raises(AssertionError, match="reconnects for"):
        await endure(make_db, observer, report, Size(1, 1.0))
    # What nobody has cancelled would go on.
    await observer.value(
        "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity"
        " WHERE datname = current_database() AND query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()"
    )


@seeded_bug("a cancel request is sent, and nobody waits until it has been dealt with")
async def test_a_request_that_hits_the_next_statement_is_noticed(
    make_db: MakeDb, observer: Observer, report: Report, monkeypatch: pytest.MonkeyPatch
):
    underway: set[asyncio.Task[None]] = set()
    right = driver.request_cancel

    async def later(connection: Any) -> None:
        await asyncio.sleep(0.02)
        if not connection.is_closed():
            await right(connection)

    async def forgetful(connection: Any) -> None:
        await right(connection)
        underway.add(asyncio.create_task(later(connection)))

    monkeypatch.setattr(driver, "request_cancel", forgetful)
    with pytest.raises(AssertionError, match="cancelled, and not meant"):
        await endure(make_db, observer, report, Size(1, 1.0))
    await asyncio.wait(underway)
