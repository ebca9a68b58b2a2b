from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from timber import (
    ConflictError,
    NotFoundError,
    NotificationCreate,
    NotificationService,
    Timber,
    ValidationError,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def notifications(timber: Timber, clock: Clock) -> NotificationService:
    return NotificationService(timber.db, registry=timber.registry, clock=clock)


async def send(notifications: NotificationService, user_id: str = "user-1", **values):
    return await notifications.create_notification(
        user_id, "ready", **{"title": "AAPL", "content": "It is ready.", **values}
    )


def fields(error: pytest.ExceptionInfo[ValidationError]) -> set[str]:
    return {problem.field for problem in error.value.errors}


# Creating


async def test_a_notification_is_created_in_one_statement_and_given_as_stored(timber, sent):
    made = await timber.notifications.create_notification(
        "user-1", "ready", title="AAPL", content="It is ready.", metadata={"n": 1}, priority="high"
    )
    assert sent == ["insert Notification"]
    assert (made.user_id, made.notification_type) == ("user-1", "ready")
    assert (made.title, made.content) == ("AAPL", "It is ready.")
    assert (made.metadata, made.priority) == ({"n": 1}, "high")
    assert (made.is_read, made.read_at, made.expires_at) == (False, None, None)
    assert made.created_at.tzinfo is not None
    assert type(made.id) is UUID
    page = await timber.notifications.get_user_notifications("user-1")
    assert page.items == [made]


async def test_what_does_not_fit_is_refused_with_its_field_before_anything_is_sent(timber, sent):
    refused = {
        "title": "x" * 501,
        "content": None,
        "priority": "urgent",
        "metadata": [1],
        "expires_at": datetime(2026, 1, 1),  # noqa: DTZ001  # naive on purpose
    }
    for name, value in refused.items():
        with pytest.raises(ValidationError) as caught:
            await send(timber.notifications, **{name: value})
        assert fields(caught) == {name}
    for user_id in (None, "", 1):
        with pytest.raises(ValidationError) as caught:
            await send(timber.notifications, user_id)
        assert fields(caught) == {"user_id"}
    assert sent == []


async def test_many_are_stored_by_copy_in_their_order(timber, sent):
    items = [
        NotificationCreate(user_id="user-1", notification_type="n", title="1", content="a"),
        {"user_id": "user-1", "notification_type": "n", "title": "2", "content": "b"},
    ]
    ids = await timber.notifications.create_many(items)
    assert sent == ["copy notifications"]
    stored = await timber.notifications.repository.get_many(ids)
    assert [n.title for n in stored] == ["1", "2"]
    assert [n.priority for n in stored] == ["normal", "normal"]


async def test_an_error_among_many_names_its_position_and_nothing_is_stored(notifications):
    good = {"user_id": "user-1", "notification_type": "n", "title": "1", "content": "a"}
    for bad, field in (
        ({"title": None}, "1.title"),
        ({"user_id": ""}, "1.user_id"),
        ({"is_read": True}, "1.is_read"),
        ({"transaction_id": 7}, "1.transaction_id"),
    ):
        with pytest.raises(ValidationError) as caught:
            await notifications.create_many([good, {**good, **bad}])
        assert fields(caught) == {field}
    assert await notifications.count() == 0


# Reading


async def test_a_users_notifications_come_newest_first_and_page_by_cursor(notifications, clock):
    for n in range(7):
        clock.now = NOON + timedelta(minutes=n // 2)  # some at the same time
        await send(notifications, title=str(n))
    await send(notifications, "user-2", title="theirs")
    titles, cursor = [], None
    while True:
        page = await notifications.get_user_notifications("user-1", limit=3, cursor=cursor)
        titles += [n.title for n in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert titles == list("6543210")


async def test_notifications_are_narrowed_to_unread_ones_and_by_priority(notifications):
    read = await send(notifications, priority="high")
    unread = await send(notifications, priority="high")
    await send(notifications, priority="low")
    await notifications.mark_as_read(read.id)
    page = await notifications.get_user_notifications("user-1", True, priority="high")
    assert page.items == [unread]
    with pytest.raises(ValidationError):
        await notifications.get_user_notifications("user-1", priority="urgent")


@pytest.mark.parametrize("limit", [0, -1, 1001, True, "5"])
async def test_a_limit_out_of_range_is_refused(notifications, limit):
    with pytest.raises(ValidationError):
        await notifications.get_user_notifications("user-1", limit=limit)


# Marking as read


async def test_marking_as_read_again_changes_nothing(notifications, clock):
    made = await send(notifications)
    first = await notifications.mark_as_read(str(made.id), owner="user-1")
    assert (first.is_read, first.read_at) == (True, NOON)
    clock.now += timedelta(hours=1)
    assert await notifications.mark_as_read(made.id) == first


async def test_marking_what_is_not_there_as_read_is_an_error(notifications):
    for call in (notifications.mark_as_read, notifications.delete_notification):
        with pytest.raises(NotFoundError):
            await call(uuid4())
        with pytest.raises(ValidationError) as caught:
            await call("no uuid")
        assert fields(caught) == {"notification_id"}


async def test_all_of_a_user_are_marked_as_read_and_counted(notifications, clock):
    read = await notifications.mark_as_read((await send(notifications)).id)
    clock.now += timedelta(hours=1)
    for _ in range(3):
        await send(notifications)
    await send(notifications, "user-2")
    assert await notifications.unread_count("user-1") == 3
    assert await notifications.mark_all_as_read("user-1") == 3
    assert await notifications.mark_all_as_read("user-1") == 0
    assert await notifications.unread_count("user-1") == 0
    assert await notifications.unread_count("user-2") == 1
    assert (await notifications.get(read.id)).read_at == NOON


async def test_whether_it_is_read_is_not_to_be_set_by_the_generic_update(notifications):
    made = await send(notifications)
    for changes in ({"is_read": True}, {"read_at": NOON}, {"user_id": "user-2"}, {"metadata": 1}):
        with pytest.raises(ValidationError):
            await notifications.update(made.id, changes)
    assert (await notifications.update(made.id, {"title": "new"})).title == "new"


# Deleting


async def test_a_deleted_notification_is_gone(notifications):
    made = await send(notifications)
    await notifications.delete_notification(made.id, owner="user-1")
    assert await notifications.get_or_none(made.id) is None
    with pytest.raises(NotFoundError):
        await notifications.delete_notification(made.id)


async def test_expired_ones_are_purged_in_batches(timber, notifications, clock, sent):
    over = [await send(notifications, expires_at=NOON - timedelta(days=n)) for n in range(5)]
    kept = [await send(notifications, expires_at=NOON + timedelta(seconds=1))]
    kept.append(await send(notifications))
    sent.clear()
    assert await notifications.purge_expired(batch=2) == len(over)
    assert sent == ["trim Notification"] * 3
    page = await notifications.get_user_notifications("user-1")
    assert {n.id for n in page.items} == {n.id for n in kept}
    assert await notifications.purge_expired() == 0
    for batch in (0, 10_001, None):
        with pytest.raises(ValidationError):
            await notifications.purge_expired(batch)


async def test_what_somebody_holds_a_lock_on_is_left_for_the_next_purge(timber, notifications):
    made = [await send(notifications, expires_at=NOON) for _ in range(2)]
    async with timber.unit_of_work():
        await timber.notifications.repository.for_update(made[0].id)
        other = NotificationService(timber.db, registry=timber.registry, clock=lambda: NOON)
        async with timber.unit_of_work(independent=True):
            assert await other.purge_expired() == 1
    assert await notifications.purge_expired() == 1


# Within a unit of work


async def test_notifications_take_part_in_a_unit_of_work(timber):
    with pytest.raises(ZeroDivisionError):
        async with timber.unit_of_work():
            await send(timber.notifications)
            await timber.notifications.notify(
                "user-1", "tracker_alert", {"symbol": "A", "reason": "b"}
            )
            raise ZeroDivisionError
    assert await timber.notifications.unread_count("user-1") == 0


async def test_a_key_of_ones_own_is_taken_once(notifications):
    item = NotificationCreate(
        user_id="user-1", notification_type="n", title="1", content="a", id=uuid4()
    )
    assert await notifications.create_many([item]) == [item.id]
    with pytest.raises(ConflictError):
        await notifications.create_many([item])
