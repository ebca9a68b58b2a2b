"""The work of workers is reported as it is, and not as it was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping

import pytest
from prometheus_client import CollectorRegistry

from timber import Timber, UnavailableError
from timber.integrations import jobs, prometheus

LABELS = {"job": "embedding", "figure": "pending"}


class Background:
    """Work whose figures change by themselves."""

    def __init__(self) -> None:
        self.asked = 0
        self.error: Exception | None = None

    async def figures(self) -> Mapping[str, Mapping[str, float]]:
        await asyncio.sleep(0.01)
        if self.error is not None:
            raise self.error
        self.asked += 1
        return {"embedding": {"pending": float(self.asked)}}


@pytest.fixture
def background(timber: Timber, monkeypatch: pytest.MonkeyPatch) -> Background:
    background = Background()
    monkeypatch.setattr(type(timber), "background", lambda _self: background)
    return background


@pytest.fixture
async def registry(timber: Timber, background: Background) -> AsyncGenerator[CollectorRegistry]:
    registry = CollectorRegistry()
    instrumentation = prometheus.instrument(timber, registry)
    yield registry
    instrumentation.remove()


async def test_a_scrape_in_another_thread_asks_first(
    registry: CollectorRegistry, background: Background, monkeypatch: pytest.MonkeyPatch
) -> None:
    scraped = [await asyncio.to_thread(registry.get_sample_value, "timber_jobs", LABELS)]
    scraped += [await asyncio.to_thread(registry.get_sample_value, "timber_jobs", LABELS)]
    assert scraped == [1, 1]
    monkeypatch.setattr(jobs, "FRESH_SECONDS", 0.0)
    assert await asyncio.to_thread(registry.get_sample_value, "timber_jobs", LABELS) == 2


async def test_a_scrape_in_the_event_loop_is_told_the_last_answer(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "FRESH_SECONDS", 0.0)
    assert registry.get_sample_value("timber_jobs", LABELS) is None
    await asyncio.sleep(0.1)
    assert registry.get_sample_value("timber_jobs", LABELS) == 1


async def test_what_is_not_known_is_not_reported(
    registry: CollectorRegistry, background: Background, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "FRESH_SECONDS", 0.0)
    assert await asyncio.to_thread(registry.get_sample_value, "timber_jobs", LABELS) == 1
    background.error = UnavailableError()
    assert await asyncio.to_thread(registry.get_sample_value, "timber_jobs", LABELS) is None


async def test_refreshing_is_for_those_who_cannot_wait_otherwise(
    timber: Timber, background: Background
) -> None:
    registry = CollectorRegistry()
    instrumentation = prometheus.instrument(timber, registry)
    await instrumentation.refresh()
    assert registry.get_sample_value("timber_jobs", LABELS) == 1
    assert background.asked == 1
    instrumentation.remove()
