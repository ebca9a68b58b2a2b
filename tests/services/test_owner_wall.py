"""Somebody else's row is exactly like a missing one: every method that takes an owner, held to that."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest

from timber import NotFoundError, ResearchService, SessionService, Timber

Call = Callable[[Any, Any, str | None], Awaitable[Any]]

SESSIONS: dict[str, Call] = {
    "get_session": lambda s, key, owner: s.get_session(key, owner=owner),
    "update_session": lambda s, key, owner: s.update_session(
        key, metadata={"a": 1}, status="paused", owner=owner
    ),
    "complete_session": lambda s, key, owner: s.complete_session(key, 1, owner=owner),
    "transition": lambda s, key, owner: s.transition(key, "paused", owner=owner),
    "delete_session": lambda s, key, owner: s.delete_session(key, owner),
    "restore_session": lambda s, key, owner: s.restore_session(key, owner),
    "get_history": lambda s, key, owner: s.get_history(key, owner=owner),
    "get": lambda s, key, owner: s.get(key, owner=owner),
    "get_or_none": lambda s, key, owner: s.get_or_none(key, owner=owner),
    "update": lambda s, key, owner: s.update(key, {"metadata": {}}, owner=owner),
    "delete": lambda s, key, owner: s.delete(key, owner=owner),
    "restore": lambda s, key, owner: s.restore(key, owner=owner),
    "list": lambda s, key, owner: s.list(id=key, owner=owner),
    "page": lambda s, key, owner: _items(s.page(id=key, owner=owner)),
    "count": lambda s, key, owner: s.count(id=key, owner=owner),
    "exists": lambda s, key, owner: s.exists(id=key, owner=owner),
    "stream": lambda s, key, owner: _streamed(s.stream(id=key, owner=owner)),
}

RESEARCH: dict[str, Call] = {
    "get_research": lambda s, key, owner: s.get_research(key, owner=owner),
    "update_research": lambda s, key, owner: s.update_research(key, content={}, owner=owner),
    "delete_research": lambda s, key, owner: s.delete_research(key, owner=owner),
    "search_research": lambda s, key, owner: s.search_research("gold", owner=owner),
    "get": SESSIONS["get"],
    "get_or_none": SESSIONS["get_or_none"],
    "update": SESSIONS["update"],
    "delete": SESSIONS["delete"],
    "restore": SESSIONS["restore"],
    "list": SESSIONS["list"],
    "page": SESSIONS["page"],
    "count": SESSIONS["count"],
    "exists": SESSIONS["exists"],
    "stream": SESSIONS["stream"],
    "search": lambda s, key, owner: s.search("gold", owner=owner),
}

# They narrow by the session whose rows they list, and the owner: tested beside their domain.
ELSEWHERE = {"get_session_research", "search"}


async def _items(page: Awaitable[Any]) -> list[Any]:
    return list((await page).items)


async def _streamed(stream: Any) -> list[Any]:
    async with stream as items:
        return [item async for item in items]


def owned_methods(service: type[Any]) -> set[str]:
    """Every public method of a service that takes an owner, so that a new one cannot be forgotten."""
    return {
        name
        for name, method in inspect.getmembers(service, callable)
        if not name.startswith("_")
        and not inspect.isclass(method)
        and "owner" in inspect.signature(method).parameters
    }


def test_no_method_is_forgotten():
    assert owned_methods(SessionService) - set(SESSIONS) - ELSEWHERE == set()
    assert owned_methods(ResearchService) - set(RESEARCH) - ELSEWHERE == set()


async def outcome(call: Awaitable[Any]) -> Any:
    try:
        result = await call
    except NotFoundError as error:
        return str(error)
    return result


CASES = [("sessions", name) for name in SESSIONS] + [("research", name) for name in RESEARCH]


@pytest.mark.parametrize(("service", "method"), CASES)
async def test_another_owners_row_is_like_a_missing_one(timber: Timber, service: str, method: str):
    session = await timber.sessions.create_session("user-1", "research")
    item = await timber.research.save_research(session.id, {"text": "gold"}, "note")
    await timber.sessions.transition(session.id, "paused")
    await timber.sessions.transition(session.id, "active")
    row = session if service == "sessions" else item
    restoring = method.startswith("restore")
    if restoring:
        domain = getattr(timber, service)
        await domain.delete(row.id)
    before = await timber.sessions.get_history(session.id)
    call = (SESSIONS if service == "sessions" else RESEARCH)[method]
    subject = getattr(timber, service)

    missing = await outcome(call(subject, uuid4(), "user-2"))
    if method in ("search", "search_research"):
        missing = []
    assert await outcome(call(subject, row.id, "user-2")) == missing

    stored = await subject.repository.get(row.id, include_deleted=True)
    assert (stored.deleted_at is not None) == restoring
    assert stored.metadata == row.metadata
    assert await timber.sessions.get_history(session.id) == before

    found = await outcome(call(subject, row.id, "user-1"))
    if not method.startswith("delete"):
        assert found != missing
    else:
        assert await subject.repository.get_or_none(row.id) is None
