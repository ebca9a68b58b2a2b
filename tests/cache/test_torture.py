"""Four processes on one PostgreSQL and one Valkey, while the Valkey is tormented: what DESIGN promises, in numbers."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
import redis.asyncio

from tests.cache.servers import Tormented
from tests.cache.torture.board import KEYS, PROCESSES, Board
from tests.cache.torture.counters import COUNTER, REGISTRY, SHELF
from tests.cache.torture.gates import Gate
from timber import AsyncDatabaseManager, Repository

ROOT = Path(__file__).parents[2]
CALM_AFTER = 4.0
"""Seconds after a fault in which values may be late: what a replay, a ping and its missing answer take."""


@dataclass
class Scene:
    """The servers, the gates of the processes to them, and when something was wrong."""

    servers: list[Tormented]
    gates: list[Gate]
    faults: list[tuple[float, float]] = field(default_factory=list)

    async def during(self, fault: Callable[[], Awaitable[None]]) -> None:
        began = monotonic()
        await fault()
        self.faults.append((began, monotonic() + CALM_AFTER))
        await asyncio.sleep(CALM_AFTER)

    async def freeze(self) -> None:
        self.servers[0].freeze()
        await asyncio.sleep(1.5)
        self.servers[0].thaw()

    async def flush(self) -> None:
        client = redis.asyncio.Redis.from_url(self.servers[0].url)
        await client.flushall()
        await client.aclose()

    async def kill_and_restart_empty(self) -> None:
        await asyncio.to_thread(self.servers[0].kill)
        await asyncio.sleep(0.5)
        await asyncio.to_thread(self.servers[0].start)

    async def cut_one_off(self) -> None:
        self.gates[3].shut()
        await asyncio.sleep(2.5)
        self.gates[3].open()

    async def promote(self) -> None:
        """The replica becomes the primary; the old one still answers for a moment."""
        client = redis.asyncio.Redis.from_url(self.servers[1].url)
        await client.replicaof("NO", "ONE")
        await client.aclose()
        for gate in self.gates:
            gate.target = self.servers[1].port
            gate.drop()
        self.servers.reverse()
        await asyncio.sleep(0.2)

    async def attach_replica(self) -> None:
        client = redis.asyncio.Redis.from_url(self.servers[1].url)
        await client.replicaof("127.0.0.1", str(self.servers[0].port))
        async with asyncio.timeout(20):
            while (await client.info("replication")).get("master_link_status") != "up":
                await asyncio.sleep(0.05)
        await client.aclose()


@pytest.fixture
async def scene() -> AsyncGenerator[Scene]:
    async with AsyncExitStack() as stack:
        servers = [stack.enter_context(Tormented()) for _ in range(2)]
        gates = [await stack.enter_async_context(Gate(servers[0].port)) for _ in range(PROCESSES)]
        yield Scene(servers, gates)


@pytest.fixture
async def counters_url(bare_database_url: str) -> str:
    db = AsyncDatabaseManager(bare_database_url)
    try:
        await db.create_all_tables(REGISTRY.metadata)
        rows: Repository[Any] = Repository(db, COUNTER, REGISTRY.read_dto("Counter"))
        await rows.insert_many([{"id": key, "shelf": SHELF, "n": 0} for key in range(KEYS)])
    finally:
        await db.dispose()
    return bare_database_url


async def _start(options: dict[str, Any]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.cache.torture.worker",
        json.dumps(options),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )


async def _torture(
    scene: Scene, url: str, board: Path, seconds: float, plot: Callable[[], Awaitable[None]]
) -> tuple[list[dict[str, Any]], str]:
    Board(board).close()
    shared = {"database_url": url, "board": str(board)}
    processes = [
        await _start({**shared, "number": n, "cache_url": gate.url})
        for n, gate in enumerate(scene.gates)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
        until = monotonic() + seconds
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(f"{until}\n".encode())
        await asyncio.sleep(1)
        await plot()
        outputs = await asyncio.gather(*[process.communicate() for process in processes])
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert [process.returncode for process in processes] == [0] * PROCESSES
    reports = [json.loads(output[0]) for output in outputs]
    return reports, _summary(scene, reports)


def _late(scene: Scene, reports: list[dict[str, Any]]) -> tuple[list[float], list[float]]:
    calm: list[float] = []
    troubled: list[float] = []
    for report in reports:
        for moment, lag in report["late"]:
            inside = any(began <= moment <= ended for began, ended in scene.faults)
            (troubled if inside else calm).append(lag)
    return sorted(calm), sorted(troubled)


def _summary(scene: Scene, reports: list[dict[str, Any]]) -> str:
    calm, troubled = _late(scene, reports)
    total = {
        name: sum(report[name] for report in reports)
        for name in ("reads", "writes", "own_stale", "stale_for_good", "errors")
    }
    hits = sum(report["stats"]["l1"]["Counter"]["hits"] for report in reports)
    parts = [f"{name} {value}" for name, value in total.items()] + [f"L1 hits {hits}"]
    for name, lags in (("calm", calm), ("faults", troubled)):
        if lags:
            median, last = statistics.median(lags), lags[-1]
            p99 = lags[int(len(lags) * 0.99)]
            parts.append(
                f"late when {name}: {len(lags)}, median {median * 1000:.1f} ms, "
                f"p99 {p99 * 1000:.1f} ms, most {last * 1000:.0f} ms"
            )
    return "; ".join(parts)


def _hold(scene: Scene, reports: list[dict[str, Any]]) -> None:
    calm, troubled = _late(scene, reports)
    assert sum(report["stale_for_good"] for report in reports) == 0
    assert sum(report["own_stale"] for report in reports) == 0
    assert sum(report["writes"] for report in reports) > 20
    assert any(report["stats"]["l1"]["Counter"]["hits"] for report in reports)
    if len(calm) > 20:
        # Two processes for each core: the message itself takes microseconds, its reader's turn does not.
        assert statistics.median(calm) < 0.05
    assert not troubled or troubled[-1] < CALM_AFTER + 2.5


@pytest.mark.timeout(180)  # four processes begin slowly where others want the cores
async def test_four_processes_with_a_flush_and_a_freeze_see_nothing_stale(
    scene: Scene, counters_url: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    async def plot() -> None:
        began = monotonic()
        await scene.flush()
        await scene.freeze()
        scene.faults.append((began, monotonic() + CALM_AFTER))

    reports, summary = await _torture(scene, counters_url, tmp_path / "board", 5, plot)
    record_property("counts", summary)
    _hold(scene, reports)


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_four_processes_see_nothing_stale_whatever_happens_to_redis(
    scene: Scene, counters_url: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    async def plot() -> None:
        await asyncio.sleep(3)
        for fault in (
            scene.freeze,
            scene.kill_and_restart_empty,
            scene.flush,
            scene.cut_one_off,
        ):
            await scene.during(fault)
        await scene.attach_replica()
        await scene.during(scene.promote)
        await asyncio.sleep(2)

    reports, summary = await _torture(scene, counters_url, tmp_path / "board", 45, plot)
    record_property("counts", summary)
    _hold(scene, reports)
