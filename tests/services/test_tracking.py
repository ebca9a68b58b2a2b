from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from tests.harness.databases import connected
from timber import (
    ConflictError,
    NotFoundError,
    Timber,
    TrackerCreate,
    TrackingService,
    ValidationError,
)

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


async def track(tracking: TrackingService, user_id: str = "user-1", **values):
    values = {"conditions": {"above": 100}, "check_interval": HOUR, **values}
    return await tracking.create_tracker(user_id, "price", **values)


def fields(error: pytest.ExceptionInfo[ValidationError]) -> set[str]:
    return {problem.field for problem in error.value.errors}


# Trackers


async def test_a_tracker_is_created_in_one_statement_and_due_at_once(tracking, sent):
    made = await tracking.create_tracker(
        "user-1",
        "price",
        symbol="AAPL",
        goal_id="goal-1",
        conditions=[{"above": 100}],
        metadata={"n": 1},
        check_interval=HOUR,
    )
    assert sent == ["insert Tracker"]
    assert (made.user_id, made.tracker_type, made.symbol) == ("user-1", "price", "AAPL")
    assert (made.goal_id, made.conditions, made.metadata) == ("goal-1", [{"above": 100}], {"n": 1})
    assert (made.status, made.check_interval, made.version) == ("active", HOUR, 1)
    assert (made.next_check_at, made.last_checked_at) == (NOON, None)
    assert type(made.id) is UUID
    assert await tracking.get_tracker(str(made.id), owner="user-1") == made
    assert await tracking.get_tracker(uuid4()) is None


async def test_a_tracker_without_an_interval_is_never_due_by_itself(tracking):
    made = await track(tracking, check_interval=None)
    assert made.next_check_at is None
    assert await tracking.claim_due(10) == []
    await tracking.log_event(made.id, {})
    assert (await tracking.get(made.id)).next_check_at is None
    await tracking.update(made.id, {"next_check_at": NOON})
    assert [t.id for t in await tracking.claim_due(10)] == [made.id]


async def test_what_does_not_fit_is_refused_with_its_field_before_anything_is_sent(tracking, sent):
    refused = {
        "conditions": None,
        "metadata": [1],
        "symbol": "x" * 65,
        "check_interval": timedelta(),
    }
    for name, value in refused.items():
        with pytest.raises(ValidationError) as caught:
            await track(tracking, **{name: value})
        assert fields(caught) == {name}
        with pytest.raises(ValidationError) as caught:
            item = {"user_id": "u", "tracker_type": "t", "conditions": 1, name: value}
            await tracking.create_many([item])
        assert fields(caught) == {f"0.{name}"}
    for interval in (-HOUR, timedelta.max, 5):
        with pytest.raises(ValidationError):
            await track(tracking, check_interval=interval)
    for user_id in (None, ""):
        with pytest.raises(ValidationError):
            await track(tracking, user_id)
    assert sent == []


async def test_trackers_made_by_the_generic_verbs_keep_the_same_rules(tracking):
    item = {"user_id": "user-1", "tracker_type": "t", "conditions": 1, "check_interval": HOUR}
    made = [await tracking.create(item), await tracking.create(TrackerCreate(**item))]
    made += await tracking.repository.get_many(await tracking.create_many([item]))
    made.append(await tracking.upsert(item))
    assert [tracker.next_check_at for tracker in made] == [NOON] * 4
    later = {**item, "next_check_at": NOON + HOUR}
    assert (await tracking.create(later)).next_check_at == NOON + HOUR
    for changes in ({"last_checked_at": NOON}, {"claimed_until": NOON}, {"user_id": "user-2"}):
        with pytest.raises(ValidationError):
            await tracking.update(made[0].id, changes)


async def test_a_new_interval_makes_a_check_due_now(tracking, clock):
    made = await track(tracking)
    await tracking.log_event(made.id, {})
    clock.now += timedelta(minutes=5)
    changed = await tracking.update(made.id, {"check_interval": timedelta(minutes=1)})
    assert changed.next_check_at == clock.now
    clock.now += timedelta(minutes=5)
    again = await tracking.upsert(
        TrackerCreate(
            id=made.id, user_id="user-1", tracker_type="t", conditions=1, check_interval=HOUR
        )
    )
    assert (again.check_interval, again.next_check_at) == (HOUR, clock.now)
    changed = await tracking.update(made.id, {"check_interval": None})
    assert changed.next_check_at is None
    with pytest.raises(ConflictError):
        await tracking.upsert(
            {"id": made.id, "user_id": "user-2", "tracker_type": "t", "conditions": 1}
        )


async def test_a_users_trackers_come_newest_first_by_status_and_symbol(tracking, clock):
    made = []
    for n in range(5):
        clock.now = NOON + timedelta(minutes=n)
        made.append(await track(tracking, symbol="AAPL" if n % 2 else "MSFT"))
    await track(tracking, "user-2")
    await tracking.update_status(made[4].id, "paused")
    page = await tracking.get_user_trackers("user-1", limit=2)
    assert [t.id for t in page.items] == [made[4].id, made[3].id]
    page = await tracking.get_user_trackers("user-1", cursor=page.next_cursor)
    assert [t.id for t in page.items] == [made[2].id, made[1].id, made[0].id]
    page = await tracking.get_user_trackers("user-1", status="active", symbol="MSFT")
    assert [t.id for t in page.items] == [made[2].id, made[0].id]
    with pytest.raises(ValidationError):
        await tracking.get_user_trackers("user-1", status="asleep")


async def test_a_status_is_set_and_an_unknown_one_refused(tracking, sent):
    made = await track(tracking)
    sent.clear()
    for status in ("paused", "completed", "cancelled", "triggered", "active"):
        assert (await tracking.update_status(made.id, status)).status == status
    assert sent == ["update Tracker"] * 5
    with pytest.raises(ValidationError) as caught:
        await tracking.update_status(made.id, "asleep")
    assert fields(caught) == {"status"}
    with pytest.raises(NotFoundError):
        await tracking.update_status(uuid4(), "paused")


async def test_conditions_are_replaced_or_merged(tracking):
    made = await track(tracking, conditions={"above": 1, "below": 2})
    merged = await tracking.update_conditions(made.id, {"below": 3, "n": None}, merge=True)
    assert merged.conditions == {"above": 1, "below": 3, "n": None}
    assert merged.version == 2
    replaced = await tracking.update_conditions(made.id, ["any", "of"])
    assert replaced.conditions == ["any", "of"]
    for conditions, merge in (([1], True), (None, True), (None, False)):
        with pytest.raises(ValidationError) as caught:
            await tracking.update_conditions(made.id, conditions, merge=merge)
        assert fields(caught) == {"conditions"}
    assert await tracking.get(made.id) == replaced
    merged = await tracking.update_conditions(made.id, {"below": 4}, merge=True)
    assert merged.conditions == {"below": 4}


async def test_a_deleted_tracker_takes_its_events_along(tracking, database_url):
    made, kept = await track(tracking), await track(tracking)
    for tracker in (made, kept):
        await tracking.log_event(tracker.id, {})
    await tracking.delete_tracker(made.id)
    assert await tracking.get_tracker(made.id) is None
    async with connected(database_url) as connection:
        assert await connection.fetchval("SELECT count(*) FROM tracker_events") == 1
    with pytest.raises(NotFoundError):
        await tracking.delete_tracker(made.id)


# Events


async def test_an_event_moves_its_tracker_on_in_two_statements(tracking, clock, sent):
    made = await track(tracking)
    await tracking.claim_due(1)
    clock.now += timedelta(minutes=7)
    sent.clear()
    event = await tracking.log_event(made.id, {"price": 99.5})
    assert sent == ["finish Tracker", "insert TrackerEvent"]
    assert (event.tracker_id, event.event_type, event.triggered) == (made.id, "check", False)
    assert (event.event_data, event.created_at) == ({"price": 99.5}, clock.now)
    tracker = await tracking.get(made.id)
    assert (tracker.last_checked_at, tracker.next_check_at) == (clock.now, clock.now + HOUR)
    assert (tracker.status, tracker.version, tracker.updated_at) == ("active", 2, clock.now)
    assert (await tracking.get_tracker_events(made.id)).items == [event]


async def test_a_day_is_24_hours_whatever_the_time_zone_of_the_session(timber, clock):
    """In Berlin the night to 2026-03-29 has an hour less."""
    tracking = TrackingService(timber.db, registry=timber.registry, clock=clock)
    clock.now = datetime(2026, 3, 28, 12, tzinfo=UTC)
    made = await track(tracking, check_interval=timedelta(days=1, seconds=30))
    async with timber.unit_of_work() as uow:
        await uow.session.execute(sa.text("SET LOCAL TimeZone = 'Europe/Berlin'"))
        await tracking.log_event(made.id, {})
        assert [b.key for b in await tracking.count_events(made.id)] == [
            datetime(2026, 3, 28, tzinfo=UTC)
        ]
    due = (await tracking.get(made.id)).next_check_at
    assert due == clock.now + timedelta(days=1, seconds=30)


async def test_only_an_active_tracker_is_triggered(tracking):
    for status in ("active", "paused", "completed", "cancelled"):
        made = await track(tracking)
        await tracking.update_status(made.id, status)
        await tracking.log_event(made.id, {"hit": 1}, "trigger", True)
        expected = "triggered" if status == "active" else status
        assert (await tracking.get(made.id)).status == expected


async def test_an_event_of_no_tracker_is_refused_and_leaves_nothing(timber, tracking):
    with pytest.raises(NotFoundError, match="No such Tracker"):
        await tracking.log_event(uuid4(), {})
    made = await track(tracking)
    async with timber.unit_of_work():
        with pytest.raises(NotFoundError):
            await tracking.log_event(uuid4(), {})
        await tracking.log_event(made.id, {})  # nothing was written: the unit of work goes on
    assert len((await tracking.get_tracker_events(made.id)).items) == 1


@pytest.mark.parametrize(
    ("event", "field"),
    [
        ({"event_type": "nonsense"}, "event_type"),
        ({"event_data": {"x": float("nan")}}, "event_data.x"),
        ({"triggered": "yes"}, "triggered"),
        ({"tracker_id": "no uuid"}, "tracker_id"),
    ],
)
async def test_an_event_that_does_not_fit_is_refused_before_anything_is_sent(
    tracking, sent, event, field
):
    made = await track(tracking)
    sent.clear()
    values = {"tracker_id": made.id, "event_data": {}, **event}
    with pytest.raises(ValidationError) as caught:
        await tracking.log_event(**values)
    assert fields(caught) == {field}
    with pytest.raises(ValidationError) as caught:
        await tracking.log_events([{"tracker_id": made.id}, values])
    assert fields(caught) == {f"1.{field}"}
    assert sent == []
