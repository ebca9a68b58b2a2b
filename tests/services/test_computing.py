from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from timber import NotFoundError, ResearchService, Timber, UsageError, ValidationError
from timber.database.manager import AsyncDatabaseManager

HOUR = timedelta(hours=1)


class Loader:
    """Counts how often it is called, and how often at once."""

    def __init__(self, *results: object, seconds: float = 0.0) -> None:
        self._results = list(results)
        self._seconds = seconds
        self.calls = 0
        self.at_once = 0
        self.most_at_once = 0

    async def __call__(self) -> object:
        self.calls += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self._seconds)
        finally:
            self.at_once -= 1
        result = self._results.pop(0) if len(self._results) > 1 else self._results[0]
        if isinstance(result, BaseException):
            raise result
        return result


async def leases(research: ResearchService) -> int:
    return await research._computing._leases._rows.count()


async def test_a_result_is_computed_once_and_then_found(research, sent):
    loader = Loader({"pe": 1})
    first = await research.get_or_compute("AAPL", loader, max_age=HOUR)
    assert (first.content, first.research_type, first.session_id) == ({"pe": 1}, "computed", None)
    sent.clear()
    assert await research.get_or_compute("AAPL", loader, max_age=3600) == first
    assert len(sent) == 1
    assert loader.calls == 1
    other = await research.get_or_compute("IBM", loader, max_age=HOUR)
    assert other.id != first.id
    assert await leases(research) == 0


async def test_a_result_too_old_is_computed_anew_in_its_place(database_url, clean_tables):
    now = datetime(2030, 1, 1, tzinfo=UTC)
    loader = Loader({"n": 1}, {"n": 2})
    async with Timber(database_url, clock=lambda: now) as timber:
        first = await timber.research.get_or_compute("key", loader, max_age=HOUR)
        now += HOUR
        assert await timber.research.get_or_compute("key", loader, max_age=HOUR) == first
        now += timedelta(seconds=1)
        second = await timber.research.get_or_compute("key", loader, max_age=HOUR)
        assert (second.id, second.content, second.version) == (first.id, {"n": 2}, 2)
        await timber.research.delete_research(second.id)
        third = await timber.research.get_or_compute("key", loader, max_age=HOUR)
        assert third.id != first.id


async def test_a_result_can_belong_to_a_session(research, sessions):
    session = await sessions.create_session("user-1", "research")
    item = await research.get_or_compute(
        "key", Loader({"n": 1}), max_age=HOUR, session_id=str(session.id), research_type="ratio"
    )
    assert (item.session_id, item.user_id, item.research_type) == (session.id, "user-1", "ratio")
    loader = Loader({"n": 1})
    with pytest.raises(NotFoundError, match="Session"):
        await research.get_or_compute("other", loader, max_age=HOUR, session_id=uuid4())
    assert loader.calls == 0
    assert await leases(research) == 0


async def test_those_who_wait_in_the_process_get_copies_of_one_result(research):
    loader = Loader({"list": []}, seconds=0.1)
    results = await asyncio.gather(
        *(research.get_or_compute("key", loader, max_age=HOUR) for _ in range(10))
    )
    assert loader.calls == 1
    assert all(result == results[0] for result in results)
    results[0].content["list"].append(1)
    assert all(result.content == {"list": []} for result in results[1:])


async def test_those_who_wait_in_the_process_get_the_leaders_error(research):
    loader = Loader(ZeroDivisionError("no earnings"), seconds=0.1)
    results = await asyncio.gather(
        *(research.get_or_compute("key", loader, max_age=HOUR) for _ in range(5)),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [ZeroDivisionError] * 5
    assert loader.calls == 1
    assert await research.count() == 0
    assert await leases(research) == 0


async def test_what_is_no_json_is_not_stored(research):
    for wrong in (None, {"at": datetime(2030, 1, 1)}, {"x": float("nan")}):  # noqa: DTZ001
        with pytest.raises(ValidationError, match="content"):
            await research.get_or_compute("key", Loader(wrong), max_age=HOUR)
    assert await research.count() == 0
    assert await leases(research) == 0


async def test_a_cancelled_leader_hands_over(research):
    loader = Loader({"n": 1}, seconds=0.1)
    leader = asyncio.create_task(research.get_or_compute("key", loader, max_age=HOUR))
    while loader.calls == 0:
        await asyncio.sleep(0.005)
    follower = asyncio.create_task(research.get_or_compute("key", loader, max_age=HOUR))
    await asyncio.sleep(0.02)
    leader.cancel()
    assert (await follower).content == {"n": 1}
    assert leader.cancelled()
    assert loader.calls == 2
    assert await leases(research) == 0


async def test_a_cancelled_follower_leaves_the_others_alone(research):
    loader = Loader({"n": 1}, seconds=0.1)
    tasks = [
        asyncio.create_task(research.get_or_compute("key", loader, max_age=HOUR)) for _ in range(3)
    ]
    await asyncio.sleep(0.05)
    tasks[1].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert loader.calls == 1
    assert isinstance(results[1], asyncio.CancelledError)
    assert results[0] == results[2]


async def test_two_processes_compute_one_at_a_time_and_try_in_turn(database_url, clean_tables):
    loader = Loader(ZeroDivisionError(), {"n": 1}, seconds=0.15)
    async with Timber(database_url) as one, Timber(database_url) as two:
        results = await asyncio.gather(
            one.research.get_or_compute("key", loader, max_age=HOUR),
            two.research.get_or_compute("key", loader, max_age=HOUR),
            return_exceptions=True,
        )
        assert await one.research.count() == 1
    assert loader.most_at_once == 1
    assert loader.calls == 2
    assert sorted(type(result).__name__ for result in results) == [
        "ResearchDTO",
        "ZeroDivisionError",
    ]


async def test_a_dead_loaders_lease_runs_out(database_url, clean_tables):
    async with Timber(database_url) as dead, Timber(database_url) as alive:
        short = timedelta(seconds=0.3)
        stuck = ResearchService(dead.db, registry=dead.registry, lease=short)
        await stuck._computing._leases.take(_digest("key"), uuid4())  # and never renewed
        began = asyncio.get_running_loop().time()
        item = await alive.research.get_or_compute("key", Loader({"n": 1}), max_age=HOUR)
        assert item.content == {"n": 1}
        assert asyncio.get_running_loop().time() - began > 0.2


async def test_a_slow_loader_keeps_its_lease(database_url, clean_tables):
    loader = Loader({"n": 1}, seconds=0.8)
    short = timedelta(seconds=0.3)
    async with Timber(database_url) as one, Timber(database_url) as two:
        services = [
            ResearchService(timber.db, registry=timber.registry, lease=short)
            for timber in (one, two)
        ]
        results = await asyncio.gather(
            *(service.get_or_compute("key", loader, max_age=HOUR) for service in services)
        )
    assert loader.calls == 1
    assert results[0] == results[1]


async def test_a_loader_runs_outside_of_any_transaction(timber, research):
    async def load():
        assert timber.db.current() is None
        assert timber.db.get_pool_status()["checked_out"] == 0
        return {"n": 1}

    await research.get_or_compute("key", load, max_age=HOUR)
    async with timber.unit_of_work():
        with pytest.raises(UsageError, match="unit of work"):
            await research.get_or_compute("key", load, max_age=HOUR)


async def test_a_loader_that_asks_for_its_own_key_is_told(research):
    async def load():
        await research.get_or_compute("key", load, max_age=HOUR)

    with pytest.raises(UsageError, match="wait for itself"):
        await research.get_or_compute("key", load, max_age=HOUR)


PROGRAM = """
import asyncio, sys
from datetime import timedelta
from timber import Timber

async def main(url):
    async with Timber(url) as timber:
        async def load():
            await timber.sessions.create_session("loader", "research")
            await asyncio.sleep(0.5)
            return {"n": 1}
        print("ready", flush=True)
        sys.stdin.readline()
        item = await timber.research.get_or_compute("key", load, max_age=timedelta(hours=1))
        print(item.id)

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.slow
async def test_four_real_processes_load_once(database_url, sessions):
    processes = [
        subprocess.Popen(  # the test has nothing else to do meanwhile
            [sys.executable, "-c", PROGRAM, database_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    found = {process.communicate(timeout=30)[0].strip() for process in processes}
    assert len(found) == 1
    assert await sessions.count_user_sessions("loader") == 1


def _digest(key: str) -> str:
    from hashlib import sha256

    return sha256(key.encode()).hexdigest()


async def test_a_service_computes_without_a_timber(database_url, clean_tables):
    db = AsyncDatabaseManager(database_url)
    try:
        item = await ResearchService(db).get_or_compute("key", Loader([1]), max_age=HOUR)
        assert item.content == [1]
    finally:
        await db.dispose()
