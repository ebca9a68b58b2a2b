"""Bad input is a ValidationError that names the field, before anything is sent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from timber import (
    AsyncDatabaseManager,
    ModelRegistry,
    ResearchService,
    ServiceError,
    SessionService,
    ValidationError,
    acting_as,
)

ID = UUID(int=1)
NAIVE = datetime(2026, 1, 1)  # noqa: DTZ001  # it is to be refused


async def nothing() -> None:
    """A loader that is never called."""


SESSIONS: list[tuple[str, tuple[Any, ...], dict[str, Any], str]] = [
    # types and moves
    ("create_session", ("user-1", "nonsense"), {}, "session_type"),
    ("create_session", ("user-1", None), {}, "session_type"),
    ("create_session", ("user-1", ["research"]), {}, "session_type"),
    ("get_user_sessions", ("user-1", "nonsense"), {}, "session_type"),
    ("get_user_sessions", ("user-1", None, "nonsense"), {}, "status"),
    ("page_user_sessions", ("user-1",), {"status": 7}, "status"),
    ("scroll_user_sessions", ("user-1",), {"session_type": "nonsense"}, "session_type"),
    ("transition", (ID, "flying"), {}, "status"),
    ("transition", (ID, None), {}, "status"),
    ("transition", (ID, "paused"), {"reason": 7}, "reason"),
    ("transition", (ID, "deleted"), {"reason": "a\0b"}, "reason"),
    ("update_session", (ID,), {"status": "flying"}, "status"),
    ("count_user_sessions", ("user-1",), {"by": "colour"}, "by"),
    # users
    ("create_session", (None, "research"), {}, "user_id"),
    ("create_session", ("", "research"), {}, "user_id"),
    ("create_session", (7, "research"), {}, "user_id"),
    ("create_session", ("u" * 256, "research"), {}, "user_id"),
    ("create_session", ("a\0b", "research"), {}, "user_id"),
    ("create_session", ("\ud800", "research"), {}, "user_id"),
    ("get_user_sessions", (None,), {}, "user_id"),
    ("page_user_sessions", ("",), {}, "user_id"),
    ("scroll_user_sessions", (7,), {}, "user_id"),
    ("count_user_sessions", (None,), {}, "user_id"),
    ("delete_session", (ID, None), {}, "user_id"),
    ("restore_session", (ID, ""), {}, "user_id"),
    # ids
    ("create_session", ("user-1", "research"), {"id": "nonsense"}, "id"),
    ("get_session", ("nonsense",), {}, "session_id"),
    ("get_session", (7,), {}, "session_id"),
    ("get_session", (None,), {}, "session_id"),
    ("update_session", ("nonsense",), {"metadata": {}}, "session_id"),
    ("complete_session", ("nonsense",), {}, "session_id"),
    ("transition", ("nonsense", "paused"), {}, "session_id"),
    ("delete_session", ("nonsense", "user-1"), {}, "session_id"),
    ("restore_session", ("nonsense", "user-1"), {}, "session_id"),
    ("get_history", ("nonsense",), {}, "session_id"),
    ("get_history", (ID,), {"owner": 7}, "user_id"),
    ("get_session", (ID,), {"owner": 7}, "user_id"),
    # metadata
    ("create_session", ("user-1", "research", [1]), {}, "metadata"),
    ("create_session", ("user-1", "research", "text"), {}, "metadata"),
    ("create_session", ("user-1", "research", {"at": NAIVE}), {}, "metadata.at"),
    ("create_session", ("user-1", "research", {"x": float("nan")}), {}, "metadata.x"),
    ("create_session", ("user-1", "research", {"x": {1, 2}}), {}, "metadata.x"),
    ("create_session", ("user-1", "research", {1: "x"}), {}, "metadata"),
    ("create_session", ("user-1", "research", {"x": "a\0b"}), {}, "metadata.x"),
    ("create_session", ("user-1", "research", {"x": [0, 2**64]}), {}, "metadata.x.1"),
    ("update_session", (ID,), {"metadata": "text"}, "metadata"),
    ("update_session", (ID,), {"metadata": {"at": NAIVE}}, "metadata.at"),
    ("update_session", (ID,), {"metadata": {"at": NAIVE}, "status": "paused"}, "metadata"),
    ("complete_session", (ID, float("inf")), {}, "metadata"),
    ("update_session", (ID,), {"metadata": {}, "merge": "no"}, "merge"),
    ("delete_session", (ID, "user-1"), {"hard_delete": "no"}, "hard"),
    ("create_many", (5,), {}, "items"),
    # versions
    ("update_session", (ID,), {"metadata": {}, "expected_version": 0}, "expected_version"),
    ("update_session", (ID,), {"metadata": {}, "expected_version": "1"}, "expected_version"),
    ("update_session", (ID,), {"status": "paused", "expected_version": 0}, "expected_version"),
    # limits and cursors
    ("get_user_sessions", ("user-1",), {"limit": 0}, "limit"),
    ("get_user_sessions", ("user-1",), {"limit": 1001}, "limit"),
    ("get_user_sessions", ("user-1",), {"limit": True}, "limit"),
    ("get_user_sessions", ("user-1",), {"limit": "10"}, "limit"),
    ("page_user_sessions", ("user-1", 0), {}, "page"),
    ("page_user_sessions", ("user-1", 1, 0), {}, "per_page"),
    ("page_user_sessions", ("user-1", 1, 201), {}, "per_page"),
    ("scroll_user_sessions", ("user-1",), {"limit": 1001}, "limit"),
    ("scroll_user_sessions", ("user-1", "nonsense"), {}, "cursor"),
    ("scroll_user_sessions", ("user-1", 7), {}, "cursor"),
    ("scroll_user_sessions", ("user-1", "e30"), {}, "cursor"),
    # the generic verbs
    ("create", ({"user_id": "user-1", "session_type": "research", "colour": "red"},), {}, "colour"),
    ("create", ({"session_type": "research"},), {}, "user_id"),
    ("create", ("text",), {}, "values"),
    ("create", ({"user_id": "user-1", "session_type": "research", "symbol": "A"},), {}, "symbol"),
    ("update", (ID, {"colour": "red"}), {}, "colour"),
    ("update", (ID, {"metadata": 7}), {}, "metadata"),
    ("update", (ID, {"completed_at": NAIVE}), {}, "completed_at"),
    ("update", (ID, {"status": "active"}), {"merge": ["status"]}, "status"),
    ("list", (), {"order_by": "colour"}, "order_by"),
    ("list", (), {"colour": "red"}, "colour"),
    ("list", (), {"created_at": NAIVE}, "created_at"),
    ("list", ("text",), {}, "filters"),
    ("list", (), {"limit": -1}, "limit"),
    ("page", (), {"status": 7}, "status"),
    ("count", (), {"colour": "red"}, "colour"),
    ("exists", (), {"id": "nonsense"}, "id"),
    ("get", ("nonsense",), {}, "id"),
    ("delete", ("nonsense",), {}, "id"),
]

RESEARCH: list[tuple[str, tuple[Any, ...], dict[str, Any], str]] = [
    ("save_research", ("nonsense", {}, "note"), {}, "session_id"),
    ("save_research", (None, {}, "note"), {}, "session_id"),
    ("save_research", (ID, None, "note"), {}, "content"),
    ("save_research", (ID, {"at": NAIVE}, "note"), {}, "content"),
    ("save_research", (ID, {"x": float("nan")}, "note"), {}, "content"),
    ("save_research", (ID, {}, None), {}, "research_type"),
    ("save_research", (ID, {}, "t" * 65), {}, "research_type"),
    ("save_research", (ID, {}, "note", "text"), {}, "metadata"),
    ("save_research", (ID, {}, "note"), {"title": "t" * 501}, "title"),
    ("save_research", (ID, {}, "note"), {"user_id": 7}, "user_id"),
    ("save_many", ([{"content": {}, "research_type": 7}],), {}, "0.research_type"),
    ("save_many", ([{"content": {}, "research_type": "n", "colour": 1}],), {}, "0.colour"),
    (
        "save_many",
        ([{"content": {}, "research_type": "n"}, {"research_type": "n"}],),
        {},
        "1.content",
    ),
    ("save_many", ([{"content": {"x": {1}}, "research_type": "n"}],), {}, "0.content"),
    ("save_many", (["text"],), {}, "0.values"),
    ("update_research", ("nonsense",), {"content": {}}, "research_id"),
    ("update_research", (ID,), {"content": [1], "merge": True}, "content"),
    ("update_research", (ID,), {"metadata": [1]}, "metadata"),
    ("update_research", (ID,), {"content": {"at": NAIVE}}, "content.at"),
    ("delete_research", ("nonsense",), {}, "research_id"),
    ("get_research", ("nonsense",), {}, "research_id"),
    ("get_session_research", ("nonsense",), {}, "session_id"),
    ("get_session_research", (ID,), {"limit": 0}, "limit"),
    ("get_session_research", (ID, 7), {}, "research_type"),
    ("get_user_research", (None,), {}, "user_id"),
    ("get_user_research", ("user-1",), {"cursor": "nonsense"}, "cursor"),
    ("search_research", (7,), {}, "query"),
    ("search_research", ("gold",), {"limit": 1001}, "limit"),
    ("search_research", ("gold",), {"mode": "telepathic"}, "mode"),
    ("search_research", ("gold",), {"session_id": "nonsense"}, "session_id"),
    ("get_or_compute", ("key", -1.0), {"max_age": 1}, "loader"),
    ("create_many", (5,), {}, "items"),
    ("update_research", (ID,), {"content": {}, "merge": "no"}, "merge"),
    ("get_or_compute", ("", nothing), {"max_age": timedelta(1)}, "key"),
    ("get_or_compute", ("key", nothing), {"max_age": "soon"}, "max_age"),
    ("get_or_compute", ("key", nothing), {"max_age": -1}, "max_age"),
    ("get_or_compute", ("key", nothing), {"max_age": float("nan")}, "max_age"),
    ("get_or_compute", ("key", nothing), {"max_age": 1e300}, "max_age"),
    ("get_or_compute", ("key", nothing), {"max_age": timedelta(1), "session_id": 7}, "session_id"),
]


@pytest.fixture(scope="module")
def registry() -> ModelRegistry:
    return ModelRegistry()


@pytest.mark.parametrize(
    ("service", "call"),
    [(SessionService, case) for case in SESSIONS] + [(ResearchService, case) for case in RESEARCH],
    ids=lambda part: f"{part[0]}-{part[3]}" if isinstance(part, tuple) else part.__name__,
)
async def test_it_is_refused_by_name_before_anything_is_sent(registry, service, call):
    method, args, kwargs, field = call
    # There is no server: whoever sends something gets an UnavailableError.
    db = AsyncDatabaseManager("postgresql://nobody@127.0.0.1:9/nowhere")
    sent: list[str] = []
    db.monitor.listeners.append(lambda label, _sql, _seconds: sent.append(label))
    with pytest.raises(ValidationError) as caught:
        await getattr(service(db, registry=registry), method)(*args, **kwargs)
    fields = [problem.field for problem in caught.value.errors]
    assert all(found == field or found.startswith(f"{field}.") for found in fields), fields
    assert len(fields) == 1
    assert field.rpartition(".")[2] in str(caught.value)
    assert sent == []
    assert db.get_pool_status()["checked_out"] == 0
    await db.dispose()


async def test_a_name_too_long_to_write_into_the_history_is_refused_first(sessions, sent):
    with acting_as("x" * 256), pytest.raises(ValidationError, match="actor"):
        await sessions.transition(ID, "paused")
    assert sent == []


async def test_a_cursor_of_another_list_is_refused(sessions, research):
    for _ in range(2):
        session = await sessions.create_session("user-1", "research")
        await research.save_research(session.id, {}, "note")
    page = await sessions.scroll_user_sessions("user-1", limit=1)
    with pytest.raises(ValidationError, match="cursor"):
        await research.get_user_research("user-1", cursor=page.next_cursor)
    damaged = page.next_cursor[:-4] + "AAAA"
    with pytest.raises(ValidationError, match="cursor"):
        await sessions.scroll_user_sessions("user-1", damaged)


async def test_bad_input_inside_a_unit_of_work_leaves_it_usable(timber, sessions):
    async with timber.unit_of_work():
        await sessions.create_session("user-1", "research")
        with pytest.raises(ValidationError):
            await sessions.create_session("user-1", "nonsense")
        await sessions.create_session("user-1", "trading")
    assert await sessions.count_user_sessions("user-1") == 2


async def test_no_message_holds_the_value_that_was_given(sessions):
    secret = "4111 1111 1111 1111"
    for call in (
        sessions.create_session("user-1", secret),
        sessions.create_session("user-1", "research", secret),
        sessions.get_session(secret),
        sessions.list(created_at=secret),
        sessions.scroll_user_sessions("user-1", secret),
    ):
        with pytest.raises(ServiceError) as caught:
            await call
        assert secret not in str(caught.value)
        assert caught.value.__cause__ is None


async def test_aware_datetimes_of_any_zone_are_the_same_moment(sessions):
    at = datetime(2026, 1, 1, 12, tzinfo=UTC)
    session = await sessions.create_session("user-1", "research")
    session = await sessions.update(session.id, {"completed_at": at})
    where = sessions.repository.where
    moved = at.astimezone(__import__("zoneinfo").ZoneInfo("Asia/Tokyo"))
    assert await sessions.list(where.completed_at == moved) == [session]
