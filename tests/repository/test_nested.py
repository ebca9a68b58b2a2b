"""A DTO that nests others is read in a fixed number of statements, whatever the number of rows."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from pydantic import ConfigDict, Field

from tests.repository.conftest import Sent, repository
from timber.database.manager import AsyncDatabaseManager
from timber.dto import DTO
from timber.errors import ConfigurationError, DatabaseError
from timber.repository import Repository


class TagName(DTO):
    name: str
    meta: Any


class BookTitle(DTO):
    title: str


class BookWithTags(DTO):
    title: str
    tags: list[TagName]


class Profile(DTO):
    about: str | None


class AuthorWithBooks(DTO):
    name: str
    books: list[BookWithTags]


class WholeAuthor(DTO):
    id: UUID
    name: str
    books: list[BookTitle]
    profile: Profile | None


class AuthorName(DTO):
    name: str


class BookWithAuthor(DTO):
    title: str
    author: AuthorName | None


class Library:
    """Repositories of authors, books and tags."""

    def __init__(self, db: AsyncDatabaseManager) -> None:
        self.authors: Repository[Any] = repository(db, "Author")
        self.books: Repository[Any] = repository(db, "Book")
        self.tags: Repository[Any] = repository(db, "Tag")
        self.profiles: Repository[Any] = repository(db, "Profile")

    async def fill(self, authors: int = 3) -> list[UUID]:
        tags = await self.tags.insert_many({"name": f"t{n}", "meta": {"n": [n]}} for n in range(3))
        keys = await self.authors.insert_many(
            {"user_id": "ann", "name": f"author {n}"} for n in range(authors)
        )
        for number, key in enumerate(keys):
            books = await self.books.insert_many(
                {"author_id": key, "title": f"book {number}.{n}", "year": 2000 + n % 2}
                for n in range(number)
            )
            for book in books:
                await self.books.add_links(book, "tags", tags[:number])
        await self.profiles.insert({"author_id": keys[0], "about": "x"})
        return keys


@pytest.fixture
async def library(db: AsyncDatabaseManager) -> Library:
    return Library(db)


async def test_rows_come_with_their_rows_and_those_with_theirs(
    library: Library, sent: Sent
) -> None:
    await library.fill(4)
    for limit in (1, 2, 4):
        with sent.of() as queries:
            found = await library.authors.find(into=AuthorWithBooks, limit=limit, order_by="-name")
        assert len(queries) == 3
        assert len(found) == limit
    assert [author.name for author in found] == ["author 3", "author 2", "author 1", "author 0"]
    # In the order of the relationship: the newest first, then by title.
    assert [book.title for book in found[0].books] == ["book 3.1", "book 3.0", "book 3.2"]
    assert [tag.name for tag in found[0].books[0].tags] == ["t0", "t1", "t2"]
    assert found[3].books == []
    assert type(found[0].books[0].tags[0]) is TagName


async def test_one_row_goes_either_way(library: Library, sent: Sent) -> None:
    keys = await library.fill()
    with sent.of() as queries:
        author = await library.authors.get(keys[0], into=WholeAuthor)
    assert author == WholeAuthor(id=keys[0], name="author 0", books=[], profile=Profile(about="x"))
    assert len(queries) == 3
    assert (await library.authors.get(keys[1], into=WholeAuthor)).profile is None
    await library.books.insert({"title": "nobody's"})
    found = await library.books.find(into=BookWithAuthor, order_by="title")
    assert [(book.title, book.author and book.author.name) for book in found] == [
        ("book 1.0", "author 1"),
        ("book 2.0", "author 2"),
        ("book 2.1", "author 2"),
        ("nobody's", None),
    ]


async def test_every_verb_that_gives_rows_gives_them_whole(
    db: AsyncDatabaseManager, library: Library
) -> None:
    keys = await library.fill()
    whole: Repository[WholeAuthor] = repository(db, "Author", WholeAuthor)
    expected = await whole.get(keys[2])
    assert len(expected.books) == 2
    assert await whole.get_or_none(keys[2]) == expected
    assert await whole.get_many([keys[2]]) == [expected]
    assert await whole.find(id=keys[2]) == [expected]
    assert await whole.find_one(name="author 2") == expected
    assert (await whole.page(id=keys[2])).items == [expected]
    assert (await whole.scroll(id=keys[2])).items == [expected]
    async with whole.stream(order_by="name", batch=2) as rows:
        assert [row async for row in rows] == await whole.find(order_by="name")
    async with db.unit_of_work():
        assert await whole.for_update(keys[2]) == expected
        async with whole.stream(order_by="-name", batch=2) as rows:
            assert await anext(rows) == expected
    renamed = await whole.update(keys[2], {"name": "new"})
    assert renamed == expected.model_copy(update={"name": "new"})
    assert (await whole.insert({"user_id": "ann", "name": "x"})).books == []
    made = await whole.insert_many_returning([{"user_id": "ann", "name": "y"}])
    assert (made[0].books, made[0].profile) == ([], None)
    assert (await whole.upsert({"user_id": "ann", "name": "z", "id": keys[2]})).books


async def test_nothing_is_asked_for_rows_that_are_not_there(library: Library, sent: Sent) -> None:
    assert await library.authors.find(into=AuthorWithBooks) == []
    assert len(sent) == 1


async def test_deleted_rows_are_not_nested(library: Library) -> None:
    keys = await library.fill()
    book = (await library.books.find(author_id=keys[1]))[0]
    await library.books.delete(book.id)
    assert (await library.authors.get(keys[1], into=AuthorWithBooks)).books == []


async def test_the_json_of_a_row_nested_twice_is_not_shared(library: Library) -> None:
    await library.fill()
    first, second = (
        (await library.books.find(into=BookWithTags, title="book 2.0"))[0],
        (await library.books.find(into=BookWithTags, title="book 2.1"))[0],
    )
    first.tags[0].meta["n"].append("mine")
    assert second.tags[0].meta == {"n": [0]}

    class TagOfBook(DTO):
        meta: Any

    class Both(DTO):
        title: str
        tags: list[TagOfBook]

    one, other = await library.books.find(
        library.books.where.title.in_(["book 2.0", "book 2.1"]), into=Both
    )
    one.tags[0].meta["n"].append("mine")
    assert other.tags[0].meta == {"n": [0]}

    class AuthorWithJson(DTO):
        books: list[BookMeta]

    class BookOfAuthor(DTO):
        title: str
        author: AuthorWithJson | None

    BookOfAuthor.model_rebuild(_types_namespace={"AuthorWithJson": AuthorWithJson})
    one, other = await library.books.find(
        library.books.where.title.like("book 2%"), into=BookOfAuthor
    )
    one.author.books[0].meta["mine"] = True
    assert other.author.books[0].meta == {}


class BookMeta(DTO):
    meta: dict[str, Any]


async def test_nested_fields_may_have_aliases_and_forbid_the_rest(library: Library) -> None:
    class Strict(DTO):
        model_config = ConfigDict(extra="forbid")
        label: str = Field(validation_alias="title")

    class Outer(DTO):
        model_config = ConfigDict(extra="forbid")
        name: str
        works: list[Strict] = Field(validation_alias="books")

    keys = await library.fill()
    found = await library.authors.get(keys[1], into=Outer)
    assert [work.label for work in found.works] == ["book 1.0"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"shelves": list[BookTitle]}, "Wrong.shelves.*no relationship 'shelves'"),
        ({"books": BookTitle}, "Wrong.books.*leads to a list"),
        ({"profile": list[Profile]}, "Wrong.profile.*leads to one row"),
        ({"books": list[AuthorWithBooks]}, "AuthorWithBooks.name has no column"),
        ({"books": list[Any]}, "Wrong.books has no column"),
    ],
)
async def test_a_field_with_nothing_behind_it_is_an_error_before_any_sql(
    library: Library, sent: Sent, fields: dict[str, Any], message: str
) -> None:
    wrong = type("Wrong", (DTO,), {"__annotations__": {"name": str, **fields}})
    with pytest.raises(ConfigurationError, match=message):
        await library.authors.find(into=wrong)
    assert sent == []


class Circle(DTO):
    title: str
    author: CircleAuthor | None


class CircleAuthor(DTO):
    name: str
    books: list[Circle]


async def test_a_circle_of_dtos_is_an_error_that_shows_it(library: Library, sent: Sent) -> None:
    with pytest.raises(ConfigurationError, match="Circle > CircleAuthor"):
        await library.books.find(into=Circle)
    assert sent == []


async def test_what_is_no_dto_is_an_error(library: Library, sent: Sent) -> None:
    wrong: Any
    for wrong in (dict, "BookTitle", object(), BookTitle(title="x"), int):
        with pytest.raises(ConfigurationError, match="DTO"):
            await library.books.find(into=wrong)

    class Empty(DTO):
        nothing: int = 5

    with pytest.raises(ConfigurationError, match="Empty"):
        await library.books.find(into=Empty)
    assert sent == []


async def test_nested_rows_that_do_not_fit_say_which_field(library: Library) -> None:
    class Wrong(DTO):
        title: int

    class Outer(DTO):
        books: list[Wrong]

    keys = await library.fill()
    with pytest.raises(DatabaseError, match=r"books\.0\.title"):
        await library.authors.get(keys[1], into=Outer)
