"""``@cached`` on a service's own methods, ``versioned`` names, and savepoints of changes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from timber.cache.cached import cached
from timber.cache.codec import JsonCodec
from timber.cache.coherence.cache import CoherentCache
from timber.cache.coherence.connecting import coherent_cache
from timber.dto import DTO
from timber.errors import ConfigurationError, UsageError


class Summary(DTO):
    user_id: str
    at: datetime
    counts: dict[str, int]


class Reports:
    """A service as a user writes it."""

    def __init__(self, cache: CoherentCache | None) -> None:
        self.cache = cache
        self.calls = 0

    @cached(ttl=60, tags=["user_sessions:{user_id}"])
    async def summary(self, user_id: str, *, days: int = 7, fresh: bool = False) -> Summary:
        self.calls += 1
        return Summary(user_id=user_id, at=datetime.now(UTC), counts={"calls": self.calls})

    @cached(ttl=60)
    async def latest(self, thing: object) -> list[Summary] | None:
        self.calls += 1
        return None


@pytest.fixture
def cache() -> CoherentCache:
    return coherent_cache(None, None)


@pytest.fixture
def reports(cache: CoherentCache) -> Reports:
    return Reports(cache)


async def test_an_answer_is_kept_for_each_set_of_arguments(reports: Reports) -> None:
    first = await reports.summary("ann")
    assert await reports.summary("ann") == first
    assert await reports.summary(user_id="ann", days=7) == first
    assert reports.calls == 1
    assert await reports.summary("ann", days=8) != first
    assert await reports.summary("bob") != first
    assert reports.calls == 3


async def test_nobody_can_change_an_answer_for_others(reports: Reports) -> None:
    first = await reports.summary("ann")
    first.counts["calls"] = 100
    assert (await reports.summary("ann")).counts == {"calls": 1}


async def test_fresh_goes_past_it(reports: Reports) -> None:
    await reports.summary("ann")
    assert (await reports.summary("ann", fresh=True)).counts == {"calls": 2}


async def test_a_change_under_its_tag_clears_it(reports: Reports, cache: CoherentCache) -> None:
    await reports.summary("ann")
    changes = cache.changes()
    changes.add("Session", ["1"], ["user_sessions:bob"])
    await cache.committed(changes)
    await reports.summary("ann")
    assert reports.calls == 1
    changes.add("Session", ["1"], ["user_sessions:ann"])
    await cache.committed(changes)
    await reports.summary("ann")
    assert reports.calls == 2


async def test_that_there_is_no_answer_is_kept_too(reports: Reports) -> None:
    assert await reports.latest(1) is None
    assert await reports.latest(1) is None
    assert reports.calls == 1


async def test_inside_a_unit_of_work_the_method_runs(
    reports: Reports, cache: CoherentCache
) -> None:
    cache.in_transaction = lambda: True
    await reports.summary("ann")
    await reports.summary("ann")
    assert reports.calls == 2


async def test_without_a_cache_the_method_runs() -> None:
    reports = Reports(None)
    await reports.summary("ann")
    await reports.summary("ann")
    assert reports.calls == 2


async def test_arguments_that_cannot_be_told_apart_are_refused(reports: Reports) -> None:
    with pytest.raises(UsageError, match="thing"):
        await reports.latest(object())


def test_a_tag_that_names_no_argument_is_an_error_at_once() -> None:
    with pytest.raises(ConfigurationError, match="user_id"):

        @cached(tags=["user:{user_id}"])
        async def method(self: Reports) -> int:
            return 1


async def test_a_version_in_a_name_needs_no_invalidation(cache: CoherentCache) -> None:
    assert cache.versioned("Row:1", 2) == "Row:1@2"
    assert cache.versioned("Row:1", 2) != cache.versioned("Row:1", 3)


async def test_very_many_tags_that_a_user_names_are_cleared_one_by_one(
    cache: CoherentCache,
) -> None:
    """All of a model does not stand for them: an answer of one's own may hang on one, and on no model."""
    values = iter(range(9))

    async def load() -> int:
        return next(values)

    kind = cache.kind("reports.summary", JsonCodec("00"))
    assert await cache.read(kind, "reports.summary?1", load, tags=["desk:5"]) == b"0"
    await cache.invalidate("Row", tags=[f"desk:{n}" for n in range(2000)])
    assert await cache.read(kind, "reports.summary?1", load, tags=["desk:5"]) == b"1"


def test_a_change_without_ids_and_tags_is_all_of_the_model(cache: CoherentCache) -> None:
    changes = cache.changes()
    assert not changes
    changes.add("Row", [1])
    changes.add("Row")
    assert changes.names == ("Row:1", "Row")
