"""Isolation as a caller of ``timber.run`` gets it: Hermitage's anomalies, and money that is moved by eight tasks."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.cache.servers import cache_server
from tests.faults import rows
from tests.faults.accounts import ISOLATIONS, make_registry
from tests.faults.anomalies import CASES, POSSIBLE
from tests.faults.report import Report, seeded_bug
from tests.faults.stage import play
from tests.faults.transfers import TASKS, transfer_much
from tests.harness.databases import Databases, connected
from timber.app import Timber
from timber.database.levels import Isolation, TransactionOptions
from timber.database.retry import Attempts
from timber.database.unit_of_work import UnitOfWork

ROW = rows.ISOLATION
Bank = Callable[[str | None], Any]


@pytest.fixture
def bank(test_databases: Databases, tmp_path: Path) -> Bank:
    """A Timber with accounts, and a connection from beside it."""

    @asynccontextmanager
    async def open_bank(
        cache_url: str | None,
    ) -> AsyncGenerator[tuple[Timber, asyncpg.Connection[Any]]]:
        async with test_databases.made_bare() as url, connected(url) as database:
            # A deadlock is found by waiting: a second of it would be most of a test.
            name = await database.fetchval("SELECT current_database()")
            await database.execute(f"ALTER DATABASE \"{name}\" SET deadlock_timeout = '20ms'")
            async with Timber(
                url,
                registry=make_registry(tmp_path),
                cache_url=cache_url,
                conflict_wait=0.002,
                conflict_attempts=100,
            ) as timber:
                await timber.db.create_all_tables()
                yield timber, database

    return open_bank


async def anomalies(bank: Bank, report: Report, cache_url: str | None, rounds: int) -> None:
    async with bank(cache_url) as (timber, database):
        report.version("PostgreSQL", await database.fetchval("SHOW server_version"))
        wrong: list[str] = []
        for isolation in ISOLATIONS * rounds:
            for case in report.random.sample(CASES, len(CASES)):
                seen = await play(case, timber, database, isolation)
                report.count("anomaly cases", 1)
                report.count("retries", seen.retries)
                if case.is_anomaly(seen) != (case.name in POSSIBLE[isolation]):
                    wrong.append(f"{case.name} ({case.about}) at {isolation}: {seen}")
        assert not wrong, f"not what PostgreSQL promises: {wrong}"


def with_caches(short: int, full: int, *, timeout: float) -> pytest.MarkDecorator:
    """The short form without a cache, the full one with each kind of it too; ``timeout`` in seconds is the full one's."""
    slow = [pytest.mark.slow, pytest.mark.timeout(timeout)]
    return pytest.mark.parametrize(
        ("cache_url", "size"),
        [
            pytest.param(None, short, id="short"),
            *(
                pytest.param(cache, full, id=f"{cache}-full", marks=slow)
                for cache in (None, "memory", "redis")
            ),
        ],
        indirect=["cache_url"],
    )


@pytest.fixture
def cache_url(request: pytest.FixtureRequest) -> Generator[str | None]:
    if request.param != "redis":
        yield request.param
        return
    with cache_server() as url:
        yield url


@with_caches(1, 10, timeout=600)
async def test_each_level_prevents_what_postgresql_promises_and_no_more(
    bank: Bank, report: Report, cache_url: str | None, size: int
):
    await anomalies(bank, report, cache_url, size)


async def transfers(bank: Bank, report: Report, cache_url: str | None, each: int) -> None:
    async with bank(cache_url) as (timber, database):
        for isolation in ISOLATIONS:
            sums = await transfer_much(timber, database, isolation, report.random, each)
            report.count("transfers", sums.transfers)
            report.count("retries", sums.retries)
            found = {name: n for name, n in dataclasses.asdict(sums).items() if n}
            for name in promised(isolation):
                assert not found.get(name), f"{isolation}: {name} in {found}"
            assert sums.committed > TASKS, f"{isolation}: {found}"
            assert sums.retries > 0 or isolation == "read committed", f"{isolation}: {found}"
            if isolation != "serializable":
                report.count(f"pairs found overdrawn at {isolation}", sums.overdrawn)
                report.count(f"sums changed at {isolation}", sums.drift != 0)


def promised(isolation: Isolation) -> list[str]:
    """What does not happen."""
    always = ["errors", "wrong_callbacks", "stale"]
    sums = ["drift", "wrong_sums"] if isolation != "read committed" else []
    return [*always, *sums, *(["overdrawn"] if isolation == "serializable" else [])]


@with_caches(10, 250, timeout=900)
async def test_money_is_neither_made_nor_lost_and_each_callback_runs_once(
    bank: Bank, report: Report, cache_url: str | None, size: int
):
    await transfers(bank, report, cache_url, size)


@seeded_bug("the isolation that was asked for is left out of BEGIN")
async def test_an_isolation_that_is_forgotten_is_noticed(
    bank: Bank, report: Report, monkeypatch: pytest.MonkeyPatch
):
    right = TransactionOptions.begin

    def forgetful(self: TransactionOptions, *args: Any) -> str:
        return right(dataclasses.replace(self, isolation=None), *args)

    monkeypatch.setattr(TransactionOptions, "begin", forgetful)
    with pytest.raises(AssertionError, match=r"P4 \(lost update\) at repeatable read"):
        await anomalies(bank, report, None, 1)


@seeded_bug("who lost against another transaction is not repeated")
async def test_a_loser_that_is_not_repeated_is_noticed(
    bank: Bank, report: Report, monkeypatch: pytest.MonkeyPatch
):
    async def once(_self: Attempts, work: Any, *args: Any) -> Any:
        return await work(*args)

    monkeypatch.setattr(Attempts, "run", once)
    with pytest.raises(AssertionError, match="errors"):
        await transfers(bank, report, None, 12)


@seeded_bug("what waits for a commit is called after a rollback, too")
async def test_callbacks_of_an_attempt_that_failed_are_noticed(
    bank: Bank, report: Report, monkeypatch: pytest.MonkeyPatch
):
    right = UnitOfWork._tell

    async def call_all(self: UnitOfWork, transaction: Any, error: BaseException | None) -> None:
        if error is not None and transaction.outcome == "rolled_back":
            transaction.levels[0].on_rollback += transaction.levels[0].on_commit
        await right(self, transaction, error)

    monkeypatch.setattr(UnitOfWork, "_tell", call_all)
    with pytest.raises(AssertionError, match="wrong_callbacks"):
        await transfers(bank, report, None, 12)
