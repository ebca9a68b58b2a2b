from __future__ import annotations

import pydoc_data.topics
from uuid import UUID, uuid4

import pytest

from timber import (
    NotFoundError,
    ResearchCreate,
    SessionService,
    StaleDataError,
    UsageError,
)


@pytest.fixture
async def session(sessions: SessionService):
    return await sessions.create_session("user-1", "research")


async def test_research_belongs_to_the_user_of_its_session(research, session, sent):
    item = await research.save_research(
        session.id, {"pe": 29.1}, "fundamental", {"source": "10-K"}, title="Apple"
    )
    assert sent == ["get Session", "insert ResearchData"]
    assert (item.session_id, item.user_id) == (session.id, "user-1")
    assert (item.content, item.metadata) == ({"pe": 29.1}, {"source": "10-K"})
    assert (item.research_type, item.title, item.version) == ("fundamental", "Apple", 1)
    assert await research.get_research(item.id) == item


async def test_research_may_belong_to_somebody_else_than_its_session(research, session):
    item = await research.save_research(session.id, {}, "note", user_id="user-2")
    assert item.user_id == "user-2"


@pytest.mark.parametrize("content", [[1, "two"], "text", 3, True, {"a": {"b": [None]}}])
async def test_content_is_any_json_value(research, session, content):
    item = await research.save_research(session.id, content, "note")
    assert (await research.get(item.id)).content == content


async def test_research_in_a_session_that_does_not_exist_is_not_found(research, session, sessions):
    await sessions.delete_session(session.id, "user-1")
    for key in (uuid4(), session.id):
        for user_id in (None, "user-1"):
            with pytest.raises(NotFoundError) as caught:
                await research.save_research(key, {}, "note", user_id=user_id)
            assert caught.value.model == "Session"


async def test_a_session_that_goes_meanwhile_is_not_found_either(
    research, session, sessions, monkeypatch
):
    look = research._owners

    async def look_and_lose(keys):
        found = await look(keys)
        await sessions.delete_session(session.id, "user-1", hard_delete=True)
        return found

    monkeypatch.setattr(research, "_owners", look_and_lose)
    with pytest.raises(NotFoundError, match="Session"):
        await research.save_research(session.id, {}, "note")
    session = await sessions.create_session("user-1", "research", id=session.id)
    with pytest.raises(NotFoundError, match="Session"):
        await research.save_many([{"session_id": session.id, "content": {}, "research_type": "n"}])


async def test_many_are_saved_by_copy_in_order(research, session, sessions, sent):
    other = await sessions.create_session("user-2", "research")
    items = [
        ResearchCreate(session_id=where.id, content={"n": n}, research_type="note")
        for n, where in enumerate([session, other, session])
    ]
    sent.clear()
    keys = await research.save_many(item for item in items)
    assert sent == ["get_many Session", "copy research_data"]
    assert all(type(key) is UUID for key in keys)
    stored = [await research.get(key) for key in keys]
    assert [item.content["n"] for item in stored] == [0, 1, 2]
    assert [item.user_id for item in stored] == ["user-1", "user-2", "user-1"]


async def test_many_of_one_missing_session_are_none_at_all(research, session):
    rows = [
        {"session_id": key, "content": {}, "research_type": "note"} for key in (session.id, uuid4())
    ]
    with pytest.raises(NotFoundError, match="Session"):
        await research.save_many(rows)
    assert await research.get_session_research(session.id) == []


async def test_nothing_to_save_is_nothing(research, sent):
    assert await research.save_many([]) == []
    assert sent == []


async def test_research_of_a_session_comes_newest_first_and_narrowed(research, session):
    first = await research.save_research(session.id, {}, "note")
    second = await research.save_research(session.id, {}, "fundamental", user_id="user-2")
    assert await research.get_session_research(session.id) == [second, first]
    assert await research.get_session_research(session.id, "note") == [first]
    assert await research.get_session_research(session.id, owner="user-2") == [second]
    assert await research.get_session_research(session.id, limit=1) == [second]
    assert await research.get_session_research(uuid4()) == []


async def test_research_of_a_user_comes_in_pages(research, session):
    made = [await research.save_research(session.id, {"n": n}, "note") for n in range(5)]
    await research.save_research(session.id, {}, "other")
    page = await research.get_user_research("user-1", "note", limit=3)
    rest = await research.get_user_research("user-1", "note", cursor=page.next_cursor, limit=3)
    assert page.items + rest.items == made[::-1]
    assert rest.next_cursor is None


async def test_research_is_replaced_or_merged(research, session, sent):
    item = await research.save_research(session.id, {"a": 1, "b": 2}, "note", {"x": 1})
    sent.clear()
    item = await research.update_research(item.id, content={"b": 3}, metadata={"y": 2})
    assert sent == ["update ResearchData"]
    assert (item.content, item.metadata) == ({"b": 3}, {"y": 2})
    item = await research.update_research(
        item.id, content={"c": 4}, metadata={"z": 3}, merge=True, expected_version=2
    )
    assert (item.content, item.metadata) == ({"b": 3, "c": 4}, {"y": 2, "z": 3})
    with pytest.raises(StaleDataError):
        await research.update_research(item.id, content={}, expected_version=2)


async def test_a_list_that_is_merged_into_is_replaced(research, session):
    item = await research.save_research(session.id, [1, 2], "note")
    item = await research.update_research(item.id, content={"a": 1}, merge=True)
    assert item.content == {"a": 1}


async def test_deleted_research_is_not_seen_and_can_be_restored(research, session):
    item = await research.save_research(session.id, {"text": "hello"}, "note")
    await research.delete_research(item.id)
    assert await research.get_research(item.id) is None
    assert await research.get_session_research(session.id) == []
    assert await research.search_research("hello") == []
    with pytest.raises(NotFoundError):
        await research.delete_research(item.id)
    assert (await research.restore(item.id)).content == {"text": "hello"}
    await research.delete_research(item.id, hard_delete=True)
    with pytest.raises(NotFoundError):
        await research.restore(item.id)


async def test_search_finds_words_in_titles_and_content_best_first(research, session):
    in_content = await research.save_research(
        session.id, {"deep": [{"text": "the harvest of wheat"}]}, "note"
    )
    in_title = await research.save_research(session.id, {}, "note", title="Wheat futures")
    hits = await research.search_research("wheat")
    assert [hit.item for hit in hits] == [in_title, in_content]
    assert hits[0].score > hits[1].score > 0
    assert "**Wheat** futures" in (hits[0].snippet or "")
    assert await research.search_research('"harvest wheat"') == []
    assert await research.search_research("barley") == []
    assert await research.search_research("  ") == []


async def test_search_is_narrowed_by_owner_session_and_type(research, session, sessions):
    other = await sessions.create_session("user-2", "research")
    mine = await research.save_research(session.id, {"text": "gold"}, "note")
    theirs = await research.save_research(other.id, {"text": "gold"}, "fundamental")

    async def found(**narrowed):
        hits = await research.search_research("gold", mode="keyword", **narrowed)
        return {hit.item.id for hit in hits}

    assert await found() == {mine.id, theirs.id}
    assert await found(owner="user-1") == {mine.id}
    assert await found(session_id=str(other.id)) == {theirs.id}
    assert await found(research_type="note") == {mine.id}
    assert len(await found(limit=1)) == 1


@pytest.mark.parametrize("mode", ["semantic", "hybrid"])
async def test_a_search_by_meaning_says_what_is_missing(research, mode, sent):
    with pytest.raises(UsageError, match="embedding"):
        await research.search_research("gold", mode=mode)
    assert sent == []


async def test_real_documents_are_found_by_their_words(research, session):
    topics = pydoc_data.topics.topics
    await research.save_many(
        {"session_id": session.id, "content": {"text": text}, "research_type": "doc", "title": name}
        for name, text in topics.items()
    )
    hits = await research.search_research("coroutine", limit=50)
    assert {hit.item.title for hit in hits} == {
        name for name, text in topics.items() if "coroutine" in text.replace("_", " ").split()
    } | {hit.item.title for hit in hits if "coroutine" in hit.item.content["text"].lower()}
    assert len(hits) > 3
