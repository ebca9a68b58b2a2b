"""A feature may shape what a row is found by, and give each row other columns."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection
from datetime import UTC, datetime
from typing import Any

import pytest

from timber import Feature, FeatureModel, FeatureProvider, ModelConfig, Timber, Write
from timber.models.registry import ModelRegistry

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MEMBER = {
    "name": "Member",
    "table": "members",
    "columns": [
        {"name": "email", "type": "String(50)", "nullable": False, "unique": True},
        {"name": "state", "type": "String(10)", "nullable": False, "default": "new"},
        {"name": "closed_at", "type": "DateTime"},
        {"name": "words", "type": "Array[String(10)]"},
    ],
    "features": {"custom": {"shaping": {}}},
}


class ShapingProvider(FeatureProvider):
    name = "shaping"

    def feature(self, model: FeatureModel) -> Feature:
        return Shaping()


class Shaping(Feature):
    async def before_insert(self, write: Write) -> None:
        for row in write.rows:
            row["email"] = row["email"].lower()

    def needs_current(self, changed: Collection[str], merged: Collection[str]) -> Collection[str]:
        return ("state", "email") if "state" in changed else ()

    async def before_update(self, write: Write) -> None:
        for row, current in zip(write.rows, write.current or (), strict=False):
            if current["state"] != "done":
                row["closed_at"] = NOW
            row["words"] = [current["email"], "x"]


@pytest.fixture
async def members(bare_database_url: str) -> AsyncGenerator[Any]:
    provider = ShapingProvider()
    registry = ModelRegistry(models=[ModelConfig.model_validate(MEMBER)], features=[provider])
    async with Timber(bare_database_url, registry=registry, providers=[provider]) as timber:
        await timber.db.create_all_tables()
        yield timber.repository("Member", registry.read_dto("Member"))


async def test_an_upsert_finds_the_row_by_what_is_stored(members: Any) -> None:
    first = await members.upsert({"email": "A@x"}, on="email")
    second = await members.upsert({"email": "A@x", "words": ["y"]}, on="email")
    assert (second.id, second.email) == (first.id, "a@x")


@pytest.mark.parametrize("first", ["done", "new"])
async def test_each_row_gets_the_columns_that_are_its_own(members: Any, first: str) -> None:
    states = [first, "new", "done", "new", "done"]
    await members.insert_many(
        [{"email": f"{n}@x", "state": state} for n, state in enumerate(states)]
    )
    assert await members.update_where({"state": "done"}, members.where.email != "") == 5
    for n, member in enumerate(await members.find(order_by="email")):
        assert (member.closed_at is not None) == (states[n] == "new")
        assert member.words == [f"{n}@x", "x"]
