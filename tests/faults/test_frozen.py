"""A server that is frozen: no caller with a deadline waits for it much longer than that."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from tests.database.ledger import SLEEP, free_places
from tests.faults import rows
from tests.faults.journal import Journal
from tests.faults.load import Load, account_of, prepare
from tests.faults.report import Report, forms, seeded_bug
from tests.harness.postgres import Postgres
from tests.harness.proxy import Proxy
from timber import context
from timber.database.manager import AsyncDatabaseManager
from timber.settings import TimberSettings

ROW = rows.FROZEN
WITHIN = 0.5
OVERRUN = 0.25
"""Seconds."""
CLIENTS = {"run": 4, "unit": 4, "lone": 4, "read": 4}
SLOTS = 9
"""Of a pool of ten; one is reserved."""

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="finds the server's processes in /proc"
)


async def freeze_and_thaw(
    size: int,
    server: Postgres,
    report: Report,
    folder: Path,
    *,
    proxy: Proxy | None = None,
    patience: float = 30.0,
) -> None:
    report.count("freezes", size)
    report.version("PostgreSQL", await prepare(server))
    url = proxy.url if proxy else server.url
    freeze, thaw = (proxy.freeze, proxy.heal) if proxy else (server.freeze, server.thaw)
    journal = Journal(folder / "journal")
    db = AsyncDatabaseManager(url, settings=TimberSettings(pool_size=5, max_overflow=5))
    try:
        async with Load(db, journal, report.random, CLIENTS, within=WITHIN) as load:
            for _ in range(size):
                await asyncio.sleep(report.random.uniform(0.05, 0.3))
                freeze()
                try:
                    await asyncio.sleep(report.random.uniform(1.2, 2.5))
                finally:
                    thaw()
                await load.next_success(seconds=patience)
        await _settles(db)
        lost = await _lost_slots(db)
    finally:
        await db.dispose()
        journal.close()
    account = await account_of(server, journal.path)
    overrun, raw = load.overrun(without_stalls=True), load.overrun(without_stalls=False)
    report.count("pieces of work cut off", sum(load.errors.values()))
    report.count("slots lost", lost)
    report.count("lost or doubled", len(account.lost + account.doubled + account.halved))
    stalls = "" if raw <= OVERRUN else f" ({raw * 1000:.0f} ms with what the machine stood still)"
    report.figure("overrun p100", f"{overrun * 1000:.0f} ms{stalls}")
    # What became of some is not to be known in the time that was given.
    account.unresolved.clear()
    account.check()
    assert not lost, f"slots lost: {lost}"
    assert load.errors, "nobody has met it"
    assert overrun <= OVERRUN, f"overrun {overrun:.3f} s (raw {raw:.3f} s)"


async def _settles(db: AsyncDatabaseManager) -> None:
    async with asyncio.timeout(5):
        while db._core.connections.checked_out:
            await asyncio.sleep(0.01)


async def _lost_slots(db: AsyncDatabaseManager) -> int:
    """How many connections fewer than all there are can work at a time."""
    capacity = db.settings.pool_size + db.settings.max_overflow
    held = max(capacity - sum(free_places(db)), db.get_pool_status()["checked_out"])
    at_once = 0
    most = 0

    async def work() -> None:
        nonlocal at_once, most
        async with db.unit_of_work():
            await db.fetch(SLEEP, (0.0,))
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0.3)
            at_once -= 1

    await asyncio.gather(*(work() for _ in range(2 * SLOTS)))
    return max(held, SLOTS - most)


@forms(1, 20, timeout=600)
async def test_a_server_that_is_stopped_is_waited_for_no_longer_than_the_deadline(
    size: int, server: Postgres, report: Report, tmp_path: Path
):
    await freeze_and_thaw(size, server, report, tmp_path)


@forms(1, 20, timeout=600)
async def test_a_network_that_swallows_everything_is_not_either(
    size: int, server: Postgres, report: Report, tmp_path: Path
):
    async with Proxy(server.url) as proxy:
        await freeze_and_thaw(size, server, report, tmp_path, proxy=proxy)


@pytest.mark.slow
@seeded_bug("what was cut off may take ten times as long to be brought to an end")
async def test_an_end_that_takes_too_long_is_caught(
    server: Postgres, report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for module in ("transaction", "conversation", "lone", "connections", "core"):
        monkeypatch.setattr(f"timber.database.{module}.GRACE", context.GRACE * 10)
    with pytest.raises(AssertionError, match="overrun"):
        await freeze_and_thaw(1, server, report, tmp_path)


@pytest.mark.slow
@seeded_bug("a place in the queue for connections is not given back")
async def test_a_place_that_is_not_given_back_is_caught(
    server: Postgres, report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from timber.database.connections import Connections

    throw_away = Connections._throw_away

    def forgetful(self: Connections, link: object) -> None:
        throw_away(self, link)  # type: ignore[arg-type]
        link.gate = None  # type: ignore[attr-defined]

    monkeypatch.setattr(Connections, "_throw_away", forgetful)
    with pytest.raises(AssertionError, match=r"nothing succeeds|slots lost"):
        await freeze_and_thaw(3, server, report, tmp_path, patience=1.5)
