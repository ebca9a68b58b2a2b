"""Full-text search: what is found, in which order, behind which walls, and with what queries."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.repository.conftest import Sent
from tests.repository.models import REGISTRY, ArticleDTO, InvoiceDTO
from timber.database.manager import AsyncDatabaseManager
from timber.database.statements import Statement
from timber.dto import SearchHit
from timber.errors import UsageError, ValidationError
from timber.repository import Repository

Articles = Repository[ArticleDTO]


def _article(title: str, user: str = "ann", **values: Any) -> dict[str, Any]:
    return {"user_id": user, "title": title, **values}


def _titles(hits: list[SearchHit[ArticleDTO]]) -> list[str]:
    return [hit.item.title for hit in hits]


@pytest.fixture
async def filled(articles: Articles) -> Articles:
    await articles.insert_many(
        [
            _article("Apple earnings", body={"text": "growth in services"}, topic="stocks"),
            _article("Fruit", body={"text": "an apple a day", "tags": ["apple", {"deep": "pear"}]}),
            _article("Bananas", body={"text": "nothing about it"}),
            _article("Apple pie", user="bob", body={"recipe": "apple, flour", "n": 5}),
        ]
    )
    return articles


async def test_hits_carry_the_row_a_score_and_a_snippet(filled: Articles) -> None:
    hits = await filled.search("services")
    assert len(hits) == 1
    assert hits[0].item == (await filled.find(title="Apple earnings"))[0]
    assert 0 < hits[0].score < 1
    assert hits[0].snippet is not None
    assert "**services**" in hits[0].snippet


async def test_the_title_counts_more_than_the_body_and_the_best_come_first(
    filled: Articles,
) -> None:
    hits = await filled.search("apple", owner="ann")
    assert _titles(hits) == ["Apple earnings", "Fruit"]
    assert hits[0].score > hits[1].score
    assert _titles(await filled.search("apple", limit=1)) == ["Apple pie"]
    scores = [hit.score for hit in await filled.search("apple")]
    assert scores == sorted(scores, reverse=True)


async def test_every_string_of_a_json_column_is_searched_and_no_key(filled: Articles) -> None:
    assert _titles(await filled.search("pear")) == ["Fruit"]
    assert _titles(await filled.search("recipe")) == []
    assert _titles(await filled.search("flour")) == ["Apple pie"]


QUERIES: list[tuple[str, set[str]]] = [
    ("apple earnings", {"Apple earnings"}),
    ("APPLE", {"Apple earnings", "Fruit", "Apple pie"}),
    ('"apple a day"', {"Fruit"}),
    ('"day apple"', set()),
    ("earnings or pie", {"Apple earnings", "Apple pie"}),
    ("apple -pie", {"Apple earnings", "Fruit"}),
    ("-apple", {"Bananas"}),
    ("", set()),
    ("   \n\t ", set()),
    ("the", set()),
    ('"', set()),
    ('"apple', {"Apple earnings", "Fruit", "Apple pie"}),
    ("apple'; DROP TABLE articles; --", set()),
    ("& | ! <-> ( ) : * \\", set()),
    ("apple & ! | <->", {"Apple earnings", "Fruit", "Apple pie"}),
    ("apple:*", {"Apple earnings", "Fruit", "Apple pie"}),
    ("%apple_", {"Apple earnings", "Fruit", "Apple pie"}),
    ("\U0001f34e", set()),  # a word or a blank, as the database's locale has it
    ("-" * 100, set()),
    ("-" * 100 + "apple", {"Apple earnings", "Fruit", "Apple pie"}),
    ("- ! " * 100 + "apple", {"Apple earnings", "Fruit", "Apple pie"}),
    ("apple--pie", {"Apple pie"}),
    ('"' * 101, set()),
    ("or or or", set()),
]


@pytest.mark.parametrize(("query", "titles"), QUERIES)
async def test_odd_queries_are_queries(filled: Articles, query: str, titles: set[str]) -> None:
    assert set(_titles(await filled.search(query))) == titles


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60)
    | st.lists(st.sampled_from(["-", '"', "!", "(", ")", "&", "|", "or", " ", "a", "<->", ":*", "'", "\\"]), max_size=200).map("".join)
)  # fmt: skip
async def test_no_text_is_an_error(filled: Articles, query: str) -> None:
    await filled.search(query)


async def test_a_query_of_ten_thousand_characters_is_a_query(filled: Articles) -> None:
    words = " or ".join(f"w{n}" for n in range(1200)) + " or apple"
    assert len(words) < 10_000
    assert len(await filled.search(words)) == 3
    assert await filled.search("x" * 10_000) == []


@pytest.mark.parametrize(
    "query", ["a\0b", "\0", "\ud800", "x" * 10_001, 5, None, b"apple", ["apple"]]
)
async def test_what_is_no_query_is_refused_before_any_sql(
    articles: Articles, sent: Sent, query: Any
) -> None:
    with pytest.raises(ValidationError) as refused:
        await articles.search(query)
    assert refused.value.errors[0].field == "query"
    assert sent == []


@pytest.mark.parametrize(
    ("options", "field"),
    [({"limit": 0}, "limit"), ({"limit": 1001}, "limit"), ({"nope": 1}, "nope"), ({"topic": 5}, "topic"), ({"owner": 5}, "user_id")],
)  # fmt: skip
async def test_bad_options_are_refused_also_with_an_empty_query(
    articles: Articles, sent: Sent, options: Any, field: str
) -> None:
    for query in ("apple", ""):
        with pytest.raises(ValidationError) as refused:
            await articles.search(query, **options)
        assert refused.value.errors[0].field == field
    assert sent == []


async def test_walls_and_filters_hold_in_a_search(filled: Articles) -> None:
    assert _titles(await filled.search("apple", owner="bob")) == ["Apple pie"]
    assert await filled.search("apple", owner="") == []
    assert _titles(await filled.search("apple", topic="stocks")) == ["Apple earnings"]
    where, table = filled.where, REGISTRY.table("Article")
    assert _titles(await filled.search("apple", where.body["n"] == 5)) == ["Apple pie"]
    assert _titles(await filled.search("apple", table.c.title.in_(["Fruit"]))) == ["Fruit"]
    assert _titles(await filled.search("apple", sa.func.length(table.c.title) < 6)) == ["Fruit"]
    row = (await filled.find(title="Fruit"))[0]
    await filled.delete(row.id)
    assert "Fruit" not in _titles(await filled.search("apple"))
    assert "Fruit" in _titles(await filled.search("apple", include_deleted=True))


async def test_a_search_uses_its_index(articles: Articles, db: AsyncDatabaseManager) -> None:
    await articles.insert_many(_article(f"word{n} common") for n in range(300))
    sent: list[str] = []
    db.monitor.listeners.append(lambda _label, sql, _seconds: sent.append(sql))
    assert len(await articles.search("word77")) == 1
    assert "websearch_to_tsquery('simple'::regconfig, $" in sent[0]
    table = REGISTRY.table("Article")
    words = sa.func.websearch_to_tsquery(sa.text("'simple'::regconfig"), "word77")
    async with db.unit_of_work():
        await db.fetch(Statement("SET LOCAL enable_seqscan = off", label="set"))
        plan = await db.explain(sa.select(table.c.id).where(table.c.search_vector.op("@@")(words)))
    assert plan.indexes == ["ix_articles_search_vector"]


async def test_a_text_of_any_length_is_found_by_its_beginning(articles: Articles) -> None:
    """More than a tsvector holds is cut, and fails nothing."""
    text = "beginning " + " ".join(f"w{n}" for n in range(300_000))
    row = await articles.insert(_article("long", body={"text": text}))
    hits = await articles.search("beginning")
    assert [hit.item.id for hit in hits] == [row.id]
    assert len(hits[0].snippet or "") < 1000


async def test_a_model_without_search_has_none(invoices: Repository[InvoiceDTO]) -> None:
    with pytest.raises(UsageError, match="search"):
        await invoices.search("x")
