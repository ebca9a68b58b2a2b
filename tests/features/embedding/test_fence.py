"""An old text's vector never takes the place of a newer one's, whoever comes first, comes late, or dies."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncGenerator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.features.embedding.embedders import Recording
from tests.features.embedding.test_worker import embedding_with
from timber import Timber
from timber.database.statements import Statement
from timber.features.embedding.worker import EmbeddingWorker

PROJECT = Path(__file__).parents[3]


def page(number: int, body: str = "words") -> dict[str, Any]:
    return {"number": number, "user_id": "ann", "title": f"page {number}", "body": body}


async def assert_vectors_are_of_the_texts(timber: Timber) -> None:
    """Every row is embedded, and by the very text that it has."""
    rows = await timber.db.fetch(
        Statement(
            "SELECT t.title, t.body, j.state, array_agg(c.text_hash) AS chunks FROM leaves AS t"
            " LEFT JOIN timber_leaves_embedding AS j ON j.row_key = t.id"
            " LEFT JOIN timber_leaves_chunks AS c ON c.row_key = t.id GROUP BY 1, 2, 3",
            label="test",
        )
    )
    for title, body, state, digests in rows:
        assert (state, digests) == ("done", [sha256(f"{title}\n\n{body}".encode()).digest()])


@pytest.fixture
async def held(library, pages, embedder, worker) -> AsyncGenerator[Any]:
    """A row whose text a worker has read and is asking the embedder about, and how to have it answer."""
    made = await pages.insert(page(1, "old"))
    embedder.gate = asyncio.Event()
    step = asyncio.create_task(worker.step())
    await embedder.entered.wait()

    async def finish() -> None:
        embedder.gate.set()
        await step

    yield made, finish
    await finish()


async def test_a_text_that_changes_meanwhile_is_not_given_the_old_vector(
    held, library, pages, embedding, work
):
    made, finish = held
    await pages.update(made.id, {"body": "new"})
    await finish()
    status = await embedding.status()
    assert (status.chunks, status.pending) == (0, 1)
    await work()
    await assert_vectors_are_of_the_texts(library)


async def test_nor_one_that_changes_and_changes_back(held, library, pages, work):
    made, finish = held
    await pages.update(made.id, {"body": "new"})
    await pages.update(made.id, {"body": "old"})
    await finish()
    await work()
    await assert_vectors_are_of_the_texts(library)


async def test_a_text_that_goes_back_to_what_is_embedded_while_another_is_being_so(
    library, pages, embedder, worker, work
):
    made = await pages.insert(page(1, "first"))
    await work()
    await pages.update(made.id, {"body": "second"})
    embedder.entered.clear()
    embedder.gate = asyncio.Event()
    step = asyncio.create_task(worker.step())
    await embedder.entered.wait()
    async with library.unit_of_work():
        await pages.update(made.id, {"body": "first"})
        embedder.gate.set()
        await step  # it finds the job locked, and does not wait for the writer
    await work()
    await assert_vectors_are_of_the_texts(library)


async def test_a_row_that_is_deleted_meanwhile_leaves_nothing(held, pages, fetch):
    made, finish = held
    await pages.delete(made.id, hard=True)
    await finish()
    assert await fetch("SELECT * FROM timber_leaves_chunks") == []
    assert await fetch("SELECT * FROM timber_leaves_embedding") == []


async def test_a_worker_whose_lease_is_over_stores_nothing(library, pages, embedder):
    slow = embedding_with(library, embedder, timeout=5.0)
    slow.jobs._lease = 0.05
    made = await pages.insert(page(1, "old"))
    embedder.gate = asyncio.Event()
    late = asyncio.create_task(EmbeddingWorker([slow]).step())
    await embedder.entered.wait()
    await asyncio.sleep(0.1)
    quick = embedding_with(library, Recording())
    assert await EmbeddingWorker([quick]).step() == 1
    await pages.update(made.id, {"body": "new"})
    assert await EmbeddingWorker([quick]).step() == 1
    embedder.gate.set()
    await late
    await assert_vectors_are_of_the_texts(library)


async def test_two_workers_share_the_rows_and_embed_each_once(library, pages):
    await pages.insert_many([page(number, f"body {number}") for number in range(300)])
    recordings = [Recording(), Recording()]
    workers = [EmbeddingWorker([embedding_with(library, each)]) for each in recordings]

    async def work(worker: EmbeddingWorker) -> int:
        total = 0
        while number := await worker.step():
            total += number
        return total

    assert sum(await asyncio.gather(*map(work, workers))) == 300
    texts = [text for each in recordings for text in each.texts]
    assert len(texts) == len(set(texts)) == 300
    await assert_vectors_are_of_the_texts(library)


async def test_writers_and_two_workers_at_random_end_with_the_vectors_of_the_last_texts(
    library, pages
):
    keys = await pages.insert_many([page(number) for number in range(12)])
    over = asyncio.Event()

    async def write(seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(40):
            body = f"one of {dice.randrange(4)}"
            if dice.random() < 0.3:
                chosen = dice.sample(keys, 5)
                await pages.update_where({"body": body}, pages.where.id.in_(chosen))
            else:
                await pages.update(dice.choice(keys), {"body": body})
            await asyncio.sleep(dice.random() / 200)

    async def work() -> None:
        worker = EmbeddingWorker([embedding_with(library, Recording(), batch=3)])
        while True:
            last = over.is_set()
            while await worker.step():
                pass
            if last:
                return
            await asyncio.sleep(0.001)

    workers = [asyncio.create_task(work()) for _ in range(2)]
    # Writers of many rows each can have a deadlock with one another, but not with the workers.
    for seed in range(3):
        await write(seed)
    over.set()
    await asyncio.gather(*workers)
    await assert_vectors_are_of_the_texts(library)


async def test_what_a_killed_worker_had_is_done_by_another_when_its_lease_is_over(
    library_url, library, pages, work, embedding
):
    await pages.insert_many([page(number, f"body {number}") for number in range(40)])
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.features.embedding.one_step", library_url),
        cwd=PROJECT,
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        assert await process.stdout.readline() == b"embedding\n"
    os.kill(process.pid, signal.SIGKILL)
    await process.wait()
    stored = await embedding.status()
    assert (stored.embedded, stored.pending) == (16, 24)  # its first batch
    assert await work() == 0
    async with asyncio.timeout(10):
        while await work() == 0:
            await asyncio.sleep(0.1)
    await assert_vectors_are_of_the_texts(library)
