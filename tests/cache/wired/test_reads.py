"""What comes from the cache, and what never does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from tests.cache.test_reading import round_trips
from tests.cache.wired.conftest import MakeHouse
from tests.cache.wired.house import Brief, House, Labelled
from timber import DTO, NotFoundError, Service, ValidationError, cached
from timber.cache.coherence.connecting import redis_client
from timber.models import ModelConfig, ModelRegistry
from timber.testing import count_queries

NOW = datetime(2026, 1, 1, tzinfo=UTC)
Ask = Callable[[House, UUID], Awaitable[object]]


def task(**values: object) -> dict[str, Any]:
    return {"user_id": "ann", "details": {"place": "here", "n": [1, {"a": None}]}, **values}


@pytest.fixture
async def key(house: House) -> UUID:
    made = await house.tasks.insert(
        task(tags=["a", "b"], every=timedelta(hours=1), due_at=NOW, code="c", number=7)
    )
    found: UUID = made.id
    return found


CACHED: dict[str, Ask] = {
    "get": lambda h, k: h.tasks.get(k),
    "get by text": lambda h, k: h.tasks.get(str(k)),
    "get_or_none": lambda h, k: h.tasks.get_or_none(k, include_deleted=True),
    "get of its owner": lambda h, k: h.tasks.get(k, owner="ann"),
    "get of somebody else": lambda h, k: h.tasks.get_or_none(k, owner="bob"),
    "get into another DTO": lambda h, k: h.tasks.get(k, into=Brief),
    "get_many": lambda h, k: h.tasks.get_many([k, k]),
    "get of nothing": lambda h, _: h.tasks.get_or_none(UUID(int=1)),
    "find": lambda h, _: h.tasks.find(user_id="ann", status="open"),
    "find with more filters": lambda h, _: h.tasks.find(
        (h.tasks.where.number > 3) | ~h.tasks.where.code.is_null(), status="open"
    ),
    "find by a generated column": lambda h, _: h.tasks.find(place="here", into=Brief),
    "find_one": lambda h, _: h.tasks.find_one(owner="ann", order_by="-number"),
    "page": lambda h, _: h.tasks.page(user_id="ann", per_page=1),
    "scroll": lambda h, _: h.tasks.scroll(user_id="ann", limit=1, into=Brief),
    "count": lambda h, _: h.tasks.count(user_id="ann"),
    "count_by": lambda h, _: h.tasks.count_by("project_id", user_id="ann"),
    "count_by_time": lambda h, _: h.tasks.count_by_time("created_at", "hour", user_id="ann"),
    "exists": lambda h, k: h.tasks.exists(id=k, owner="ann"),
}
"""Asked twice, they send nothing the second time."""

UNCACHED: dict[str, Ask] = {
    "get, fresh": lambda h, k: h.tasks.get(k, fresh=True),
    "get_many, fresh": lambda h, k: h.tasks.get_many([k], fresh=True),
    "find, fresh": lambda h, _: h.tasks.find(user_id="ann", fresh=True),
    "page, fresh": lambda h, _: h.tasks.page(user_id="ann", fresh=True),
    "count, fresh": lambda h, _: h.tasks.count(user_id="ann", fresh=True),
    "find by what is not declared": lambda h, _: h.tasks.find(number=7),
    "find of one user or another": lambda h, _: h.tasks.find(
        h.tasks.where.user_id.in_(["ann", "bob"])
    ),
    "find by a caller's own SQL": lambda h, _: h.tasks.find(
        h.tasks.model.number == 7, user_id="ann"
    ),
    "find by what no copy has": lambda h, _: h.tasks.find(
        h.tasks.where.claimed_until.is_null(), user_id="ann"
    ),
    "a DTO with what no copy has": lambda h, k: h.timber.repository("Task", Claimed).get(k),
}
"""Asked twice, they are sent twice."""


class Claimed(DTO):
    id: UUID
    claimed_until: datetime | None


@pytest.mark.parametrize("level", ["l1", "l2"])
@pytest.mark.parametrize("name", CACHED)
async def test_what_was_read_before_comes_from_the_cache(
    house: House, key: UUID, name: str, level: str
) -> None:
    first = await CACHED[name](house, key)
    if level == "l2":
        house.timber.cache.memory.wipe()
    with count_queries(house.timber.db, expected=0):
        again = await CACHED[name](house, key)
    assert again == first
    assert again == await _fresh(house, name, key)


async def _fresh(house: House, name: str, key: UUID) -> object:
    async with house.timber.unit_of_work():
        return await CACHED[name](house, key)


@pytest.mark.parametrize("name", UNCACHED)
async def test_what_is_fresh_or_not_declared_comes_from_the_database(
    house: House, key: UUID, name: str
) -> None:
    first = await UNCACHED[name](house, key)
    with count_queries(house.timber.db) as sent:
        assert await UNCACHED[name](house, key) == first
    assert len(sent) >= 1


async def test_a_unit_of_work_reads_the_database_and_fills_nothing(house: House, key: UUID) -> None:
    house.timber.cache.memory.wipe()
    fills = house.counts("l2")["fills"]
    async with house.timber.unit_of_work():
        with count_queries(house.timber.db, expected=3):
            await house.tasks.get(key)
            await house.tasks.get_many([key])
            await house.tasks.find(user_id="ann")
    assert house.counts("l2")["fills"] == fills
    assert len(house.timber.cache.memory) == 0


async def test_nobody_gets_an_object_that_another_has(house: House, key: UUID) -> None:
    first = await house.tasks.get(key)
    first.details["place"] = "elsewhere"
    first.tags.append("c")
    [listed] = await house.tasks.find(user_id="ann")
    listed.details["n"].clear()
    again = await house.tasks.get(key)
    assert again.details == {"place": "here", "n": [1, {"a": None}]}
    assert again.tags == ["a", "b"]
    assert (await house.tasks.find(user_id="ann"))[0] == again


async def test_a_deleted_row_is_one_only_for_who_asks_for_it(house: House, key: UUID) -> None:
    await house.tasks.delete(key)
    for _ in range(2):
        assert await house.tasks.get_or_none(key) is None
        assert await house.tasks.get_many([key]) == []
        assert (await house.tasks.get(key, include_deleted=True)).deleted_at is not None
    with pytest.raises(NotFoundError):
        await house.tasks.get(key)


async def test_an_owner_that_cannot_be_one_is_refused(house: House, key: UUID) -> None:
    await house.tasks.get(key)
    with pytest.raises(ValidationError):
        await house.tasks.get(key, owner=7)  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        await house.tasks.get("no key")


async def test_what_is_nested_comes_from_the_database(house: House, key: UUID) -> None:
    labels = house.timber.repository("Label", house.timber.registry.read_dto("Label"))
    one = await labels.insert({"name": "one"})
    await house.tasks.set_links(key, "labels", [one.id])
    found = [await house.tasks.get(key, into=Labelled) for _ in range(2)]
    assert [[label.name for label in task.labels] for task in found] == [["one"], ["one"]]
    await labels.update(one.id, {"name": "two"})
    assert (await house.tasks.get(key, into=Labelled)).labels[0].name == "two"


async def test_many_rows_are_one_round_trip_to_redis(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = await house.tasks.insert_many([task(number=n) for n in range(100)])
    found = await house.tasks.get_many(keys)
    house.timber.cache.memory.wipe()
    sent = round_trips(monkeypatch)
    with count_queries(house.timber.db, expected=0):
        assert await house.tasks.get_many(keys) == found
    assert [batch[0][0] for batch in sent if batch[0][0] != "INFO"] == ["MGET"]


async def test_a_write_is_one_round_trip_to_redis_however_much_it_changes(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.tasks.insert_many([task(number=n) for n in range(50)])
    sent = round_trips(monkeypatch)
    await house.tasks.update_where({"number": 1}, user_id="ann")
    assert [len(batch) for batch in sent if batch[0][0] != "INFO"] == [1]


async def test_pages_and_counts_share_their_number(house: House, key: UUID) -> None:
    assert await house.tasks.count(user_id="ann") == 1
    with count_queries(house.timber.db) as sent:
        assert (await house.tasks.page(user_id="ann")).total == 1
    assert sent.labels == ["page Task"]


async def test_what_the_services_read_comes_from_the_cache(house: House) -> None:
    timber = house.timber
    session = await timber.sessions.create_session("ann", "research", {"symbol": "AAPL"})
    item = await timber.research.save_research(session.id, {"pe": 29.1}, "ratio")
    note = await timber.notifications.create_notification("ann", "x", title="t", content="c")
    tracker = await timber.tracking.create_tracker("ann", "price", conditions={"above": 1})
    await timber.tracking.log_event(tracker.id, {"seen": 1})

    async def ask() -> list[object]:
        return [
            await timber.sessions.get_session(session.id, owner="ann"),
            await timber.sessions.get_user_sessions("ann"),
            await timber.sessions.page_user_sessions("ann"),
            await timber.sessions.scroll_user_sessions("ann", symbol="AAPL"),
            await timber.sessions.count_user_sessions("ann", by="status"),
            await timber.sessions.get_history(session.id),
            await timber.research.get_research(item.id),
            await timber.research.get_session_research(session.id),
            await timber.research.get_user_research("ann"),
            await timber.notifications.get_or_none(note.id),
            await timber.notifications.get_user_notifications("ann", unread_only=True),
            await timber.notifications.unread_count("ann"),
            await timber.tracking.get_tracker(tracker.id),
            await timber.tracking.get_user_trackers("ann"),
            await timber.tracking.get_tracker_events(tracker.id, owner="ann"),
            await timber.tracking.count_events(tracker.id, by="day"),
        ]

    first = await ask()
    with count_queries(timber.db, expected=0):
        assert await ask() == first


class Summaries(Service[Any]):
    model = "Task"
    calls = 0

    @cached(ttl=60, tags=["tasks_of:{user}"])
    async def numbers(self, user: str) -> list[int]:
        type(self).calls += 1
        return [task.number for task in await self.repository.find(user_id=user, order_by="number")]


async def test_answers_of_ones_own_hang_on_the_tags_of_models(house: House, key: UUID) -> None:
    summaries = house.timber.service(Summaries)
    Summaries.calls = 0
    assert await summaries.numbers("ann") == await summaries.numbers("ann") == [7]
    assert Summaries.calls == 1
    await house.tasks.update(key, {"number": 8})
    assert await summaries.numbers("ann") == [8]
    async with house.timber.unit_of_work() as unit:
        unit.invalidate("Task")
    assert await summaries.numbers("ann") == [8]
    assert Summaries.calls == 3


async def test_nothing_in_redis_is_pickled(make_house: MakeHouse, cache_url: str) -> None:
    prefix = f"timber-test-{uuid4().hex[:12]}"
    house = await make_house(cache_prefix=prefix)
    key = (await house.tasks.insert(task())).id
    for ask in CACHED.values():
        await ask(house, key)
    client = redis_client(cache_url)
    kept = [await client.get(k) async for k in client.scan_iter(match=f"{prefix}*", count=500)]
    await client.aclose()
    assert len(kept) > 10
    assert not [value for value in kept if value is None or value[:1] == b"\x80"]


@pytest.fixture
def damaged(cache_url: str) -> Callable[[str, bytes], Awaitable[None]]:
    async def damage(prefix: str, damage: bytes) -> None:
        client: Redis = redis_client(cache_url)
        async for key in client.scan_iter(match=f"{prefix}:e:*", count=500):
            whole = await client.get(key)
            await client.set(key, whole[:-3] + damage)
        await client.aclose()

    return damage


@pytest.mark.parametrize("damage", [b"", b"xyz", b"xyzxyz"], ids=["cut", "changed", "longer"])
async def test_a_damaged_payload_is_a_counted_miss(
    make_house: MakeHouse, damaged: Any, damage: bytes
) -> None:
    prefix = f"timber-test-{uuid4().hex[:12]}"
    house = await make_house(cache_prefix=prefix)
    key = (await house.tasks.insert(task())).id
    asks = [CACHED[name] for name in ("get", "find", "count")]
    first = [await ask(house, key) for ask in asks]
    await damaged(prefix, damage)
    house.timber.cache.memory.wipe()
    assert [await ask(house, key) for ask in asks] == first
    assert house.counts("l2")["corrupted"] == 3


async def test_a_payload_of_another_schema_is_a_counted_miss(
    make_house: MakeHouse, house_url: str
) -> None:
    prefix = f"timber-test-{uuid4().hex[:12]}"
    old = await make_house(cache_prefix=prefix)
    session = await old.timber.sessions.create_session("ann", "research")
    assert await old.timber.sessions.get_session(session.id) == session
    extension = ModelConfig.model_validate(
        {"extends": "Session", "columns": [{"name": "flavour", "type": "Text", "nullable": True}]}
    )
    await old.timber.db.execute(_sql("ALTER TABLE sessions ADD COLUMN flavour text"))
    try:
        registry = ModelRegistry(models=[extension])
        from timber import Timber

        url = old.timber.settings.cache_url
        async with Timber(house_url, registry=registry, cache_url=url, cache_prefix=prefix) as new:
            assert await new.sessions.get_session(session.id) == session
            levels: Any = new.cache.stats()
            assert levels["l2"]["Session"]["corrupted"] == 1
        old.timber.cache.memory.wipe()
        assert await old.timber.sessions.get_session(session.id) == session
    finally:
        await old.timber.db.execute(_sql("ALTER TABLE sessions DROP COLUMN flavour"))


def _sql(text: str) -> Any:
    from timber.database.statements import Statement

    return Statement(text, label="alter")


async def test_a_cancelled_read_fails_nobody(house: House) -> None:
    key = (await house.tasks.insert(task())).id
    tasks = [asyncio.create_task(house.tasks.get(key)) for _ in range(20)]
    for reader in tasks[::2]:
        await asyncio.sleep(0)
        reader.cancel()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert {task.id for task in found[1::2]} == {key}  # type: ignore[union-attr]
