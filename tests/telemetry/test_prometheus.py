"""What Prometheus is told: statements, the pool, retries, the work that is left."""

from __future__ import annotations

import asyncio
from collections.abc import Generator

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from timber import ConflictError, Timber
from timber.database.statements import Statement
from timber.integrations.prometheus import instrument

SECRET = "geheim-4711"


@pytest.fixture
def registry(timber: Timber) -> Generator[CollectorRegistry]:
    registry = CollectorRegistry()
    instrumentation = instrument(timber, registry)
    yield registry
    instrumentation.remove()


async def test_statements_are_timed_and_failures_counted(
    timber: Timber, registry: CollectorRegistry
) -> None:
    session = await timber.sessions.create_session(SECRET, "research")
    with pytest.raises(ConflictError):
        await timber.sessions.repository.insert(
            {"user_id": SECRET, "session_type": "research"}, id=session.id
        )
    labels = {"operation": "INSERT", "table": "sessions"}
    assert registry.get_sample_value("timber_statement_seconds_count", labels) == 2
    assert (
        registry.get_sample_value("timber_statement_seconds_bucket", {**labels, "le": "+Inf"}) == 2
    )
    assert (
        registry.get_sample_value("timber_statement_errors_total", {**labels, "error": "23505"})
        == 1
    )
    assert SECRET not in generate_latest(registry).decode()


async def test_the_pool_and_waits_for_it_are_reported(
    database_url: str, clean_tables: None
) -> None:
    async with Timber(database_url, pool_size=1, max_overflow=0) as timber:
        registry = CollectorRegistry()
        instrumentation = instrument(timber, registry)
        slow = Statement("SELECT pg_sleep(0.03)", label="slow")
        await asyncio.gather(*(timber.db.fetch(slow) for _ in range(3)))
        value = registry.get_sample_value
        assert value("timber_pool_connections", {"state": "used"}) == 0
        assert value("timber_pool_connections_max") == 1
        assert value("timber_pool_waiting") == 0
        assert value("timber_pool_wait_seconds_count") == 2
        assert value("timber_pool_refusals_total", {"why": "timeout"}) == 0
        instrumentation.remove()


async def test_after_the_end_of_the_timber_what_was_counted_is_still_there(
    database_url: str, clean_tables: None
) -> None:
    registry = CollectorRegistry()
    async with Timber(database_url) as timber:
        instrumentation = instrument(timber, registry)
        await timber.sessions.create_session("u", "research")
    labels = {"operation": "INSERT", "table": "sessions"}
    assert registry.get_sample_value("timber_statement_seconds_count", labels) == 1
    assert registry.get_sample_value("timber_pool_connections_max") is None
    instrumentation.remove()
