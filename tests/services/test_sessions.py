from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from timber import (
    ConflictError,
    NotFoundError,
    SessionCreate,
    StaleDataError,
    Timber,
    UsageError,
    ValidationError,
)


async def test_a_session_is_created_in_one_statement_and_given_as_stored(sessions, sent):
    session = await sessions.create_session("user-1", "research", {"symbol": "AAPL", "n": 1})
    assert sent == ["insert Session"]
    assert (session.user_id, session.session_type, session.status) == (
        "user-1",
        "research",
        "active",
    )
    assert session.metadata == {"symbol": "AAPL", "n": 1}
    assert session.symbol == "AAPL"
    assert session.version == 1
    assert session.created_at == session.updated_at
    assert session.created_at.tzinfo is not None
    assert (session.completed_at, session.deleted_at) == (None, None)
    assert type(session.id) is UUID
    assert session.id.version == 7
    assert await sessions.get_session(session.id) == session


async def test_a_session_is_read_in_one_statement_by_uuid_or_text(sessions, sent):
    session = await sessions.create_session("user-1", "research")
    sent.clear()
    assert await sessions.get_session(str(session.id)) == session
    assert sent == ["get Session"]


async def test_a_session_may_be_created_under_a_key_of_ones_own_once(sessions):
    key = uuid4()
    session = await sessions.create_session("user-1", "research", id=str(key))
    assert session.id == key
    with pytest.raises(ConflictError):
        await sessions.create_session("user-1", "research", id=key)


async def test_no_session_is_none(sessions):
    assert await sessions.get_session(uuid4()) is None


async def test_aware_datetimes_in_metadata_become_iso_strings(sessions):
    at = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    session = await sessions.create_session("user-1", "research", {"at": at})
    assert session.metadata == {"at": at.isoformat()}


async def test_metadata_that_are_given_stay_the_callers_own(sessions):
    given = {"list": [1]}
    session = await sessions.create_session("user-1", "research", given)
    session.metadata["list"].append(2)
    assert given == {"list": [1]}
    stored = await sessions.get_session(session.id)
    assert stored is not None
    assert stored.metadata == {"list": [1]}


async def test_a_users_sessions_come_newest_first_and_narrowed(sessions):
    made = [
        await sessions.create_session("user-1", kind, {"symbol": symbol})
        for kind, symbol in (("research", "IBM"), ("trading", "IBM"), ("trading", "AAPL"))
    ]
    await sessions.create_session("user-2", "research", {"symbol": "IBM"})
    await sessions.transition(made[1].id, "paused")

    async def found(*args, **kwargs):
        return [made_ids.index(s.id) for s in await sessions.get_user_sessions(*args, **kwargs)]

    made_ids = [session.id for session in made]
    assert await found("user-1") == [2, 1, 0]
    assert await found("user-1", "trading") == [2, 1]
    assert await found("user-1", None, "paused") == [1]
    assert await found("user-1", limit=2) == [2, 1]
    assert await found("user-1", symbol="IBM") == [1, 0]
    assert await found("nobody") == []


async def test_deleted_sessions_are_listed_only_when_asked_for(sessions):
    session = await sessions.create_session("user-1", "research")
    await sessions.delete_session(session.id, "user-1")
    assert await sessions.get_user_sessions("user-1") == []
    [deleted] = await sessions.get_user_sessions("user-1", include_deleted=True)
    assert deleted.id == session.id
    assert await sessions.get_user_sessions("user-1", None, "deleted", include_deleted=True) == [
        deleted
    ]


async def test_pages_know_the_number_of_all_sessions(sessions):
    made = [await sessions.create_session("user-1", "research") for _ in range(5)]
    page = await sessions.page_user_sessions("user-1", 2, 2)
    assert [session.id for session in page.items] == [made[2].id, made[1].id]
    assert (page.total, page.page, page.per_page, page.pages) == (5, 2, 2, 3)
    assert (await sessions.page_user_sessions("user-1", 9, 2)).items == []
    assert (await sessions.page_user_sessions("user-1", status="paused")).total == 0


async def test_scrolling_meets_every_session_once_in_both_directions(sessions):
    made = [await sessions.create_session("user-1", "research") for _ in range(5)]
    first = await sessions.scroll_user_sessions("user-1", limit=2)
    second = await sessions.scroll_user_sessions("user-1", first.next_cursor, 2)
    third = await sessions.scroll_user_sessions("user-1", second.next_cursor, 2)
    seen = [session.id for page in (first, second, third) for session in page.items]
    assert seen == [session.id for session in reversed(made)]
    assert first.previous_cursor is None
    assert third.next_cursor is None
    back = await sessions.scroll_user_sessions("user-1", third.previous_cursor, 2)
    assert back.items == second.items


async def test_metadata_are_merged_in_one_statement(sessions, sent):
    session = await sessions.create_session("user-1", "research", {"a": 1, "b": {"x": 1}})
    sent.clear()
    session = await sessions.update_session(session.id, metadata={"b": {"y": 2}, "c": 3})
    assert sent == ["update Session"]
    assert session.metadata == {"a": 1, "b": {"y": 2}, "c": 3}
    assert session.version == 2


async def test_metadata_are_replaced_without_merge(sessions):
    session = await sessions.create_session("user-1", "research", {"a": 1, "symbol": "IBM"})
    session = await sessions.update_session(session.id, metadata={"b": 2}, merge=False)
    assert session.metadata == {"b": 2}
    assert session.symbol is None


async def test_an_update_of_nothing_gives_the_session_as_it_is(sessions):
    session = await sessions.create_session("user-1", "research")
    assert await sessions.update_session(session.id) == session


async def test_an_update_from_an_old_version_is_refused(sessions):
    session = await sessions.create_session("user-1", "research")
    await sessions.update_session(session.id, metadata={"a": 1}, expected_version=1)
    with pytest.raises(StaleDataError) as caught:
        await sessions.update_session(session.id, metadata={"a": 2}, expected_version=1)
    assert (caught.value.expected, caught.value.actual) == (1, 2)
    with pytest.raises(StaleDataError):
        await sessions.update_session(session.id, status="paused", expected_version=1)
    stored = await sessions.get_session(session.id)
    assert stored is not None
    assert (stored.metadata, stored.status) == ({"a": 1}, "active")
    assert await sessions.get_history(session.id) == []


@pytest.mark.parametrize("call", ["update_session", "complete_session", "transition"])
async def test_writing_to_a_missing_session_is_not_found(sessions, call):
    arguments = {"update_session": {"metadata": {}}, "transition": {"to": "paused"}}.get(call, {})
    with pytest.raises(NotFoundError) as caught:
        await getattr(sessions, call)(uuid4(), **arguments)
    assert caught.value.model == "Session"


async def test_sessions_are_counted_by_status_and_type(sessions):
    for kind in ("research", "research", "trading"):
        session = await sessions.create_session("user-1", kind)
    await sessions.complete_session(session.id)
    gone = await sessions.create_session("user-1", "portfolio")
    await sessions.delete_session(gone.id, "user-1")
    assert await sessions.count_user_sessions("user-1") == 3
    assert await sessions.count_user_sessions("user-1", by="status") == {
        "active": 2,
        "completed": 1,
    }
    assert await sessions.count_user_sessions("user-1", by="session_type") == {
        "research": 2,
        "trading": 1,
    }


async def test_a_hard_deleted_session_is_gone_with_its_history_and_research(sessions, research):
    session = await sessions.create_session("user-1", "research")
    await sessions.transition(session.id, "paused")
    item = await research.save_research(session.id, {"a": 1}, "note")
    await sessions.delete_session(session.id, "user-1", hard_delete=True)
    assert await sessions.get_session(session.id, include_deleted=True) is None
    assert await sessions.get_history(session.id) == []
    assert await research.get_research(item.id) is None


async def test_a_soft_deleted_session_can_be_deleted_for_good(sessions):
    session = await sessions.create_session("user-1", "research")
    await sessions.delete_session(session.id, "user-1")
    with pytest.raises(NotFoundError):
        await sessions.delete_session(session.id, "user-1")
    await sessions.delete_session(session.id, "user-1", True)
    assert await sessions.get_session(session.id, include_deleted=True) is None


async def test_the_types_are_a_setting(database_url, clean_tables):
    async with Timber(database_url, session_types=["chat"]) as timber:
        session = await timber.sessions.create_session("user-1", "chat")
        assert session.session_type == "chat"
        with pytest.raises(ValidationError, match="session_type"):
            await timber.sessions.create_session("user-1", "research")


async def test_times_come_from_the_clock_that_is_given(database_url, clean_tables):
    now = datetime(2030, 1, 1, tzinfo=UTC)
    async with Timber(database_url, clock=lambda: now) as timber:
        session = await timber.sessions.create_session("user-1", "research")
        assert session.created_at == now
        now += timedelta(hours=1)
        session = await timber.sessions.complete_session(session.id)
        assert session.updated_at == session.completed_at == now
        [move] = await timber.sessions.get_history(session.id)
        assert move.at == now


async def test_the_generic_verbs_of_sessions_keep_to_their_rules(sessions):
    session = await sessions.create({"user_id": "user-1", "session_type": "research"})
    assert session.metadata == {}
    keys = await sessions.create_many(
        [SessionCreate(user_id="user-1", session_type="trading", metadata={"a": 1})]
    )
    assert (await sessions.get(keys[0])).metadata == {"a": 1}
    session = await sessions.update(session.id, {"status": "paused"})
    assert [move.to_status for move in await sessions.get_history(session.id)] == ["paused"]
    await sessions.delete(session.id, owner="user-1")
    assert (await sessions.restore(session.id)).status == "paused"
    for wrong in (
        {"user_id": "user-1", "session_type": "nonsense"},
        {"user_id": "user-1", "session_type": "research", "status": "completed"},
        {"user_id": "", "session_type": "research"},
    ):
        with pytest.raises(ValidationError):
            await sessions.create(wrong)
        with pytest.raises(ValidationError, match=r"^0\."):
            await sessions.create_many([wrong])
    with pytest.raises(UsageError, match="create_session"):
        await sessions.upsert({"user_id": "user-1", "session_type": "research"})


async def test_each_write_is_one_line_in_the_log_without_values(sessions, caplog):
    caplog.set_level("INFO", logger="timber.services")
    session = await sessions.create_session("secret-user", "research", {"a": "secret"})
    await sessions.update_session(session.id, metadata={"a": "secret"})
    await sessions.delete_session(session.id, "secret-user")
    assert [record.getMessage() for record in caplog.records] == [
        f"Created Session {session.id}.",
        f"Updated Session {session.id}.",
        f"Deleted Session {session.id}.",
    ]
    assert {record.name for record in caplog.records} == {"timber.services.sessions.SessionService"}
