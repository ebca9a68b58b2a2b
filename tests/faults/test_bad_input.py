"""Bad input of every kind: a Timber error or success, in time, and where it failed nothing written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.cache.servers import cache_server
from tests.faults import bad_world, rows
from tests.faults.bad_payloads import BadPayload
from tests.faults.bad_settings import BadSettings
from tests.faults.bad_world import Bench, Findings, judge, open_bench
from tests.faults.bad_yaml import BadModels
from tests.faults.report import Report, forms, seeded_bug
from timber.cache.coherence.connecting import redis_client
from timber.errors import ValidationError
from timber.repository import Repository
from timber.repository.source import Source

ROW = rows.BAD_INPUT


class Size(NamedTuple):
    """Cases of each kind; 50,000 in full."""

    calls: int
    settings: int
    models: int
    payloads: int


SHORT = Size(440, 20, 15, 25)
FULL = Size(46_000, 2000, 1000, 1000)


def count(report: Report, kind: str, cases: int, failed: int) -> None:
    report.count("cases", cases)
    report.count(f"bad {kind}", cases)
    report.count("refused", failed)


async def call_badly(
    url: str,
    report: Report,
    cases: int,
    *,
    cache_url: str | None = None,
    begin: Callable[[Bench], object] = lambda _: None,
) -> None:
    async with open_bench(url, report.random, cache_url) as bench:
        begin(bench)
        for _ in range(cases):
            await bench.once()
        bench.findings.check()
        count(report, "calls", cases, cases - bench.outcomes["success"])
        report.version("PostgreSQL", await bench.database.fetchval("SHOW server_version"))


@forms(SHORT, FULL, timeout=1800)
async def test_bad_calls_of_services_and_repositories(
    bare_database_url: str, report: Report, size: Size
):
    await call_badly(bare_database_url, report, size.calls, cache_url="memory")


@pytest.mark.filterwarnings("default::ResourceWarning")  # of a driver that was cut short
@forms(SHORT, FULL, timeout=900)
async def test_bad_urls_and_settings(
    database_url: str,
    report: Report,
    size: Size,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)  # some name files
    findings, failed = Findings(), 0
    for _ in range(size.settings):
        case = BadSettings(report.random, database_url)
        failed += await judge("settings", case.run, case, findings) is not None
    findings.check()
    count(report, "settings", size.settings, failed)


@forms(SHORT, FULL, timeout=900)
async def test_bad_models(bare_database_url: str, report: Report, size: Size, tmp_path: Path):
    findings, failed = Findings(), 0
    for _ in range(size.models):
        case = BadModels(report.random, tmp_path)
        error = await judge("models", lambda case=case: case.run(bare_database_url), case, findings)
        failed += error is not None
    findings.check()
    count(report, "models", size.models, failed)


@pytest.fixture
def cache_url() -> Generator[str]:
    with cache_server() as url:
        yield url


@forms(SHORT, FULL, timeout=900)
async def test_bad_payloads_in_redis(
    bare_database_url: str, report: Report, size: Size, cache_url: str
):
    redis, failed = redis_client(cache_url), 0
    async with open_bench(bare_database_url, report.random, cache_url) as bench:
        for _ in range(size.payloads):
            case = BadPayload(report.random, bench, redis)
            failed += await judge("payload", case.run, case, bench.findings) is not None
        bench.findings.check()
        await bench.timber.cache.clear()
    await redis.aclose()
    count(report, "payloads", size.payloads, failed)


async def call_spoiled(
    url: str, report: Report, methods: set[str], spoil: Callable[[], object], cases: int = 60
) -> None:
    """Calls of a few methods only: what they meet has a bug in it from here on."""

    def begin(bench: Bench) -> None:
        bench.world.methods = [method for method in bench.world.methods if method[1] in methods]
        spoil()

    await call_badly(url, report, cases, begin=begin)


@seeded_bug("a column is looked up without a look whether there is one")
async def test_another_exception_is_noticed(
    bare_database_url: str, report: Report, monkeypatch: pytest.MonkeyPatch
):
    def spoil() -> None:
        monkeypatch.setattr(Source, "column", lambda self, name, field=None: self.columns[name])

    with pytest.raises(AssertionError, match="KeyError at repository/"):
        await call_spoiled(bare_database_url, report, {"find", "list", "count_by", "page"}, spoil)


@seeded_bug("what is to be written is checked when it has been written")
async def test_a_partial_write_is_noticed(
    bare_database_url: str, report: Report, monkeypatch: pytest.MonkeyPatch
):
    right = Repository._load_written

    async def late(self: Any, written: Any) -> Any:
        await right(self, written)
        raise ValidationError.of("values", "do not fit")

    def spoil() -> None:
        monkeypatch.setattr(Repository, "_load_written", late)

    with pytest.raises(AssertionError, match="a partial write in"):
        await call_spoiled(
            bare_database_url,
            report,
            {"insert", "create_tracker", "update_status"},
            spoil,
        )


@seeded_bug("counting never ends")
async def test_a_call_that_hangs_is_noticed(
    bare_database_url: str, report: Report, monkeypatch: pytest.MonkeyPatch
):
    async def never(*_: Any, **__: Any) -> None:
        await asyncio.Event().wait()

    def spoil() -> None:
        monkeypatch.setattr(bad_world, "PATIENCE", 0.1)
        monkeypatch.setattr(Repository, "count", never)

    with pytest.raises(AssertionError, match=r"count: took 0\.1"):
        await call_spoiled(bare_database_url, report, {"count", "unread_count"}, spoil, 15)
