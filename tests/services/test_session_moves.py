from __future__ import annotations

import asyncio

import pytest

from timber import ConfigurationError, NotFoundError, Timber, ValidationError, acting_as
from timber.services.moves import Moves


def moves(history):
    return [(move.from_status, move.to_status) for move in history]


@pytest.mark.parametrize("to", ["paused", "completed", "failed"])
async def test_an_active_session_may_move_on(sessions, to):
    session = await sessions.create_session("user-1", "research")
    session = await sessions.transition(session.id, to)
    assert session.status == to
    assert (session.completed_at is not None) == (to == "completed")
    assert moves(await sessions.get_history(session.id)) == [("active", to)]


@pytest.mark.parametrize("to", ["active", "completed", "failed"])
async def test_a_paused_session_may_go_on(sessions, to):
    session = await sessions.create_session("user-1", "research")
    await sessions.transition(session.id, "paused")
    assert (await sessions.transition(session.id, to)).status == to


@pytest.mark.parametrize("last", ["completed", "failed"])
@pytest.mark.parametrize("to", ["active", "paused", "completed", "failed"])
async def test_an_ended_session_moves_no_more(sessions, last, to):
    session = await sessions.create_session("user-1", "research")
    await sessions.transition(session.id, last)
    with pytest.raises(ValidationError) as caught:
        await sessions.transition(session.id, to)
    assert [problem.field for problem in caught.value.errors] == ["status"]
    assert moves(await sessions.get_history(session.id)) == [("active", last)]


async def test_a_move_is_three_statements_and_one_transaction(sessions, sent):
    session = await sessions.create_session("user-1", "research")
    sent.clear()
    await sessions.update_session(session.id, status="paused", metadata={"why": "lunch"})
    assert sent == ["for_update Session", "update Session", "insert SessionEvent"]


async def test_the_status_a_session_has_already_is_no_move_in_an_update(sessions):
    session = await sessions.create_session("user-1", "research")
    session = await sessions.update_session(session.id, status="active", metadata={"a": 1})
    assert session.metadata == {"a": 1}
    assert await sessions.get_history(session.id) == []
    with pytest.raises(ValidationError, match="is active already"):
        await sessions.transition(session.id, "active")


async def test_completing_keeps_the_metadata_beside_the_result(sessions):
    session = await sessions.create_session("user-1", "research", {"symbol": "IBM"})
    session = await sessions.complete_session(session.id, {"score": 0.5})
    assert session.status == "completed"
    assert session.completed_at is not None
    assert session.metadata == {"symbol": "IBM", "result": {"score": 0.5}}
    with pytest.raises(ValidationError, match="completed already"):
        await sessions.complete_session(session.id, {"score": 1})


async def test_the_history_tells_why_and_by_whom(sessions):
    session = await sessions.create_session("user-1", "research")
    with acting_as("operator-7"):
        await sessions.transition(session.id, "paused", reason="the market is closed")
    await sessions.transition(session.id, "active")
    first, second = await sessions.get_history(session.id)
    assert (first.reason, first.actor) == ("the market is closed", "operator-7")
    assert (second.reason, second.actor) == (None, None)
    assert first.session_id == session.id
    assert first.at <= second.at


async def test_a_deleted_session_is_restored_to_what_it_was(sessions):
    session = await sessions.create_session("user-1", "research")
    await sessions.transition(session.id, "paused")
    await sessions.delete_session(session.id, "user-1")
    assert await sessions.get_session(session.id) is None
    deleted = await sessions.get_session(session.id, include_deleted=True)
    assert deleted.status == "deleted"
    assert deleted.deleted_at is not None
    restored = await sessions.restore_session(session.id, "user-1")
    assert (restored.status, restored.deleted_at) == ("paused", None)
    assert moves(await sessions.get_history(session.id)) == [
        ("active", "paused"),
        ("paused", "deleted"),
        ("deleted", "paused"),
    ]


async def test_deleting_and_restoring_twice_ends_where_it_began(sessions):
    session = await sessions.create_session("user-1", "research")
    for _ in range(2):
        await sessions.delete_session(session.id, "user-1")
        restored = await sessions.restore_session(session.id, "user-1")
        assert restored.status == "active"
    assert len(await sessions.get_history(session.id)) == 4
    again = await sessions.restore_session(session.id, "user-1")
    assert again == restored


async def test_a_move_to_deleted_is_a_deletion_with_a_reason(sessions):
    session = await sessions.create_session("user-1", "research")
    deleted = await sessions.transition(session.id, "deleted", reason="asked for")
    assert (deleted.status, deleted.deleted_at is not None) == ("deleted", True)
    [move] = await sessions.get_history(session.id)
    assert (move.to_status, move.reason) == ("deleted", "asked for")


async def test_a_deleted_session_takes_no_moves(sessions):
    session = await sessions.create_session("user-1", "research")
    await sessions.delete_session(session.id, "user-1")
    with pytest.raises(NotFoundError):
        await sessions.transition(session.id, "paused")
    with pytest.raises(NotFoundError):
        await sessions.update_session(session.id, metadata={"a": 1})


async def test_a_session_deleted_past_the_service_comes_back_with_its_status(sessions):
    session = await sessions.create_session("user-1", "research")
    await sessions.repository.delete(session.id)
    assert (await sessions.restore_session(session.id, "user-1")).status == "active"


async def test_a_history_that_cannot_be_written_undoes_the_move(timber, sessions, monkeypatch):
    session = await sessions.create_session("user-1", "research")

    async def fail(values):
        raise ZeroDivisionError

    monkeypatch.setattr(sessions.events, "insert", fail)
    with pytest.raises(ZeroDivisionError):
        await sessions.transition(session.id, "paused")
    assert (await sessions.get(session.id)).status == "active"


async def test_of_two_moves_at_once_the_second_sees_the_first(sessions):
    session = await sessions.create_session("user-1", "research")
    results = await asyncio.gather(
        *(sessions.transition(session.id, "completed") for _ in range(5)), return_exceptions=True
    )
    assert sum(not isinstance(result, Exception) for result in results) == 1
    assert {type(r) for r in results if isinstance(r, Exception)} == {ValidationError}
    assert moves(await sessions.get_history(session.id)) == [("active", "completed")]


async def test_a_long_history_comes_whole_and_in_order(sessions):
    session = await sessions.create_session("user-1", "research")
    await sessions.events.insert_many(
        {"session_id": session.id, "from_status": str(n), "to_status": str(n + 1)}
        for n in range(2500)
    )
    history = await sessions.get_history(session.id)
    assert moves(history) == [(str(n), str(n + 1)) for n in range(2500)]


async def test_the_moves_are_a_setting(database_url, clean_tables):
    moves = {"active": ("review",), "review": ("active", "completed")}
    async with Timber(database_url, session_moves=moves) as timber:
        session = await timber.sessions.create_session("user-1", "research")
        with pytest.raises(ValidationError, match="only to review"):
            await timber.sessions.complete_session(session.id)
        await timber.sessions.transition(session.id, "review")
        await timber.sessions.complete_session(session.id)
        with pytest.raises(ValidationError, match="is not one of active, review, completed"):
            await timber.sessions.transition(session.id, "paused")


@pytest.mark.parametrize(
    "allowed", [{"open": ("closed",)}, {"active": ("deleted",)}, {"active": (), "deleted": ()}]
)
def test_moves_that_cannot_work_are_refused(allowed):
    with pytest.raises(ConfigurationError):
        Moves(allowed, begin="active")
