from __future__ import annotations

import asyncio

import pytest

from tests.services.subscribing import is_quiet, send, take
from timber import Timber, UsageError


def watchers(timber: Timber) -> int:
    return sum(len(watches) for watches in timber.db.listener._watches.values())


@pytest.mark.parametrize("end", ["break", "error", "cancellation"])
async def test_however_it_ends_nobody_watches_any_more(timber, end):
    async def read() -> None:
        async with timber.notifications.subscribe("user-1") as subscription:
            async for _ in subscription:
                if end == "break":
                    break
                if end == "error":
                    raise ZeroDivisionError

    reading = asyncio.create_task(read())
    while not watchers(timber):
        await asyncio.sleep(0.01)
    await send(timber)
    if end == "cancellation":
        await asyncio.sleep(0.1)
        reading.cancel()
    await asyncio.wait([reading])
    assert watchers(timber) == 0
    async with asyncio.timeout(5):
        while timber.db.get_pool_status()["checked_out"]:  # the listener's heartbeat, at most
            await asyncio.sleep(0.01)


async def test_a_reader_that_is_cancelled_while_it_reads_loses_nothing(timber):
    async with timber.notifications.subscribe("user-1") as subscription:
        got: list[str] = []
        for n in range(60):
            await send(timber, str(n))
            try:
                async with asyncio.timeout(0.0004 * (n % 10)):
                    got += await take(subscription, 1)
            except TimeoutError:
                pass
        got += await take(subscription, 60 - len(got))
        assert got == [str(n) for n in range(60)]


async def test_it_ends_when_its_timber_closes(database_url, clean_tables):
    async with Timber(database_url) as timber:
        async with timber.notifications.subscribe("user-1") as subscription:
            await send(timber, "1")
            assert await take(subscription, 1) == ["1"]
            reading = asyncio.create_task(_all(subscription))
            await asyncio.sleep(0.05)
            await timber.close()
            assert await reading == []


async def test_it_is_begun_once_and_read_by_one_reader(timber):
    subscription = timber.notifications.subscribe("user-1")
    with pytest.raises(UsageError, match="async with"):
        await anext(subscription)
    with pytest.raises(UsageError, match="has begun"):
        _ = subscription.cursor
    async with subscription:
        with pytest.raises(UsageError, match="has been used"):
            await subscription.__aenter__()
        first = asyncio.create_task(is_quiet(subscription))
        await asyncio.sleep(0.02)
        with pytest.raises(UsageError, match="Somebody reads"):
            await anext(subscription)
        await first
    assert await _all(subscription) == []


async def _all(subscription) -> list[str]:
    return [row.title async for row in subscription]
