"""What a process of its own does with a person's data, telling each step and at the end by how much it has grown:
``python -m tests.privacy.other_process <what> <url> <folder> <person> <batch>``.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from pathlib import Path
from typing import Any

from tests.privacy.crowd import Ground
from timber.privacy.erasing import ErasureProgress
from timber.privacy.privacy import Privacy


def tell(**told: Any) -> None:
    print(json.dumps(told), flush=True)  # noqa: T201


def highest() -> int:
    """The most memory that this process has had, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage() says may be that of the process which started this one
        lines = status.read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


async def erase(privacy: Privacy, person: str, batch: int) -> dict[str, Any]:
    def progress(step: ErasureProgress) -> None:
        tell(name=step.name, rows=step.rows, total=step.total)

    report = await privacy.delete_user_data(person, batch=batch, progress=progress)
    return {
        "complete": bool(report),
        "rows": report.rows,
        "resumed": report.resumed,
        "rounds": report.rounds,
        "key_destroyed": report.key_destroyed,
    }


async def export(privacy: Privacy, person: str, batch: int) -> dict[str, Any]:
    lines = size = 0
    async for line in privacy.export_user_data(person, batch=batch):
        lines += 1
        size += len(line)
    return {"lines": lines, "bytes": size}


async def main(what: str, url: str, folder: str, person: str, batch: str) -> None:
    async with Ground(url, Path(folder)).timber(statement_timeout=120) as timber:
        privacy = timber.privacy
        # Everything is imported, connected and compiled before memory is measured.
        await privacy.verify_deletion("nobody")
        await erase(privacy, "nobody", int(batch))
        await export(privacy, "nobody", int(batch))
        before = highest()
        done = await {"erase": erase, "export": export}[what](privacy, person, int(batch))
        tell(**done, base=before, grown=highest() - before)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
