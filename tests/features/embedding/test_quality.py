"""Forty questions about real text: with a real embedding model where one is installed, else by words only."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from benchmarks.search.quality import (
    MODELS,
    fill,
    make_provider,
    measure,
    model_folder,
    questions,
)
from timber import ModelRegistry, Timber


@pytest.fixture
async def topics(bare_database_url: str) -> AsyncGenerator[Timber]:
    registry = ModelRegistry(files=[MODELS])
    async with Timber(bare_database_url, registry=registry, providers=[make_provider()]) as timber:
        await timber.db.create_all_tables()
        await fill(timber)
        yield timber


def test_there_are_forty_questions() -> None:
    assert len({question.asks for question in questions()}) >= 38  # topics differ between versions


async def test_questions_are_answered_by_their_words(topics: Timber) -> None:
    found = await measure(topics, ["keyword", "any word"])
    assert found["any word"] > 0.35


async def test_storing_all_of_it_again_changes_nothing(topics: Timber) -> None:
    service = topics.service("Topic")
    background = topics.background()
    await background.run_once()
    provider = topics.background()
    before = await provider.figures()
    for row in await service.list(limit=200):
        await service.upsert({"name": row.name, "text": row.text}, on=["name"])
    assert await background.run_once() == {"embedding": 0}
    after = await provider.figures()
    assert after == before
    assert after["embedding"]["embedded"] == after["embedding"]["rows"]


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_both_together_find_at_least_what_either_finds(topics: Timber) -> None:
    await topics.background().run_once()
    found = await measure(topics, ["keyword", "any word", "semantic", "hybrid"])
    if model_folder() is None:
        assert found["any word"] > 0.35
        return
    assert found["hybrid"] >= max(found.values())
    assert found["semantic"] > 0.7
