"""A text of many megabytes: cut and stored piece by piece in bounded memory, and taken up where it was left."""

from __future__ import annotations

import random
import tracemalloc
from typing import Any
from uuid import uuid4

import pytest

from tests.features.embedding.embedders import Recording
from tests.features.embedding.test_worker import embedding_with
from timber.features.embedding.worker import EmbeddingWorker

WORDS = [f"w{n}" for n in range(10_000)]


def long_text(characters: int) -> str:
    return " ".join(random.Random(characters).choices(WORDS, k=characters // 5))[:characters]


@pytest.mark.parametrize(
    "characters",
    [300_000, pytest.param(10_000_000, marks=[pytest.mark.slow, pytest.mark.timeout(600)])],
)
async def test_a_long_text_is_embedded_in_bounded_memory(
    library, notes, provider, work, characters
):
    embedding = provider.embeddings["Note"]
    note = await notes.insert({"text": {"a": long_text(characters)}})
    tracemalloc.start()
    try:
        assert await work() == 1
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    status = await embedding.status()
    assert status.embedded == 1
    assert status.chunks > characters / 1000
    assert peak < 10_000_000 + 6 * characters
    # The end of it changes: a piece or two, and the rest stays.
    before = status.chunks
    await notes.update(note.id, {"text": {"a": long_text(characters)[:-500]}})
    assert await work() == 1
    assert before - 1 <= (await embedding.status()).chunks <= before


async def test_who_takes_a_long_text_over_goes_on_where_the_other_stopped(
    library, pages, fetch, embedder
):
    await pages.insert({"number": 1, "title": "long", "body": long_text(20_000)})
    embedding = embedding_with(library, embedder, batch=8)

    def answer(texts: list[str]) -> Any:
        if len(embedder.calls) > 5:
            raise RuntimeError
        return [[1.0] * 64 for _ in texts]

    embedder.answer = answer
    await EmbeddingWorker([embedding]).step()
    assert (await embedding.status()).chunks == 40
    other = Recording()
    worker = EmbeddingWorker([embedding_with(library, other, batch=8)])
    await worker.step()
    assert not set(other.texts) & {text for call in embedder.calls[:5] for text in call}
    assert (await embedding.status()).embedded == 1


async def test_a_row_whose_workers_die_of_it_is_given_up_in_the_end(library, pages, embedder):
    embedding = embedding_with(library, embedder, attempts=2)
    embedding.jobs._lease = 0.0
    await pages.insert({"number": 1, "title": "deadly"})

    for _ in range(2):
        # As a process that dies: nothing is given back.
        await embedding.jobs.claim(uuid4(), 1)
    assert await EmbeddingWorker([embedding]).step() == 1
    letter = (await embedding.dead_letters())[0]
    assert letter.reason == "2 workers ended while they were at this row"
    assert embedder.calls == []
