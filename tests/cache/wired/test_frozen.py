"""A Redis that does not answer: what it costs, and that everything else goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from statistics import median
from time import perf_counter
from uuid import UUID

import pytest

from tests.cache.servers import Tormented
from tests.cache.tables import eventually
from tests.cache.wired.conftest import MakeHouse
from tests.cache.wired.house import House

Record = Callable[[str, object], None]
FIRST = 0.05
LATER = 0.001


async def _times(house: House, keys: list[UUID], *, fresh: bool) -> list[float]:
    taken = []
    for key in keys:
        began = perf_counter()
        await house.tasks.get(key, fresh=fresh)
        taken.append(perf_counter() - began)
    return taken


async def _frozen(make_house: MakeHouse, slack: float) -> str:
    """What reads take more than without a cache: at the first, and at each later one."""
    with Tormented() as server:
        house = await make_house(server.url)
        keys = await house.tasks.insert_many([{"user_id": "ann"} for _ in range(300)])
        await _times(house, keys[:20], fresh=True)
        base = median(await _times(house, keys, fresh=True))
        await house.tasks.get(keys[0])
        house.timber.cache.memory.wipe()
        server.freeze()
        first = (await _times(house, keys[:1], fresh=False))[0] - base
        later = median(await _times(house, keys, fresh=False)) - base
        task = await house.tasks.update(keys[0], {"number": 5})
        async with house.timber.unit_of_work():
            await house.tasks.update(keys[1], {"number": 6})
        assert (await house.tasks.get(keys[0])).number == task.number == 5
        assert (await house.tasks.get(keys[1])).number == 6
        assert house.timber.cache.stats()["breaker"] == "open"
        server.thaw()
        await eventually(lambda: house.timber.cache.stats()["unconfirmed"] == 0)
        await eventually(lambda: house.timber.cache.stats()["is_heard"])
        await eventually(lambda: house.timber.cache.stats()["breaker"] == "closed")
        assert (await house.tasks.get(keys[0])).number == 5
        assert first < FIRST * slack
        assert later < LATER * slack
        return f"first read {first * 1000:.1f} ms more, later ones {later * 1000:.3f} ms"


async def test_a_frozen_redis_costs_one_deadline_then_nothing_and_everything_goes_on(
    make_house: MakeHouse, record_property: Record
) -> None:
    # Others run tests on the same cores: the long form holds the times themselves.
    record_property("counts", await _frozen(make_house, slack=20))


@pytest.mark.slow
async def test_a_frozen_redis_costs_50_ms_once_and_1_ms_later(
    make_house: MakeHouse, record_property: Record
) -> None:
    record_property("counts", await _frozen(make_house, slack=1))


async def test_many_readers_wait_for_a_frozen_redis_at_once(make_house: MakeHouse) -> None:
    with Tormented() as server:
        house = await make_house(server.url)
        keys = await house.tasks.insert_many([{"user_id": "ann"} for _ in range(32)])
        server.freeze()
        found = await asyncio.gather(*[house.tasks.get(key) for key in keys])
        assert [task.id for task in found] == keys
        assert house.timber.cache.stats()["breaker_opened"] == 1
        server.thaw()
