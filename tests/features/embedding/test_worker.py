"""What the worker does with texts, and with embedders that do not do what they should."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import Any

import pytest

from tests.features.embedding.embedders import Recording, failing
from timber.database.statements import Statement
from timber.errors import UnavailableError
from timber.features.embedding.embedding import Embedding, EmbeddingOptions
from timber.features.embedding.worker import EmbeddingWorker
from timber.features.feature import FeatureModel

SECRET = "the canary sings"


def page(number: int, body: str = "words") -> dict[str, Any]:
    return {"number": number, "user_id": "ann", "title": f"page {number}", "body": body}


PARAGRAPHS = [f"Paragraph {n} says {'this and that ' * 9}." for n in range(40)]


async def test_the_pieces_of_many_rows_share_one_call(pages, work, embedder):
    await pages.insert_many([page(number) for number in range(30)])
    assert await work() == 30
    assert [len(call) for call in embedder.calls] == [16, 14]


async def test_pieces_that_have_not_changed_are_not_embedded_again(pages, work, embedder, fetch):
    key = (await pages.insert(page(1, "\n\n".join(PARAGRAPHS)))).id
    await work()
    first = set(embedder.texts)
    embedder.calls.clear()
    changed = [PARAGRAPHS[0], "A new one, right at the front.", *PARAGRAPHS[1:], "And an end."]
    await pages.update(key, {"body": "\n\n".join(changed)})
    await work()
    assert len(embedder.texts) < len(first) / 3
    assert not first & set(embedder.texts)
    row = (await fetch("SELECT concat_ws(E'\\n\\n', title, body) FROM leaves"))[0][0]
    places = await fetch(
        "SELECT start, length, number, text_hash = sha256(convert_to(substr(t.text, start + 1, length), 'UTF8'))"
        " FROM timber_leaves_chunks, (SELECT concat_ws(E'\\n\\n', title, body) AS text FROM leaves) AS t ORDER BY number"
    )
    assert [number for _, _, number, _ in places] == list(range(len(places)))
    assert all(fits for *_, fits in places)
    last = places[-1]
    assert row[last[0] : last[0] + last[1]].endswith("And an end.")


async def _hang(texts: list[str]) -> Any:
    await asyncio.sleep(60)


WRONG: list[tuple[Any, str]] = [
    (failing(RuntimeError(SECRET)), "failed with RuntimeError"),
    (failing(UnavailableError("The service is down.")), "The service is down"),
    (lambda texts: [[1.0] * 64] * (len(texts) + 1), "2 vectors for 1 texts"),
    (lambda texts: [], "0 vectors for 1 texts"),
    (lambda texts: [[1.0] * 32 for _ in texts], "32 dimensions, and the model declares 64"),
    (lambda texts: [[math.nan] * 64 for _ in texts], "NaN"),
    (lambda texts: [[1e300] * 64 for _ in texts], "too large"),
    (lambda texts: [[SECRET] * 64 for _ in texts], "no list of numbers"),
    (lambda texts: [None for _ in texts], "no list of numbers"),
    (lambda texts: None, "did not give a list"),
    (_hang, "no answer within 0.05 s"),
]


@pytest.mark.parametrize("wrong", WRONG, ids=[reason for _, reason in WRONG])
async def test_an_embedder_that_fails_is_tried_again_and_then_the_row_is_given_up(
    library, pages, embedder, caplog, wrong
):
    answer, reason = wrong
    caplog.set_level(logging.DEBUG)
    embedding = embedding_with(library, embedder, timeout=0.05, attempts=3)
    worker = EmbeddingWorker([embedding])
    made = await pages.insert(page(1, SECRET))
    embedder.answer = answer
    for attempt in range(1, 4):
        assert (await embedding.status()).dead == 0, attempt
        assert await worker.step() == 1
    status = await embedding.status()
    assert (status.dead, status.pending, status.chunks) == (1, 0, 0)
    letter = (await embedding.dead_letters())[0]
    assert letter.key == made.id
    assert reason in letter.reason
    assert SECRET not in letter.reason + caplog.text
    assert (await pages.get(made.id)).body == SECRET
    assert await worker.step() == 0
    # Somebody mends the embedder, and has it tried again.
    embedder.answer = None
    assert await worker.retry_dead() == 1
    assert await worker.step() == 1
    assert (await embedding.status()).embedded == 1


async def test_a_new_text_brings_a_row_that_was_given_up_back(
    library, pages, embedder, embedding, work
):
    key = (await pages.insert(page(1))).id
    embedder.answer = failing(RuntimeError())
    await work()
    assert (await embedding.status()).dead == 1
    embedder.answer = None
    await pages.update(key, {"body": "better"})
    await work()
    assert (await embedding.status()).embedded == 1


async def test_one_text_that_cannot_be_embedded_does_not_hold_up_the_others(
    library, pages, embedder, embedding, work
):
    bad = "a bad one"
    keys = await pages.insert_many([page(n, bad if n == 7 else f"good {n}") for n in range(20)])

    def answer(texts: list[str]) -> Any:
        if any(bad in text for text in texts):
            raise RuntimeError
        return [[1.0] * 64 for _ in texts]

    embedder.answer = answer
    await work()
    status = await embedding.status()
    assert (status.embedded, status.dead) == (19, 1)
    assert [letter.key for letter in await embedding.dead_letters()] == [keys[7]]


async def test_an_embedder_that_hangs_costs_one_deadline_and_not_one_for_each_row(
    library, pages, embedder
):
    embedding = embedding_with(library, embedder, timeout=0.05, batch=4)
    await pages.insert_many([page(number) for number in range(20)])
    embedder.answer = _hang
    assert await EmbeddingWorker([embedding]).step() == 4
    assert len(embedder.calls) == 1
    assert (await embedding.status()).pending == 20


async def test_failures_wait_longer_each_time(library, pages, embedder, fetch):
    embedding = embedding_with(library, embedder, attempts=9, first_wait=100.0, longest_wait=300.0)
    await pages.insert(page(1))
    embedder.answer = failing(RuntimeError())
    worker = EmbeddingWorker([embedding])
    waits = []
    for _ in range(4):
        await worker.step()
        sql = "SELECT extract(epoch FROM available_at - now())::float8 FROM timber_leaves_embedding"
        waits.append((await fetch(sql))[0][0])
        assert await worker.step() == 0
        await library.db.write(_now())
    assert 45 < waits[0] <= 100
    assert 90 < waits[1] <= 200
    assert all(140 < wait <= 300 for wait in waits[2:])


def _now() -> Statement:
    return Statement("UPDATE timber_leaves_embedding SET available_at = now()", label="test")


async def test_a_text_that_is_too_long_is_given_up_at_once_and_says_why(library, pages, embedder):
    embedding = embedding_with(library, embedder, longest_text=1000)
    await pages.insert(page(1, "x" * 2000))
    await pages.insert(page(2, "short"))
    assert await EmbeddingWorker([embedding]).step() == 2
    status = await embedding.status()
    assert (status.embedded, status.dead) == (1, 1)
    reason = (await embedding.dead_letters())[0].reason
    assert reason == "its text has 2008 characters, and embedding_longest_text is 1000"


async def test_a_table_for_vectors_of_another_dimension_takes_none(library, pages, embedding, work):
    async def of(dimension: int) -> None:
        sql = f"ALTER TABLE timber_leaves_chunks ALTER embedding TYPE vector({dimension})"
        await library.db.write(Statement(sql, label="test"))

    await pages.insert(page(1))
    await of(32)
    try:
        await work()
        letter = (await embedding.dead_letters())[0]
        assert letter.reason.startswith("A value does not fit its column")
    finally:
        await of(64)


async def test_who_is_told_to_stop_gives_back_what_was_not_done(library, pages, embedder, fetch):
    await pages.insert_many([page(number) for number in range(5)])
    embedder.gate = asyncio.Event()
    background = library.background(idle_seconds=0.01)
    background._grace_seconds = 0.1
    background.start()
    await embedder.entered.wait()
    await background.close()
    sql = "SELECT DISTINCT claim, attempts, state FROM timber_leaves_embedding"
    assert await fetch(sql) == [(None, 0, "pending")]


async def test_who_is_told_to_stop_finishes_what_it_is_at(library, pages, embedder, embedding):
    await pages.insert_many([page(number) for number in range(5)])
    embedder.gate = asyncio.Event()
    background = library.background(idle_seconds=0.01)
    background.start()
    await embedder.entered.wait()
    background.stop()
    embedder.gate.set()
    await background.close()
    assert (await embedding.status()).embedded == 5


async def test_an_application_can_embed_by_itself(library_url, library, pages, provider):
    from timber import Timber

    await pages.insert(page(1))
    async with Timber(
        library_url, registry=library.registry, providers=[provider], background_work=True
    ) as timber:
        again = timber.repository("Leaf", timber.registry.read_dto("Leaf"))
        async with asyncio.timeout(10):
            while not await again.search("page", mode="semantic"):
                await asyncio.sleep(0.02)


def embedding_with(library: Any, embedder: Recording, **options: Any) -> Embedding:
    registry = library.registry
    model = FeatureModel(registry.model_config("Leaf"), registry.table("Leaf"), library.db)
    given = {"first_wait": 0.0, "longest_wait": 0.0, "timeout": 5.0, **options}
    return Embedding(model, embedder, EmbeddingOptions(**given))
