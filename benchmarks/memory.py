"""How much memory a million streamed rows take: ``python -m benchmarks.memory`` is the process that is weighed."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from benchmarks import rows
from benchmarks.contenders.timber import TimberContender

if TYPE_CHECKING:
    from sqlalchemy import URL

ROWS = 1_000_000
BOUND_MB = 60
_URL = "TIMBER_BENCH_STREAM_URL"
_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class StreamMemory:
    """Resident memory in MB before the stream, with the pool open, and at its highest until the end."""

    rows: int
    start_mb: float
    peak_mb: float
    seconds: float

    @property
    def above_mb(self) -> float:
        return self.peak_mb - self.start_mb

    @property
    def reached(self) -> bool:
        return self.above_mb <= BOUND_MB


async def weigh_stream(url: URL, count: int) -> StreamMemory:
    """Stream ``count`` rows in a process of its own, whose memory nothing else has touched.

    Raises:
        RuntimeError: the process failed, or did not see every row.
    """
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "benchmarks.memory",
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[1],
        env={**os.environ, _URL: url.render_as_string(hide_password=False)},
    )
    output, _ = await child.communicate()
    if child.returncode:
        raise RuntimeError(f"The streaming process ended with {child.returncode}.")
    found = StreamMemory(**json.loads(output))
    if found.rows != count:
        raise RuntimeError(f"The stream gave {found.rows} rows, not {count}.")
    return found


async def _stream(url: str) -> StreamMemory:
    timber = TimberContender()
    await timber.start_at(url)
    try:
        await timber.list_newest(
            rows.user(0)
        )  # what is loaded at the first use is no part of a stream
        gc.collect()
        start = _resident_mb("VmRSS")
        began = perf_counter()
        count = await timber.stream(rows.STREAM_USER)
        return StreamMemory(count, start, _resident_mb("VmHWM"), perf_counter() - began)
    finally:
        await timber.close()


def _resident_mb(field: str) -> float:
    status = Path("/proc/self/status")
    if status.exists():
        # Not ru_maxrss: on Linux a child begins with that of the process that made it.
        for line in status.read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) * 1024 / _MB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / _MB if sys.platform == "darwin" else peak * 1024 / _MB


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(_stream(os.environ[_URL])))))
