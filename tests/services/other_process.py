"""What another process does meanwhile: ``python -m tests.services.other_process <what> <url>``."""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import timedelta

from timber import Timber


async def notify(url: str) -> None:
    """A notification at a time, each with the moment at which it was sent; a word on standard input begins it."""
    async with Timber(url, pool_size=1, max_overflow=0) as timber:
        await timber.notifications.create_notification("warm", "up", title="t", content="c")
        print("ready", flush=True)  # noqa: T201
        await asyncio.to_thread(sys.stdin.readline)
        for _ in range(100):
            await timber.notifications.create_notification(
                "user-1", "tick", title="t", content="c", metadata={"at": time.time()}
            )
            await asyncio.sleep(0.01)


async def claim_and_hang(url: str) -> None:
    """Claim everything that is due, and never come back."""
    async with Timber(url, pool_size=1, max_overflow=0) as timber:
        claimed = await timber.tracking.claim_due(1000, lease=timedelta(seconds=1.5))
        print(len(claimed), flush=True)  # noqa: T201
        await asyncio.sleep(60)


if __name__ == "__main__":
    asyncio.run({"notify": notify, "claim_and_hang": claim_and_hang}[sys.argv[1]](sys.argv[2]))
