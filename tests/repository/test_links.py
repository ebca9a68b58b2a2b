"""Many-to-many links are added, removed and set."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.repository.conftest import Sent, repository
from timber.database.manager import AsyncDatabaseManager
from timber.dto import DTO
from timber.errors import NotFoundError, UsageError, ValidationError
from timber.models import ModelRegistry
from timber.repository import Repository


class TagName(DTO):
    name: str


class Tagged(DTO):
    tags: list[TagName]


@pytest.fixture
async def books(db: AsyncDatabaseManager) -> Repository[Any]:
    return repository(db, "Book")


@pytest.fixture
async def tags(db: AsyncDatabaseManager) -> list[UUID]:
    found: list[UUID] = await repository(db, "Tag").insert_many({"name": name} for name in "abc")
    return found


async def _names(books: Repository[Any], key: UUID) -> str:
    return "".join(tag.name for tag in (await books.get(key, into=Tagged)).tags)


async def test_links_are_added_removed_and_set(books: Repository[Any], tags: list[UUID]) -> None:
    key = (await books.insert({"title": "x"})).id
    other = (await books.insert({"title": "y"})).id
    await books.set_links(other, "tags", tags)
    assert await books.add_links(key, "tags", tags[:2]) == 2
    assert await books.add_links(str(key), "tags", [str(tags[1]), tags[2], tags[2]]) == 1
    assert await _names(books, key) == "abc"
    assert await books.remove_links(key, "tags", [tags[0], uuid4()]) == 1
    assert await _names(books, key) == "bc"
    await books.set_links(key, "tags", [tags[0], tags[2]])
    assert await _names(books, key) == "ac"
    await books.set_links(key, "tags", iter(tags[:1]))
    assert await _names(books, key) == "a"
    await books.set_links(key, "tags", [])
    assert await _names(books, key) == ""
    assert await books.add_links(key, "tags", []) == 0
    assert await books.remove_links(key, "tags", []) == 0
    assert await _names(books, other) == "abc"


async def test_a_link_is_seen_from_both_ends(
    db: AsyncDatabaseManager, books: Repository[Any], tags: list[UUID]
) -> None:
    class Title(DTO):
        title: str

    class TagOf(DTO):
        books: list[Title]

    key = (await books.insert({"title": "x"})).id
    back = repository(db, "Tag")
    assert await back.add_links(tags[0], "books", [key]) == 1
    assert await books.add_links(key, "tags", tags[:1]) == 0
    assert [b.title for b in (await back.get(tags[0], into=TagOf)).books] == ["x"]


Call = Callable[[Repository[Any], Any, str, Any], Awaitable[Any]]
CALLS: dict[str, Call] = {
    "add_links": lambda rows, key, name, others: rows.add_links(key, name, others),
    "remove_links": lambda rows, key, name, others: rows.remove_links(key, name, others),
    "set_links": lambda rows, key, name, others: rows.set_links(key, name, others),
}
every = pytest.mark.parametrize("verb", CALLS)


@every
async def test_a_row_that_is_not_there_has_no_links(
    books: Repository[Any], tags: list[UUID], verb: str
) -> None:
    deleted = (await books.insert({"title": "x"})).id
    await books.delete(deleted)
    for key in (uuid4(), deleted):
        with pytest.raises(NotFoundError, match="Book"):
            await CALLS[verb](books, key, "tags", tags)


@pytest.mark.parametrize("verb", ["add_links", "set_links"])
async def test_a_link_to_a_row_that_is_not_there_changes_nothing(
    books: Repository[Any], tags: list[UUID], verb: str
) -> None:
    key = (await books.insert({"title": "x"})).id
    await books.set_links(key, "tags", tags[:1])
    with pytest.raises(NotFoundError, match="tags"):
        await CALLS[verb](books, key, "tags", [tags[1], uuid4()])
    assert await _names(books, key) == "a"


async def test_an_owner_links_only_their_own_rows(db: AsyncDatabaseManager, tmp_path: Path) -> None:
    file = tmp_path / "lists.yaml"
    file.write_text(
        """
        version: 1
        models:
          - name: List
            table: lists
            mixins: [Owner]
            relationships: [{name: entries, type: many_to_many, model: Entry}]
          - {name: Entry, table: entries, columns: [{name: note, type: Text}]}
        association_tables:
          - {name: list_entries, left: List, right: Entry}
        """
    )
    registry = ModelRegistry(files=[file], built_in=False)
    await db.create_all_tables(registry.metadata)
    lists: Repository[Any] = Repository(db, registry.get_model("List"), registry.read_dto("List"))
    entries: Repository[Any] = Repository(
        db, registry.get_model("Entry"), registry.read_dto("Entry")
    )
    key = (await lists.insert({"user_id": "ann"})).id
    entry = (await entries.insert({})).id
    for call in (
        lists.add_links(key, "entries", [entry], owner="bob"),
        lists.remove_links(key, "entries", [entry], owner="bob"),
        lists.set_links(key, "entries", [entry], owner="bob"),
    ):
        with pytest.raises(NotFoundError):
            await call
    assert await lists.add_links(key, "entries", [entry], owner="ann") == 1
    assert await lists.remove_links(key, "entries", [entry], owner="ann") == 1


@every
@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("x", "tags", []), "id"),
        ((None, "tags", []), "id"),
        ((UUID(int=1), "nope", []), "nope"),
        ((UUID(int=1), "title", []), "title"),
        ((UUID(int=1), "tags", ["x"]), "tags"),
        ((UUID(int=1), "tags", [None]), "tags"),
        ((UUID(int=1), "tags", "x"), "tags"),
        ((UUID(int=1), "tags", b"x"), "tags"),
        ((UUID(int=1), "tags", 5), "tags"),
    ],
)
async def test_bad_links_are_refused_before_any_sql(
    books: Repository[Any], sent: Sent, verb: str, arguments: Any, field: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        await CALLS[verb](books, *arguments)
    assert refused.value.errors[0].field == field
    assert not [sql for sql in sent if "book" in sql]


@every
async def test_what_is_not_many_to_many_is_not_linked(
    books: Repository[Any], sent: Sent, verb: str
) -> None:
    with pytest.raises(UsageError, match="many-to-many"):
        await CALLS[verb](books, uuid4(), "author", [])
    assert sent == []
