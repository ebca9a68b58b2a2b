"""Events in bulk, counted, and the work of many workers on the same trackers."""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest

from timber import NotFoundError, Timber, TrackerEventCreate, TrackingService, ValidationError

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tracking(timber: Timber, clock: Clock) -> TrackingService:
    return TrackingService(timber.db, registry=timber.registry, clock=clock)


async def track(tracking: TrackingService, number: int = 1, **values):
    values = {"conditions": {}, "check_interval": HOUR, **values}
    item = {"user_id": "user-1", "tracker_type": "price", **values}
    return await tracking.create_many([item] * number)


# Events in bulk


async def test_ten_thousand_events_go_by_copy_with_their_trackers_in_one_transaction(
    tracking, clock, sent, capsys
):
    ids = await track(tracking, 500)
    clock.now += timedelta(minutes=1)
    items = [
        TrackerEventCreate(tracker_id=ids[n % 500], event_data={"n": n}, triggered=n % 1000 == 7)
        for n in range(10_000)
    ]
    sent.clear()
    started = time.perf_counter()
    assert await tracking.log_events(items) == 10_000
    took = time.perf_counter() - started
    with capsys.disabled():
        print(f"\n10,000 events of 500 trackers logged in {took:.2f} s")  # noqa: T201
    assert sent == ["finish Tracker", "copy tracker_events"]
    assert await tracking.events.count() == 10_000
    trackers = await tracking.trackers.find(limit=1000)
    assert {t.next_check_at for t in trackers} == {clock.now + HOUR}
    assert {t.last_checked_at for t in trackers} == {clock.now}
    assert [t.id for t in trackers if t.status == "triggered"] == [ids[7]]


async def test_one_missing_tracker_among_many_events_and_nothing_is_stored(tracking):
    (key,) = await track(tracking)
    before = await tracking.get(key)
    items = [{"tracker_id": key}, {"tracker_id": "00000000-0000-7000-8000-000000000000"}]
    with pytest.raises(NotFoundError):
        await tracking.log_events(items)
    assert await tracking.events.count() == 0
    assert await tracking.get(key) == before
    assert await tracking.log_events([]) == 0


async def test_bulk_logs_of_the_same_trackers_do_not_block_one_another(tracking):
    ids = await track(tracking, 60)

    async def log(order: list) -> None:
        for _ in range(5):
            await tracking.log_events([{"tracker_id": key} for key in order])

    await asyncio.gather(log(ids), log(ids[::-1]), log(ids[30:] + ids[:30]), log(ids[::-1]))
    assert await tracking.events.count() == 4 * 5 * 60


async def test_events_take_part_in_a_unit_of_work(timber):
    (key,) = await track(timber.tracking)
    with pytest.raises(ZeroDivisionError):
        async with timber.unit_of_work():
            await timber.tracking.log_event(key, {})
            await timber.tracking.log_events([{"tracker_id": key}])
            raise ZeroDivisionError
    assert await timber.tracking.events.count() == 0
    assert (await timber.tracking.get(key)).last_checked_at is None


# Reading events


async def test_events_come_newest_first_by_type_and_time(tracking, clock):
    (key,) = await track(tracking)
    made = []
    for n, event_type in enumerate(["check", "error", "check", "trigger"]):
        clock.now = NOON + n * HOUR
        made.append(await tracking.log_event(key, {}, event_type))
    page = await tracking.get_tracker_events(key, limit=3)
    assert page.items == made[:0:-1]
    page = await tracking.get_tracker_events(key, limit=3, cursor=page.next_cursor)
    assert page.items == made[:1]
    page = await tracking.get_tracker_events(key, event_type="check", since=NOON + HOUR)
    assert page.items == [made[2]]
    for wrong in ({"event_type": "x"}, {"since": "x"}, {"limit": 0}, {"cursor": "x"}):
        with pytest.raises(ValidationError):
            await tracking.get_tracker_events(key, **wrong)


async def test_events_are_counted_by_hour_day_and_type_in_utc(tracking, clock):
    (key, other) = await track(tracking, 2)
    await tracking.log_event(other, {})
    moments = ["2026-03-01T23:59", "2026-03-02T00:00", "2026-03-02T00:59", "2026-03-02T01:00"]
    for n, moment in enumerate(moments):
        clock.now = datetime.fromisoformat(f"{moment}+00:00")
        await tracking.log_event(key, {}, "error" if n == 3 else "check")

    async def counted(by: str) -> dict:
        return {bucket.key: bucket.count for bucket in await tracking.count_events(key, by=by)}

    first, second = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)
    assert await counted("day") == {first: 1, second: 3}
    assert await counted("hour") == {first + 23 * HOUR: 1, second: 2, second + HOUR: 1}
    assert list(await counted("hour")) == sorted(await counted("hour"))
    assert await counted("type") == {"check": 3, "error": 1}
    with pytest.raises(ValidationError):
        await tracking.count_events(key, by="week")


# Workers


async def test_what_is_due_is_claimed_the_longest_waiting_first(tracking, clock):
    late, later, not_yet = await track(tracking, 3)
    paused, triggered = await track(tracking, 2)
    await tracking.update(later, {"next_check_at": NOON - HOUR})
    await tracking.update(late, {"next_check_at": NOON})
    await tracking.update(not_yet, {"next_check_at": NOON + timedelta(microseconds=1)})
    await tracking.update_status(paused, "paused")
    await tracking.log_event(triggered, {}, "trigger", True)
    assert [t.id for t in await tracking.claim_due(1)] == [later]
    assert [t.id for t in await tracking.claim_due(10)] == [late]
    assert await tracking.claim_due(10) == []


async def test_a_claim_ends_with_the_event_or_with_its_lease(tracking, clock):
    (key,) = await track(tracking)
    assert await tracking.claim_due(1, lease=timedelta(seconds=30))
    clock.now += timedelta(seconds=29)
    assert await tracking.claim_due(1) == []
    clock.now += timedelta(seconds=1)
    assert await tracking.claim_due(1, lease=2 * HOUR)  # its worker is taken for dead
    await tracking.log_event(key, {})
    assert await tracking.claim_due(1) == []
    clock.now += HOUR
    assert await tracking.claim_due(1)
    for limit, lease in ((0, HOUR), (1001, HOUR), (1, timedelta()), (1, 60)):
        with pytest.raises(ValidationError):
            await tracking.claim_due(limit, lease=lease)


async def test_eight_workers_get_each_due_tracker_once(database_url, timber, capsys):
    """Each has a Timber of its own, and they share nothing but the database."""
    ids = await track(timber.tracking, 1000)
    workers = [await Timber(database_url, pool_size=2).start() for _ in range(8)]
    try:
        claims = await asyncio.gather(*(_claim_all(worker) for worker in workers))
    finally:
        await asyncio.gather(*(worker.close() for worker in workers))
    with capsys.disabled():
        print(f"\n1,000 trackers went to 8 workers as {[len(c) for c in claims]}")  # noqa: T201
    got = [key for claimed in claims for key in claimed]
    assert len(got) == len(set(got)) == 1000
    assert set(got) == set(ids)
    assert sum(bool(claimed) for claimed in claims) > 1, "the work was shared"
    trackers = await timber.tracking.trackers.find(limit=1000)
    assert {t.version for t in trackers} == {2}, "each was checked once"


async def _claim_all(worker: Timber) -> list:
    got: list = []
    while claimed := await worker.tracking.claim_due(7):
        got += [tracker.id for tracker in claimed]
        await worker.tracking.log_events([{"tracker_id": t.id} for t in claimed])
    return got


async def test_what_a_process_held_that_was_killed_comes_back_after_its_lease(database_url, timber):
    ids = await track(timber.tracking, 20)
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.services.other_process", "claim_and_hang", database_url),
        stdout=asyncio.subprocess.PIPE,
    )
    assert worker.stdout is not None
    assert await worker.stdout.readline() == b"20\n"
    worker.kill()
    await worker.wait()
    assert await timber.tracking.claim_due(100) == []
    back: list = []
    async with asyncio.timeout(10):
        while not back:
            await asyncio.sleep(0.1)
            back = await timber.tracking.claim_due(100)
    assert {tracker.id for tracker in back} == set(ids)
