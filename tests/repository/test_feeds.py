"""Feeds of a user's own models, and the SQL that comes and goes with their tables."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.harness.databases import connected
from timber.database.manager import AsyncDatabaseManager
from timber.errors import ConfigurationError, UsageError, ValidationError
from timber.models import ModelRegistry
from timber.repository import Repository

MODELS = """
version: 1
models:
  - name: Message
    table: messages
    columns:
      - {name: room, type: Integer, nullable: false}
      - {name: text, type: Text}
    features:
      feed: {by: room}
  - name: Order
    table: order
    columns:
      - {name: number, type: BigInteger, primary_key: true, identity: true}
      - {name: user, type: UUID}
    features:
      feed: {by: user, column: written_by}
  - name: Plain
    table: plain
"""


@pytest.fixture
def registry(tmp_path: Path) -> ModelRegistry:
    file = tmp_path / "models.yaml"
    file.write_text(MODELS)
    return ModelRegistry(files=[file], built_in=False)


@pytest.fixture
async def db(
    bare_database_url: str, registry: ModelRegistry
) -> AsyncGenerator[AsyncDatabaseManager]:
    manager = AsyncDatabaseManager(bare_database_url, metadata=registry.metadata)
    await manager.create_all_tables()
    yield manager
    await manager.dispose()


def repository(db: AsyncDatabaseManager, registry: ModelRegistry, name: str) -> Repository:
    return Repository(db, registry.get_model(name), registry.read_dto(name))


async def test_a_feed_goes_by_any_text_integer_or_uuid_and_any_key(db, registry):
    messages = repository(db, registry, "Message")
    orders = repository(db, registry, "Order")
    user = uuid4()
    async with messages.subscribe(7) as heard, orders.subscribe(str(user)) as ordered:
        cursor = ordered.cursor
        await messages.insert_many([{"room": 8, "text": "there"}, {"room": 7, "text": "here"}])
        await orders.insert_many([{"user": user}, {"user": None}] * 101)
        async with asyncio.timeout(10):
            assert (await anext(heard)).text == "here"
            numbers = [(await anext(ordered)).number for _ in range(60)]
            cursor = ordered.cursor
    async with orders.subscribe(user, after=cursor) as ordered, asyncio.timeout(10):
        numbers += [(await anext(ordered)).number for _ in range(41)]
    assert len(set(numbers)) == 101


async def test_the_hidden_column_is_in_no_dto_and_cannot_be_asked_for(db, registry):
    made = await repository(db, registry, "Message").insert({"room": 1})
    assert set(type(made).model_fields) == {"id", "room", "text"}
    with pytest.raises(ValidationError):
        repository(db, registry, "Message").subscribe("seven")
    with pytest.raises(UsageError, match="declares no feed"):
        repository(db, registry, "Plain").subscribe("x")


async def test_what_the_feed_needs_is_listed_and_goes_with_its_table(
    db, registry, bare_database_url
):
    functions = {function.name for function in registry.functions()}
    triggers = {(trigger.name, trigger.table) for trigger in registry.triggers()}
    assert {table for _, table in triggers} == {"messages", "order"}
    assert functions == {name for name, _ in triggers}
    async with connected(bare_database_url) as connection:

        async def there() -> tuple[set[str], set[tuple[str, str]]]:
            made = await connection.fetch(
                "SELECT proname FROM pg_proc WHERE proname LIKE 'timber%'"
            )
            hung = await connection.fetch(
                "SELECT tgname, relname FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid"
                " WHERE NOT tgisinternal"
            )
            return {row[0] for row in made}, {(row[0], row[1]) for row in hung}

        assert await there() == (functions, triggers)
        for trigger in registry.triggers():
            await connection.execute(trigger.drop)
            await connection.execute(trigger.create)
        await db.drop_all_tables()
        assert await there() == (set(), set())


async def test_nobody_who_listens_learns_whose_rows_there_are(db, registry, bare_database_url):
    """LISTEN needs no privilege, and the owner may be an e-mail address."""
    heard: list[str] = []
    async with connected(bare_database_url) as connection:
        await connection.add_listener(
            "timber_feed_messages", lambda *arguments: heard.append(arguments[3])
        )
        messages = repository(db, registry, "Message")
        await messages.insert_many([{"room": 123456789}] * 3)
        while not heard:
            await asyncio.sleep(0.01)
    assert len(heard) == 1
    assert len(heard[0]) == 32
    assert "123456789" not in heard[0]


@pytest.mark.parametrize(
    ("columns", "feed", "message"),
    [
        ("[{name: n, type: Integer}]", "true", "declare `by`, or an owner"),
        ("[{name: n, type: Integer}]", "{by: m}", "has no column 'm'"),
        ("[{name: n, type: JSONB}]", "{by: n}", "n is JSONB"),
        ("[{name: transaction_id, type: Text}]", "{by: transaction_id}", "twice"),
    ],
)
def test_a_feed_that_cannot_be_is_refused_with_its_place(tmp_path, columns, feed, message):
    file = tmp_path / "models.yaml"
    file.write_text(
        "version: 1\nmodels:\n  - name: A\n    table: a\n"
        f"    columns: {columns}\n    features:\n      feed: {feed}\n"
    )
    with pytest.raises(ConfigurationError, match=message) as caught:
        ModelRegistry(files=[file], built_in=False)
    assert "models.yaml:" in str(caught.value)
