"""Which writes leave something to embed, and which do not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.features.embedding.embedders import Renamed
from timber import Timber
from timber.database.statements import Statement
from timber.features.embedding.provider import EmbeddingProvider
from timber.testing import count_queries

JOBS = "SELECT row_key, state, xmin::text, ctid::text, text_hash FROM timber_leaves_embedding ORDER BY row_key"
CHUNKS = "SELECT row_key, number, xmin::text, ctid::text FROM timber_leaves_chunks ORDER BY 1, 2"


def page(number: int = 1, **more: Any) -> dict[str, Any]:
    return {"number": number, "user_id": "ann", "title": f"page {number}", "body": "words", **more}


async def test_a_new_row_leaves_a_job_in_its_own_transaction(library, pages, embedding):
    with pytest.raises(RuntimeError):
        async with library.unit_of_work():
            await pages.insert(page())
            assert (await embedding.status()).pending == 1
            raise RuntimeError
    assert (await embedding.status()).pending == 0
    with count_queries(library.db, expected=1):
        await pages.insert(page())
    assert (await embedding.status()).pending == 1


async def _insert(pages: Any) -> Any:
    return (await pages.insert(page())).id


async def _copy(pages: Any) -> Any:
    return (await pages.insert_many([page()]))[0]


async def _insert_returning(pages: Any) -> Any:
    return (await pages.insert_many_returning([page()]))[0].id


async def _upsert(pages: Any) -> Any:
    return (await pages.upsert(page(), on="number")).id


@pytest.mark.parametrize("insert", [_insert, _copy, _insert_returning, _upsert])
async def test_however_a_row_comes_it_is_embedded(pages, work, fetch, insert):
    key = await insert(pages)
    assert await work() == 1
    assert await fetch("SELECT row_key FROM timber_leaves_chunks") == [(key,)]


async def _update(pages: Any, key: Any) -> None:
    await pages.update(key, {"body": "others"})


async def _update_where(pages: Any, key: Any) -> None:
    await pages.update_where({"body": "others"}, pages.where.id == key)


async def _upsert_again(pages: Any, key: Any) -> None:
    await pages.upsert(page(body="others"), on="number")


async def _merge(pages: Any, key: Any) -> None:
    await pages.update(key, {"extra": {"more": "others"}}, merge="extra")


@pytest.mark.parametrize("change", [_update, _update_where, _upsert_again, _merge])
async def test_however_a_text_changes_it_is_embedded_again(pages, embedder, work, change):
    key = (await pages.insert(page(extra={}))).id
    await work()
    await change(pages, key)
    assert await work() == 1
    assert "others" in embedder.texts[-1]


async def test_storing_the_same_again_makes_no_job_and_touches_no_vector(pages, work, fetch):
    rows = [page(number, body="words " * 100) for number in range(5)]
    for row in rows:
        await pages.upsert(row, on="number")
    await work()
    before = await fetch(JOBS), await fetch(CHUNKS)
    for row in rows:
        await pages.upsert(row, on="number")
    await pages.update_where({"body": "words " * 100, "title": "page 1"}, number=1)
    assert (await fetch(JOBS), await fetch(CHUNKS)) == before
    assert await work() == 0


async def test_a_row_that_waits_already_keeps_its_place(pages, embedding, fetch):
    await pages.insert(page())
    queued = await fetch("SELECT queued_at FROM timber_leaves_embedding")
    await pages.upsert(page(), on="number")
    assert await fetch("SELECT queued_at FROM timber_leaves_embedding") == queued


async def test_other_columns_say_nothing_to_the_embedding(library, pages, work, fetch):
    key = (await pages.insert(page())).id
    await work()
    before = await fetch(JOBS)
    await pages.update(key, {"kind": "draft"})
    await pages.delete(key)
    await pages.restore(key)
    assert await fetch(JOBS) == before


async def test_a_number_in_a_document_is_no_text(pages, notes, work, embedder):
    note = await notes.insert({"text": {"a": "words", "n": 1, "deep": [{"b": "more"}]}})
    await work()
    assert embedder.texts == ["words\nmore"]
    await notes.update(note.id, {"text": {"a": "words", "n": 2, "deep": [{"c": "more"}]}})
    assert await work() == 0


async def test_a_row_without_words_has_no_vectors(pages, work, embedding, fetch):
    key = (await pages.insert(page(title=None, body="  \n "))).id
    await work()
    status = await embedding.status()
    assert (status.embedded, status.chunks) == (1, 0)
    await pages.update(key, {"body": "now"})
    await work()
    assert (await embedding.status()).chunks == 1
    await pages.update(key, {"body": None})
    await work()
    assert (await embedding.status()).chunks == 0


async def test_vectors_and_jobs_go_with_the_row_whoever_deletes_it(
    library, pages, work, fetch, embedding
):
    shelves = library.repository("Shelf", library.registry.read_dto("Shelf"))
    shelf = await shelves.insert({"name": "a"})
    kept = (await pages.insert(page(1))).id
    gone = (await pages.insert(page(2))).id
    await pages.insert(page(3, shelf_id=shelf.id))
    await pages.insert(page(4))
    await work()
    await pages.delete(gone, hard=True)
    await pages.delete_where(number=4, hard=True)
    await shelves.delete(shelf.id, hard=True)
    assert {row[0] for row in await fetch(JOBS)} == {kept}
    assert {row[0] for row in await fetch(CHUNKS)} == {kept}


async def test_rows_that_were_there_before_are_found(library, pages, embedding, work):
    await pages.insert_many([page(number) for number in range(700)])
    await library.db.write(Statement("DELETE FROM timber_leaves_embedding", label="test"))
    assert (await embedding.status()).pending == 0
    assert await embedding.queue_missing() == 700
    assert (await embedding.status()).pending == 700
    assert await embedding.queue_missing() == 0


async def test_rows_of_another_embedder_are_embedded_again(library_url, library, pages, work):
    await pages.insert_many([page(number) for number in range(3)])
    await work()
    other = EmbeddingProvider(Renamed(64))
    async with Timber(library_url, registry=library.registry, providers=[other]) as timber:
        again = timber.repository("Leaf", timber.registry.read_dto("Leaf"))
        assert await again.search("page", mode="semantic") == []
        done = await timber.background().run_once()
        assert done == {"embedding": 3}
        assert len(await again.search("page", mode="semantic")) == 3
    assert await pages.search("page", mode="semantic") == []


async def test_texts_changed_by_somebodys_own_sql_can_be_looked_for(
    library, pages, embedding, work, embedder
):
    keys = await pages.insert_many([page(number) for number in range(5)])
    await work()
    sql = "UPDATE leaves SET body = 'behind the back' WHERE number = 2"
    await library.db.write(Statement(sql, label="test"))
    assert await embedding.queue_changed() == 1
    assert await work() == 1
    assert "behind the back" in embedder.texts[-1]
    assert (await embedding.status()).embedded == len(keys)


async def test_a_text_changed_past_timber_while_it_waits_is_embedded_as_it_is(
    library, pages, work, embedder, embedding
):
    await pages.insert(page())
    await library.db.write(Statement("UPDATE leaves SET body = 'newer'", label="test"))
    await work()
    assert embedder.texts == ["page 1\n\nnewer"]
    assert (await embedding.status()).embedded == 1


async def test_figures_say_how_far_it_has_come(pages, embedding, worker):
    empty = await embedding.status()
    assert (empty.coverage, empty.oldest_pending_seconds) == (1.0, None)
    await pages.insert_many([page(number) for number in range(80)])
    await worker.step()
    status = await embedding.status()
    assert (status.rows, status.embedded, status.pending) == (80, 64, 16)
    assert status.coverage == 0.8
    assert 0 <= status.oldest_pending_seconds < 60
    assert (await worker.figures())["pending"] == 16
