"""``python -m benchmarks [--short] [--rounds N] [--only OPERATION] [--out FOLDER]``."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import platform
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.agreement import check_agreement, check_statements, record_traffic
from benchmarks.caches import cached_writes, caches
from benchmarks.comparisons import Compared, Suite
from benchmarks.contenders.core import Core
from benchmarks.contenders.limit import Limit
from benchmarks.contenders.orm import Orm
from benchmarks.contenders.timber import TimberContender
from benchmarks.database import own_database, world
from benchmarks.features import features
from benchmarks.harness import TASKS, Effort, Harness
from benchmarks.memory import BOUND_MB, ROWS, weigh_stream
from benchmarks.operations import OPERATIONS, Operation
from benchmarks.report import progress, progress_of, write
from benchmarks.results import Line, Results
from benchmarks.telemetry import telemetry
from benchmarks.wire import recorded

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from sqlalchemy import URL

    from benchmarks.contenders import Contender
    from benchmarks.database import World

SUITES: Final[dict[str, Suite]] = {
    "features": features,
    "telemetry": telemetry,
    "caches": caches,
    "cached_writes": cached_writes,
}
DOCS = Path("docs/benchmarks")
SHORT_STREAM = 20_000


def main() -> None:
    options = _parse()
    operations = [op for op in OPERATIONS if not options.only or op.name in options.only]
    suites = [suite for name, suite in SUITES.items() if not options.only or name in options.only]
    results = asyncio.run(
        run(operations, suites=suites, rounds=options.rounds, short=options.short)
    )
    out = options.out
    if out is None and not options.short and not options.only:
        out = DOCS
    if out is not None:
        write(results, out)
        print(f"\nWritten to {out}.")


async def run(
    operations: Sequence[Operation], *, suites: Sequence[Suite] = (), rounds: int, short: bool
) -> Results:
    """Check that all contenders agree, then time them, weigh a stream, and compare what the suites have.

    Raises:
        DisagreementError: results, tables or statements differ.
    """
    async with own_database() as url:
        async with world(url) as rows:
            await _make_tables(url)
            results = Results(await _environment(rows), rounds=1 if short else rounds)
            if operations:
                await rows.seed()
                await _compare(operations, url, rows, results)
                await _time(operations, url, rows, results, short=short)
                await rows.add_stream(SHORT_STREAM if short else ROWS)
        if operations:
            await _weigh(url, results, short=short)
    for suite in suites:
        await _compare_ways(suite, results, short=short)
    return results


async def _weigh(url: URL, results: Results, *, short: bool) -> None:
    memory = results.memory = await weigh_stream(url, SHORT_STREAM if short else ROWS)
    if short:
        print(f"{SHORT_STREAM:,} rows streamed. Short: nothing here is a measurement.")
    else:
        print(
            f"{ROWS:,} rows streamed, {memory.above_mb:.1f} MB above the start, ≤ {BOUND_MB}: "
            f"{'reached' if memory.reached else 'not reached'}"
        )


async def _compare_ways(suite: Suite, results: Results, *, short: bool) -> None:
    async with own_database() as url, suite(url) as comparisons:
        gc.collect()
        gc.freeze()
        try:
            for comparison in comparisons:
                measurement = (
                    await comparison.time(rounds=1, calls=comparison.tasks)
                    if short
                    else await comparison.measure(results.rounds)
                )
                compared = Compared(comparison, measurement)
                results.compared.append(compared)
                print(progress_of(compared, measured=not short), flush=True)
        finally:
            gc.unfreeze()


async def _compare(
    operations: Sequence[Operation], url: URL, rows: World, results: Results
) -> None:
    async with recorded(url) as (proxied, recorder), _started(proxied) as contenders:
        for operation in operations:
            await check_agreement(operation, contenders, rows)
            seen = results.traffic[operation.name] = {}
            for contender in contenders:
                seen[contender.name] = await record_traffic(operation, contender, rows, recorder)
            check_statements(operation, seen["limit"], seen["timber"])
    print(
        f"{len(operations)} operations: equal results, equal tables, the limit's statements are Timber's."
    )


async def _time(
    operations: Sequence[Operation], url: URL, rows: World, results: Results, *, short: bool
) -> None:
    async with _started(url) as contenders:
        gc.collect()
        gc.freeze()  # what was loaded before is nobody's garbage
        try:
            for operation in operations:
                for tasks in (1, TASKS) if operation.concurrent else (1,):
                    harness = Harness(operation, rows, tasks)
                    if not short:
                        await harness.warm_up(contenders)
                    effort = Effort(results.rounds, calls=_few(operation, tasks) if short else None)
                    line = Line(operation, await harness.measure(contenders, effort))
                    results.lines.append(line)
                    print(progress(line, measured=not short), flush=True)
        finally:
            gc.unfreeze()


def _few(operation: Operation, tasks: int) -> int:
    return operation.small if tasks == 1 else tasks


@asynccontextmanager
async def _started(url: URL) -> AsyncGenerator[list[Contender]]:
    contenders: list[Contender] = [Limit(), TimberContender(), Core(), Orm()]
    async with AsyncExitStack() as stack:
        for contender in contenders:
            await contender.start(url)
            stack.push_async_callback(contender.close)
        yield contenders


async def _make_tables(url: URL) -> None:
    timber = TimberContender()
    await timber.start(url)
    try:
        await timber.make_tables()
    finally:
        await timber.close()


async def _environment(rows: World) -> dict[str, str]:
    """What the figures depend on; nothing that tells whose machine it was."""
    show = rows.connection.fetchval
    return {
        "Python": platform.python_version(),
        "PostgreSQL": (await show("SHOW server_version")).split()[0],
        "SQLAlchemy": version("SQLAlchemy"),
        "asyncpg": version("asyncpg"),
        "pydantic": version("pydantic"),
        "event loop": "asyncio",
        "system": f"{platform.system()} {platform.machine()}",
        "processors": str(os.cpu_count()),
        "fsync": await show("SHOW fsync"),
        "synchronous_commit": await show("SHOW synchronous_commit"),
    }


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    names = [*(operation.name for operation in OPERATIONS), *SUITES]
    parser.add_argument("--short", action="store_true", help="only check that all agree and run")
    parser.add_argument("--rounds", type=int, default=30, help="paired rounds (default 30)")
    parser.add_argument(
        "--only", action="append", choices=names, help="this operation or suite; repeatable"
    )
    parser.add_argument("--out", type=Path, help=f"folder for the results (default {DOCS})")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds is to be 1 or more")
    return options


if __name__ == "__main__":
    main()
