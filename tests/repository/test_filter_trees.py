"""Any tree of filters finds what the same tree finds in Python."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.repository import trees
from tests.repository.models import ThingDTO
from timber.repository import Repository


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=trees.rows, wanted=st.lists(trees.trees, min_size=1, max_size=5))
async def test_a_tree_finds_in_the_database_what_it_finds_in_python(
    things: Repository[ThingDTO],
    rows: list[dict[str, Any]],
    wanted: list[trees.Leaf | trees.Node],
) -> None:
    await things.delete_where(things.where.id.not_null())
    await things.insert_many(rows)
    for tree in wanted:
        condition = trees.condition_of(things.where, tree)
        found = await things.find(condition, order_by="id")
        expected = [row["id"] for row in rows if trees.evaluate(row, tree) is True]
        assert [thing.id for thing in found] == expected, tree
        assert await things.count(~condition) == sum(
            trees.evaluate(row, tree) is False for row in rows
        ), tree
