"""Many write, two seal, one verifies, the server dies: every committed write is sealed once, and the chain holds."""

from __future__ import annotations

import asyncio
import logging
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.database.own_server import OwnServer
from tests.features.audit.conftest import KEY, REGISTRY, account, finished, rows_of
from timber import Timber
from timber.context import acting_as
from timber.database.statements import Statement
from timber.errors import ServiceError
from timber.features.audit import AuditKeys, Sealer, verify

logger = logging.getLogger(__name__)


class _GivenUpError(Exception):
    """A unit of work has been given up."""


async def _write(timber: Timber, number: int, until: float) -> None:
    """Insert, change and delete rows, alone and in units of work, some of which are given up."""
    accounts, chance = rows_of(timber, "Account"), random.Random(number)
    count = 0
    with acting_as(f"writer-{number % 5}"):
        while time.monotonic() < until:
            count += 1
            row = await accounts.insert(account(f"{number}-{count}"))
            with suppress(_GivenUpError):
                async with timber.unit_of_work():
                    await accounts.update(row.id, {"balance": count})
                    await asyncio.sleep(chance.random() * 0.02)
                    await accounts.insert_many([account(f"{number}-{count}-{n}") for n in range(3)])
                    if chance.random() < 0.2:
                        raise _GivenUpError
            if chance.random() < 0.3:
                await accounts.delete(row.id, hard=True)


async def _again(work: Callable[[], Awaitable[Any]], until: float) -> int:
    times = 0
    while time.monotonic() < until:
        await work()
        times += 1
        await asyncio.sleep(0.02)
    return times


async def _rows(timber: Timber) -> int:
    statement = Statement("SELECT count(*) AS n FROM timber_audit", label="")
    return (await timber.db.fetch(statement))[0]["n"]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seconds", [3, pytest.param(40, marks=pytest.mark.slow)])
async def test_everything_is_sealed_once_whoever_writes_and_seals(bank, audited_url, log, seconds):
    keys = AuditKeys([KEY])

    async def check() -> None:
        report = await log.verify()
        assert report.ok, report.problems

    async with AsyncExitStack() as stack:
        others = [
            await stack.enter_async_context(
                Timber(audited_url, registry=REGISTRY, audit_key=KEY, audit_seal_every=None)
            )
            for _ in range(2)
        ]
        until = time.monotonic() + seconds
        async with asyncio.TaskGroup() as group:
            for number in range(8):
                group.create_task(_write(others[number % 2], number, until))
            for other in (*others, bank):
                group.create_task(_again(Sealer(other.db, keys, batch=7).seal_once, until))
            group.create_task(_again(check, until))
    await finished(bank)
    await Sealer(bank.db, keys, batch=50).seal_all()
    report = await log.verify()
    assert report.ok, report.problems
    assert report.unsealed_rows == 0
    assert report.sealed_rows == await _rows(bank)
    inserted = Statement(
        "SELECT count(*) AS n FROM accounts AS a WHERE NOT EXISTS (SELECT FROM timber_audit AS t"
        " WHERE t.row_key = a.id::text AND t.action = 'insert')",
        label="",
    )
    assert (await bank.db.fetch(inserted))[0]["n"] == 0


@pytest.fixture
async def its_own() -> AsyncGenerator[OwnServer]:
    # Not in pytest's own folder: as root the server runs as somebody else, whom another pytest would shut out of it.
    with tempfile.TemporaryDirectory(prefix="timber-own-", ignore_cleanup_errors=True) as folder:
        server = await asyncio.to_thread(OwnServer, Path(folder) / "postgres")
        try:
            yield server
        finally:
            await asyncio.to_thread(server.stop)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds processes in /proc")
async def test_a_server_that_is_killed_again_and_again_leaves_a_chain_that_holds(its_own):
    keys = AuditKeys([KEY])
    anchors = []
    for round_ in range(4):
        async with Timber(
            its_own.url, registry=REGISTRY, audit_key=KEY, audit_seal_every=None
        ) as timber:
            if not round_:
                await timber.db.create_all_tables()
            report = await verify(timber.db, keys, anchors)
            assert report.ok, report.problems
            until = time.monotonic() + 4
            work: list[Awaitable[Any]] = [
                _write(timber, round_ * 100 + number, until) for number in range(6)
            ]
            work.append(_again(Sealer(timber.db, keys, batch=5).seal_once, until))
            tasks = [asyncio.ensure_future(each) for each in work]
            await asyncio.sleep(2)
            anchors += [anchor] if (anchor := await timber.audit.anchor()) else []
            its_own.kill()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(end is None or isinstance(end, ServiceError | int) for end in ended), ended
        await asyncio.to_thread(its_own.restart)
    async with Timber(
        its_own.url, registry=REGISTRY, audit_key=KEY, audit_seal_every=None
    ) as timber:
        await finished(timber)
        await Sealer(timber.db, keys).seal_all()
        report = await verify(timber.db, keys, anchors)
        assert report.ok, report.problems
        assert report.unsealed_rows == 0
        assert len(anchors) == 4


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_sixteen_writers_keep_three_fifths_of_what_they_do_without(bank, sealer):
    plain, watched = rows_of(bank, "Plain"), rows_of(bank, "Letter")

    async def of(rows: Any, values: dict[str, Any]) -> float:
        async def writer(number: int) -> None:
            with acting_as(f"writer-{number}"):
                for _ in range(60):
                    made = await rows.insert({"user_id": "u", **values})
                    await rows.update(made.id, values)

        start = time.perf_counter()
        await asyncio.gather(*(writer(number) for number in range(16)))
        return 16 * 60 * 2 / (time.perf_counter() - start)

    sealing = asyncio.create_task(sealer.run(every=0.5))
    kept = []
    for _ in range(9):
        before, during = await of(plain, {"text": "a"}), await of(watched, {"text": "a"})
        kept.append(2 * during / (before + await of(plain, {"text": "a"})))
    sealing.cancel()
    logger.info(
        "kept %.2f of the throughput, from %.2f to %.2f",
        statistics.median(kept),
        min(kept),
        max(kept),
    )
    assert statistics.median(kept) >= 0.6, kept
