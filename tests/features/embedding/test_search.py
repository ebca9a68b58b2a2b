"""Search by meaning and by both: what is found, in which order, behind which walls, and never fewer than there are."""

from __future__ import annotations

import logging
import random
from typing import Any

import pytest

from tests.features.embedding.embedders import failing
from timber.database.statements import Statement
from timber.errors import ConfigurationError, UnavailableError, UsageError, ValidationError
from timber.features.embedding.hashing import HashingEmbedder
from timber.repository.ranking import sizes

WORDS = [
    "amber",
    "birch",
    "cedar",
    "dune",
    "elm",
    "fern",
    "grove",
    "heath",
    "iris",
    "juniper",
    "kelp",
    "larch",
    "moss",
    "nettle",
    "oak",
    "pine",
]


def page(number: int, title: str, body: str = "", **more: Any) -> dict[str, Any]:
    return {"number": number, "user_id": "ann", "title": title, "body": body, **more}


def titles(hits: list[Any]) -> list[str]:
    return [hit.item.title for hit in hits]


@pytest.fixture
async def filled(pages, work) -> Any:
    await pages.insert_many(
        [
            page(1, "oak", "oak and oak and a birch"),
            page(2, "birch", "birch and birch"),
            page(3, "moss", "moss grows on a stone " * 40 + "under an oak"),
            page(4, "oak of bob", "oak", user_id="bob"),
        ]
    )
    await work()
    return pages


async def test_by_meaning_the_nearest_come_first_with_their_likeness(filled):
    hits = await filled.search("oak", mode="semantic")
    assert titles(hits)[:2] == ["oak of bob", "oak"]
    assert set(titles(hits)) == {"oak", "birch", "moss", "oak of bob"}
    assert [hit.semantic_rank for hit in hits] == [1, 2, 3, 4]
    assert [hit.keyword_rank for hit in hits] == [None] * 4
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True)
    assert 0.5 < scores[0] <= 1.0


async def test_the_snippet_is_of_the_piece_that_was_found(filled):
    await filled.update_where({"title": "x"}, title="nobody")
    hits = await filled.search("under an oak", mode="semantic", limit=4)
    found = next(hit for hit in hits if hit.item.title == "moss")
    assert found.snippet.endswith("under an oak")
    assert len(found.snippet) <= 240


async def test_both_together_are_ranked_by_reciprocal_rank_fusion(filled):
    hits = await filled.search("birch", mode="hybrid")
    assert await filled.search("birch") == hits
    for hit in hits:
        ranks = [rank for rank in (hit.keyword_rank, hit.semantic_rank) if rank is not None]
        assert hit.score == pytest.approx(sum(1 / (60 + rank) for rank in ranks))
    assert titles(hits)[:2] == ["birch", "oak"]
    words = await filled.search("birch", mode="keyword")
    by_rank = sorted((hit for hit in hits if hit.keyword_rank), key=lambda hit: hit.keyword_rank)
    assert titles(by_rank) == titles(words)
    assert "**birch**" in hits[0].snippet
    assert hits[-1].keyword_rank is None
    assert hits[-1].snippet


@pytest.mark.parametrize("mode", ["keyword", "semantic", "hybrid"])
async def test_walls_hold_in_every_mode(filled, mode):
    assert set(titles(await filled.search("oak", mode=mode, owner="bob"))) == {"oak of bob"}
    mine = await filled.search("oak", filled.where.number < 3, mode=mode, owner="ann")
    assert {hit.item.number for hit in mine} <= {1, 2}
    assert mine[0].item.title == "oak"
    key = mine[0].item.id
    await filled.delete(key)
    assert "oak" not in titles(await filled.search("oak", mode=mode))
    assert "oak" in titles(await filled.search("oak", mode=mode, include_deleted=True))
    await filled.restore(key)
    assert "oak" in titles(await filled.search("oak", mode=mode))


async def test_rows_that_wait_for_their_vectors_are_found_by_their_words(filled):
    await filled.insert(page(9, "juniper"))
    assert titles(await filled.search("juniper", limit=1)) == ["juniper"]
    assert "juniper" not in titles(await filled.search("juniper", mode="semantic"))


async def test_a_model_without_words_is_searched_by_meaning(notes, work):
    await notes.insert_many([{"text": {"a": word}} for word in WORDS])
    await work()
    hits = await notes.search("kelp", limit=3)
    assert hits[0].item.text == {"a": "kelp"}
    with pytest.raises(UsageError, match="declares no search"):
        await notes.search("kelp", mode="hybrid")
    with pytest.raises(UsageError, match="declares no search"):
        await notes.search("kelp", mode="keyword")


async def test_what_cannot_be_searched_for_is_said(filled, library):
    with pytest.raises(ValidationError, match="keyword, semantic, hybrid"):
        await filled.search("oak", mode="fuzzy")
    shelves = library.repository("Shelf", library.registry.read_dto("Shelf"))
    for mode in ("semantic", "hybrid"):
        with pytest.raises(UsageError, match="declares no embedding"):
            await shelves.search("oak", mode=mode)
    assert await filled.search("   ", mode="semantic") == []
    # Nothing that the embedder knows: no direction to look in.
    assert await filled.search("...", mode="semantic") == []
    assert await filled.search("...") == []


async def test_while_the_embedder_fails_the_words_are_searched_unless_meaning_was_asked_for(
    filled, embedder, caplog
):
    embedder.answer = failing(RuntimeError("the canary sings"))
    with caplog.at_level(logging.WARNING):
        assert titles(await filled.search("birch")) == ["birch", "oak"]
    assert "by words only" in caplog.text
    assert "canary" not in caplog.text
    for mode in ("semantic", "hybrid"):
        with pytest.raises(UnavailableError, match="failed with RuntimeError"):
            await filled.search("birch", mode=mode)
    embedder.answer = lambda texts: [[1.0] * 3 for _ in texts]
    with pytest.raises(ConfigurationError, match="3 dimensions, and the model declares 64"):
        await filled.search("birch", mode="semantic")


async def test_a_search_within_a_unit_of_work_sees_its_rows(library, filled):
    async with library.unit_of_work():
        await filled.insert(page(9, "larch"))
        assert titles(await filled.search("larch", limit=1)) == ["larch"]
        await filled.update_where({"user_id": "eve"}, title="oak")
        assert titles(await filled.search("oak", mode="semantic", owner="eve")) == ["oak"]


# Never short


@pytest.fixture
async def forest(pages, work) -> Any:
    """Many rows, a few of them with so many pieces that they crowd out all others."""
    dice = random.Random(4)
    rows = [
        page(
            n,
            " ".join(dice.choices(WORDS, k=3)),
            user_id=f"u{n % 7}",
            kind=str(dice.randrange(100)),
        )
        for n in range(500)
    ]
    rows += [
        page(n, "oak", " ".join(f"oak {n} {i} " + "oak " * 40 for i in range(50)), kind="long")
        for n in range(500, 505)
    ]
    await pages.insert_many(rows)
    await work()
    return pages


async def _index_first(library: Any) -> None:
    for name in ("enable_sort", "enable_seqscan", "enable_bitmapscan"):
        await library.db.execute(Statement(f"SET LOCAL {name} = off", label="test"))


@pytest.mark.parametrize("iterative", [True, False], ids=["pgvector 0.8", "before it"])
async def test_a_filtered_search_gives_as_many_as_there_are(
    library, forest, embedding, monkeypatch, iterative
):
    monkeypatch.setattr(embedding, "_iterative", iterative)
    where = forest.where
    filters = [
        (),
        (where.kind == "7",),
        (where.kind.in_(["1", "2", "3"]),),
        (where.number > 490,),
        (where.number < 3,),
        (where.user_id == "u3", where.number < 100),
        (where.kind == "nobody",),
    ]
    for wanted in filters:
        there = await forest.count(*wanted)
        for limit in (1, 10, 200):
            for mode in ("semantic", "hybrid"):
                async with library.unit_of_work():
                    await _index_first(library)
                    hits = await forest.search("oak", *wanted, mode=mode, limit=limit)
                assert len(hits) == min(limit, there), (wanted, limit, mode)
                assert len({hit.item.id for hit in hits}) == len(hits)


async def test_what_a_filter_leaves_is_ranked_as_comparing_all_of_it_would(forest):
    where = forest.where
    wanted = where.user_id == "u3"
    embedder = HashingEmbedder(64)
    rows = await forest.find(wanted, limit=1000)
    query, *vectors = await embedder.embed(["fern and moss", *(row.title for row in rows)])
    likeness = {
        row.id: sum(a * b for a, b in zip(query, vector, strict=True))
        for row, vector in zip(rows, vectors, strict=True)
    }
    hits = await forest.search("fern and moss", wanted, mode="semantic", limit=20)
    best = sorted(likeness.values(), reverse=True)[:20]
    assert [hit.score for hit in hits] == pytest.approx(best, abs=1e-5)
    assert all(hit.score == pytest.approx(likeness[hit.item.id], abs=1e-5) for hit in hits)


async def _plan(library: Any, repository: Any, *filters: Any, limit: int = 10) -> str:
    """How a search by meaning runs, where PostgreSQL has no cheaper way than the index."""
    prepared = repository._filters(filters, {}, None, include_deleted=False)
    statement = await repository._search_statement("semantic", prepared)
    vector = await library.db.fetch(
        Statement("SELECT embedding::text FROM timber_leaves_chunks LIMIT 1", label="")
    )
    values = {
        **prepared.values,
        **sizes(limit),
        "vector": vector[0][0],
        "embedder": "hashing-for-tests-64",
    }
    async with library.unit_of_work():
        await _index_first(library)
        explained = Statement(f"EXPLAIN (ANALYZE) {statement.sql}", label="test")
        rows = await library.db.fetch(explained, statement.bind(values))
    return "\n".join(row[0] for row in rows)


async def test_the_index_is_asked_and_the_rest_is_left_alone_while_that_is_enough(library, forest):
    plan = await _plan(library, forest, forest.where.number < 500)
    assert "Index Scan using timber_leaves_chunks_embedding" in plan
    every = plan[plan.index("CTE every") :]
    assert "(never executed)" in every.split("CTE")[1]


async def test_where_the_index_gives_too_few_rows_all_that_meet_the_filters_are_compared(
    library, forest
):
    plan = await _plan(library, forest, forest.where.kind == "7")
    every = plan[plan.index("CTE every") :].split("CTE")[1]
    assert "(never executed)" not in every.splitlines()[1]
