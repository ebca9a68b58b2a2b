"""A person with very many rows: erased completely in bounded memory, also when the process is killed half-way."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import databases
from tests.harness.databases import Databases, run_apart
from tests.privacy.club import LARGE, naming, pictures
from tests.privacy.crowd import ADA, BOB, Ground, fill
from timber.database.manager import AsyncDatabaseManager

PROJECT = Path(__file__).parents[2]
FULL = pytest.param(100_000, 1_000, id="100,000 rows", marks=pytest.mark.slow)
SHORT = pytest.param(2_000, 100, id="2,000 rows")
MEGABYTE = 2**20


async def _make_tables(databases: Databases, name: str) -> str:
    url = await databases.bare(name)
    manager = AsyncDatabaseManager(url, metadata=LARGE.metadata)
    try:
        await manager.create_all_tables()
    finally:
        await manager.dispose()
    return url


@pytest.fixture(scope="session")
def crowd_url(test_databases: Databases, worker_id: str) -> str:
    return run_apart(_make_tables(test_databases, f"crowd_{worker_id}"))


@pytest.fixture
async def ground(crowd_url: str) -> AsyncGenerator[Ground]:
    with tempfile.TemporaryDirectory(prefix="timber-crowd-") as folder:
        yield Ground(crowd_url, Path(folder))
    await databases.clean_tables(crowd_url)


class Other:
    """Another process, and what it tells."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.told: list[dict[str, Any]] = []

    @classmethod
    async def start(cls, what: str, ground: Ground, person: object, batch: int) -> Other:
        arguments = (what, ground.url, str(ground.folder), str(person), str(batch))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.privacy.other_process", *arguments),
            stdout=asyncio.subprocess.PIPE,
            cwd=PROJECT,
        )
        return cls(process)

    async def tell(self) -> dict[str, Any] | None:
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        if not line:
            await self.process.wait()
            return None
        self.told.append(json.loads(line))
        return self.told[-1]

    async def end(self) -> dict[str, Any]:
        while await self.tell():
            pass
        assert self.process.returncode == 0
        return self.told[-1]


def _memory(done: dict[str, Any]) -> str:
    base, grown = done["base"] / MEGABYTE, done["grown"] / MEGABYTE
    return f"memory {base:.1f} MB before, {grown:.1f} MB more at the most"


def _of_bob(shown: dict[str, tuple[int, str]]) -> dict[str, tuple[int, str]]:
    return {name: shown[name] for name in shown if name != "timber_erasures"}


@pytest.mark.timeout(400)
@pytest.mark.parametrize(("size", "batch"), [SHORT, FULL])
async def test_killed_half_way_an_erasure_is_ended_by_another_process(
    ground: Ground, size: int, batch: int, record_property: Any
) -> None:
    async with ground.timber() as timber:
        await fill(timber, BOB, size // 10, first_number=1_000_000)
        before = _of_bob(await pictures(ground.url))
        stored = await fill(timber, ADA, size)
        assert stored >= size * 0.99

    killed = await Other.start("erase", ground, ADA, batch)
    while (told := await killed.tell()) and told["rows"] < stored // 2:
        assert told["total"] <= stored
    killed.process.kill()
    await killed.process.wait()

    async with ground.timber() as timber:
        assert await timber.privacy.unfinished_erasures() == [str(ADA)]
        half = await timber.privacy.verify_deletion(ADA)
        assert not half
        resumed = await Other.start("erase", ground, ADA, batch)
        done = await resumed.end()
        assert done["complete"]
        assert done["resumed"]
        assert done["key_destroyed"]
        # Every row once: what was done before it was killed is not done again.
        assert stored <= done["rows"] <= stored * 1.2
        assert resumed.told[0]["rows"] >= stored // 2
        assert await timber.privacy.verify_deletion(ADA)
        assert await naming(ground.url, str(ADA)) == {}
        condition = "NOT row::text LIKE '%erased-%'"
        after = _of_bob(await pictures(ground.url, condition))
        lines = after.pop("invoice_lines"), before.pop("invoice_lines")
        assert lines[0][0] == lines[1][0] + 18 * (size // 100)  # emptied ones, of nobody
        assert after == before
    assert done["grown"] < 30 * MEGABYTE
    record_property("figures", f"{stored:,} rows erased, {_memory(done)}")


@pytest.mark.timeout(400)
@pytest.mark.parametrize(("size", "batch"), [FULL])
async def test_an_export_of_very_many_rows_does_not_grow(
    ground: Ground, size: int, batch: int, record_property: Any
) -> None:
    async with ground.timber() as timber:
        stored = await fill(timber, ADA, size)
    done = await (await Other.start("export", ground, ADA, batch)).end()
    links = 1  # a friendship with oneself is there from either end
    assert done["lines"] == stored + links + 2
    assert done["grown"] < 30 * MEGABYTE
    record_property("figures", f"{done['lines']:,} lines exported, {_memory(done)}")
