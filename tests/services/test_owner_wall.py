"""Somebody else's row is exactly like a missing one: every public method of every service, called by the owner, by
somebody else, and without a name. The methods come from the services themselves, so that a new one cannot be forgotten.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.harness.databases import connected
from timber import (
    ConflictError,
    NotFoundError,
    NotificationService,
    ResearchService,
    Service,
    ServiceError,
    SessionService,
    Subscription,
    Timber,
    TrackingService,
    UsageError,
    ValidationError,
)

OWNER, OTHER = "owner", "other"
SERVICES: dict[str, type[Service[Any]]] = {
    "sessions": SessionService,
    "research": ResearchService,
    "notifications": NotificationService,
    "tracking": TrackingService,
}

OPEN = (
    dict.fromkeys(("create", "create_many", "save_many"), "the values say whose it is")
    | {
        "upsert": "the values say whose it is; see below",
        "get_or_compute": "a result belongs to its key",
        "claim_due": "a worker serves everybody",
        "log_events": "a worker serves everybody",
        "purge_expired": "the janitor serves everybody",
        "register_template": "it has to do with no row",
        "repository_of": "it has to do with no row",
        "of_settings": "it has to do with no row",
    }
    | {
        f"{when}_{verb}": "a hook"
        for when in ("before", "after")
        for verb in ("create", "update", "delete")
    }
)
"""The methods that take neither an owner nor a user, and why."""


@dataclass
class Rows:
    """What there is of the owner, and an id under which there is nothing."""

    session_id: UUID
    research_id: UUID
    notification_id: UUID
    tracker_id: UUID

    def id_of(self, service: str) -> UUID:
        ids = (self.session_id, self.research_id, self.notification_id, self.tracker_id)
        return dict(zip(SERVICES, ids, strict=True))[service]


ARGUMENTS: dict[str, Any] = {
    "session_type": "research",
    "research_type": "note",
    "notification_type": "ready",
    "tracker_type": "price",
    "title": "gold",
    "content": {"text": "gold"},
    "to": "paused",
    "status": "paused",
    "query": "gold",
    "changes": {"metadata": {"changed": True}},
    "conditions": {"above": 1},
    "event_data": {"price": 2},
    "template": "tracker_alert",
    "context": {"symbol": "AAPL", "reason": "above 1"},
}
"""What is passed for the parameters that a method must have; a new one is to be added here."""

MORE: dict[str, dict[str, Any]] = {
    "create_notification": {"content": "gold"},
    "update_session": {"metadata": {"changed": True}},
    "update_research": {"content": {"changed": True}},
}
"""What is passed beside that, so that the call has something to do."""


def methods_of(service: type[Service[Any]]) -> Iterator[tuple[str, inspect.Signature]]:
    for name, method in inspect.getmembers(service, callable):
        if not name.startswith("_") and not inspect.isclass(method):
            yield name, inspect.signature(method)


def wall_of(signature: inspect.Signature) -> str | None:
    return next((name for name in ("owner", "user_id") if name in signature.parameters), None)


def required(signature: inspect.Signature) -> set[str]:
    empty = inspect.Parameter.empty
    return {name for name, parameter in signature.parameters.items() if parameter.default is empty}


WALLED = [
    (service, name)
    for service, cls in SERVICES.items()
    for name, signature in methods_of(cls)
    if wall_of(signature) is not None
]


def test_every_method_names_an_owner_or_a_reason_why_not():
    for cls in SERVICES.values():
        without = {name for name, signature in methods_of(cls) if wall_of(signature) is None}
        assert without - set(OPEN) == set(), cls.__name__


async def make_rows(timber: Timber, user_id: str) -> Rows:
    session = await timber.sessions.create_session(user_id, "research")
    await timber.sessions.transition(session.id, "paused")
    await timber.sessions.transition(session.id, "active")
    item = await timber.research.save_research(session.id, {"text": "gold"}, "note")
    sent = await timber.notifications.create_notification(
        user_id, "ready", title="gold", content="c"
    )
    tracker = await timber.tracking.create_tracker(user_id, "price", conditions={})
    await timber.tracking.log_event(tracker.id, {})
    return Rows(session.id, item.id, sent.id, tracker.id)


class Call:
    """One method, called by different people on the rows of the owner."""

    def __init__(self, timber: Timber, service: str, method: str) -> None:
        self._timber = timber
        self.service = service
        self.method = method
        self.signature = dict(methods_of(SERVICES[service]))[method]
        self.wall = wall_of(self.signature)
        needed = required(self.signature)
        self.needs_a_user = self.wall == "user_id" and "user_id" in needed
        self.restores = method.startswith("restore") and service in ("sessions", "research")
        # Research may be saved for somebody in a session of somebody else's, and search finds by words.
        self.finds_by_key = method not in ("save_research", "search_research", "search") and any(
            name in ("id", "equals") or name in Rows.__annotations__
            for name in needed | set(self.signature.parameters) & {"equals"}
        )

    async def by(self, who: str | None, rows: Rows, **more: Any) -> Any:
        """What it gives or raises; lists, pages and streams as the list of their rows."""
        arguments = {**self._arguments(rows), **MORE.get(self.method, {}), **more}
        if (
            who is not None
            or self.signature.parameters[self.wall].default is inspect.Parameter.empty
        ):
            arguments[self.wall] = who
        try:
            result = getattr(getattr(self._timber, self.service), self.method)(**arguments)
            return await _collected(result)
        except ServiceError as error:
            return error

    def _arguments(self, rows: Rows) -> dict[str, Any]:
        arguments: dict[str, Any] = {}
        for name, parameter in self.signature.parameters.items():
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                arguments["id"] = rows.id_of(self.service)
            elif name in ("self", self.wall) or parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                continue
            elif name == "id" and parameter.default is inspect.Parameter.empty:
                arguments[name] = rows.id_of(self.service)
            elif hasattr(rows, name):
                arguments[name] = getattr(rows, name)
            elif parameter.default is inspect.Parameter.empty:
                assert name in ARGUMENTS, f"say in ARGUMENTS what is passed for {name}"
                arguments[name] = ARGUMENTS[name]
        return arguments


async def _collected(result: Any) -> Any:
    if isinstance(result, Subscription):
        async with result, asyncio.timeout(5):
            return [await anext(result), *[row for row, _ in result._queue]]
    if isinstance(result, AbstractAsyncContextManager):
        async with result as rows:
            return [row async for row in rows]
    result = await result
    result = getattr(result, "items", result) if not isinstance(result, dict) else result
    return [getattr(row, "item", row) for row in result] if isinstance(result, list) else result


async def prepared(timber: Timber, method: str, who: str | None) -> dict[str, Any]:
    """What else is passed, once there is something for the method to find."""
    if method != "subscribe" or who is None:
        return {}
    async with timber.notifications.subscribe(who) as subscription:
        cursor = subscription.cursor
    for user_id in (OWNER, OTHER):
        await timber.notifications.create_notification(user_id, "n", title="t", content="c")
    return {"after": cursor}


async def stored(url: str) -> dict[str, dict[str, Any]]:
    """Every row there is, as JSON text, with whose it is."""
    tables = ["sessions", "session_events", "research_data"]
    tables += ["notifications", "trackers", "tracker_events"]
    query = " UNION ALL ".join(
        f"SELECT '{table} ' || (to_jsonb(t) ->> 'id') AS key, to_jsonb(t)::text AS text,"
        f" to_jsonb(t) ->> 'user_id' AS user_id FROM {table} t"
        for table in tables
    )
    async with connected(url) as connection:
        return {row["key"]: dict(row) for row in await connection.fetch(query)}


def changed(before: dict[str, Any], after: dict[str, Any]) -> set[str | None]:
    """Whose rows are new, gone or different."""
    return {
        (after.get(key) or before[key])["user_id"]
        for key in before.keys() | after.keys()
        if before.get(key) != after.get(key)
    }


@pytest.mark.parametrize(("service", "method"), WALLED)
async def test_only_the_owner_gets_to_a_row(
    timber: Timber, database_url: str, service: str, method: str
):
    call = Call(timber, service, method)
    rows = await make_rows(timber, OWNER)
    if call.restores:
        await getattr(timber, service).delete(rows.id_of(service))

    more = await prepared(timber, method, OTHER)
    before = await stored(database_url)
    result = await call.by(OTHER, rows, **more)
    assert changed(before, await stored(database_url)) <= {OTHER}
    for row in result if isinstance(result, list) else [result]:
        assert getattr(row, "user_id", OTHER) == OTHER
    if call.finds_by_key:
        missing = Rows(uuid4(), uuid4(), uuid4(), uuid4())
        assert str(result) == str(await call.by(OTHER, missing, **more)), "unlike a missing one"
        assert isinstance(result, NotFoundError | UsageError) or not result

    result = await call.by(None, rows)
    if call.needs_a_user:
        assert isinstance(result, ValidationError)
        assert changed(before, await stored(database_url)) <= {OTHER}
    else:
        assert did_something(result, before, await stored(database_url))
        rows = await make_rows(timber, OWNER)
        if call.restores:
            await getattr(timber, service).delete(rows.id_of(service))

    more = await prepared(timber, method, OWNER)
    before = await stored(database_url)
    result = await call.by(OWNER, rows, **more)
    assert did_something(result, before, await stored(database_url))


def did_something(result: Any, before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether the call found something or changed the owner's rows, unless its model cannot do it for anybody."""
    if isinstance(result, ServiceError):
        return isinstance(result, UsageError)
    return bool(result) or bool(changed(before, after) & {OWNER, None})


UPSERTS: dict[str, Callable[[Rows], dict[str, Any]]] = {
    "sessions": lambda _: {"session_type": "research"},
    "research": lambda rows: {"session_id": rows.session_id, "content": 1, "research_type": "n"},
    "notifications": lambda _: {"notification_type": "n", "title": "t", "content": "c"},
    "tracking": lambda _: {"tracker_type": "n", "conditions": 1},
}


@pytest.mark.parametrize("service", SERVICES)
async def test_an_upsert_does_not_reach_somebody_elses_row(
    timber: Timber, database_url: str, service: str
):
    rows = await make_rows(timber, OWNER)
    before = await stored(database_url)
    values = {**UPSERTS[service](rows), "user_id": OTHER}
    if "id" in timber.registry.create_dto(SERVICES[service].model).model_fields:
        values["id"] = rows.id_of(service)
        with pytest.raises(ConflictError if service != "sessions" else UsageError):
            await getattr(timber, service).upsert(values)
        assert await stored(database_url) == before
