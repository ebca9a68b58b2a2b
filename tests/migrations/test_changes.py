"""Changed models become migrations that lead forth and back, with rows in the tables."""

from __future__ import annotations

import re
from uuid import uuid4

import pytest
from sqlalchemy import make_url

from tests.harness.databases import connected
from tests.migrations.listing import listing
from tests.migrations.projects import AFTER, BEFORE, Project
from timber.database.migrations.catalog import settled
from timber.errors import DatabaseError

ROWS = """
INSERT INTO authors (id, name, age, nick, bio, born) VALUES
  ('00000000-0000-7000-8000-000000000001', 'Ada', 36, 'a', 'Notes on the engine.', '1815-12-10');
INSERT INTO books (id, author_id, title, status, price, pages, old) VALUES
  (gen_random_uuid(), '00000000-0000-7000-8000-000000000001', 'Notes', 'live', 10.50, 66, 'x');
INSERT INTO publishers (id, name, kind) VALUES (gen_random_uuid(), 'Taylor', 'big');
"""


async def _schema(url: str) -> list[str]:
    # Migrated columns stand where they were added, not where the model has them.
    return sorted(settled(line) for line in (await listing(url)).splitlines())


async def test_everything_a_model_can_change_is_migrated_forth_and_back(
    small: Project, other_url: str
) -> None:
    small.write(BEFORE)
    await small.init()
    await small.up()
    before = await _schema(small.url)
    async with connected(small.url) as connection:
        await connection.execute(ROWS)
    small.write(AFTER)
    assert await small.check()

    files = await small.new("the year after")

    assert len(files) == 2, "what can wait for other transactions has a file of its own"
    assert set(files[0].loses) == {
        "the table publishers",
        "the column authors.nick",
        "the column books.old",
    }
    await small.up()
    assert await small.check() == []
    await small.create_all(other_url)
    assert await _schema(small.url) == await _schema(other_url)
    async with connected(small.url) as connection:
        row = await connection.fetchrow(
            "SELECT age, born::text, number, search_vector::text, net::text FROM authors JOIN books ON author_id = authors.id"
        )
    assert row is not None
    assert dict(row) == {
        "age": 36,
        "born": "1815-12-10",
        "number": 1,
        "search_vector": "'ada':1A 'engine':5C 'notes':2C 'on':3C 'the':4C",
        "net": "11.5000",
    }

    await small.down("0001")
    assert await _schema(small.url) == before
    small.write(BEFORE)
    (only,) = await small.check()
    assert only.startswith("the database is at 0001")
    small.write(AFTER)
    await small.up()
    assert await small.check() == []
    assert await small.new("nothing") == []


async def test_a_migration_reads_like_one_written_by_hand(small: Project) -> None:
    small.write(BEFORE)
    await small.init()
    await small.up()
    small.write(AFTER)
    first, second = await small.new("the year after")
    one, two = (file.path.read_text(encoding="utf-8") for file in (first, second))

    # A column that may have been renamed is not guessed at, but pointed out.
    assert 'op.drop_column("authors", "nick")' in one
    assert 'op.alter_column("authors", "nick", new_column_name="handle")' in one.replace(
        "\n    # ", " "
    )
    # The search function is another one with another name, and the old one goes.
    created = re.findall(r"CREATE OR REPLACE FUNCTION (timber_search_authors_\w+)", one)
    assert len(created) == 2
    assert len(set(created)) == 2
    assert f'op.execute("DROP FUNCTION IF EXISTS {created[1]}(text, text)")' in one
    # New rules are not checked, and indexes not built, while the table is locked.
    assert "postgresql_not_valid=True" in one
    assert "autocommit_block" not in one
    assert "VALIDATE CONSTRAINT ck_books_status_labels" in two
    assert two.count("postgresql_concurrently=True") == two.count("_index(")
    assert "\"status\" IN ('draft', 'live', 'gone')" in one.replace("\\", "")
    compile(one, "one", "exec")
    compile(two, "two", "exec")


async def test_a_required_column_says_what_it_needs(small: Project) -> None:
    model = "version: 1\nmodels:\n  - {name: A, table: a, columns: [%s]}\n"
    small.write(model % "{name: x, type: Text}")
    await small.init()
    await small.up()
    small.write(model % "{name: x, type: Text}, {name: y, type: Integer, nullable: false}")
    (file,) = await small.new("a required column")
    assert "# Fails if there are rows." in file.path.read_text(encoding="utf-8")


async def test_nothing_is_written_when_nothing_has_changed_unless_asked(small: Project) -> None:
    small.write(BEFORE)
    await small.init()
    await small.up()
    assert await small.new("nothing") == []
    (file,) = await small.new("by hand", empty=True)
    assert file.path.name.endswith("_by_hand.py")
    assert (await small.up()).revisions == (file.revision,)
    assert await small.check() == []


async def test_what_a_user_has_made_beside_the_models_is_left_alone(small: Project) -> None:
    small.write(BEFORE)
    await small.init()
    await small.up()
    async with connected(small.url) as connection:
        await connection.execute("""
            CREATE FUNCTION told() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
            CREATE TRIGGER telling AFTER INSERT ON books FOR EACH ROW EXECUTE FUNCTION told();
            CREATE TYPE mood AS ENUM ('good', 'bad');
            CREATE VIEW titles AS SELECT title FROM books""")
    assert await small.check() == []
    small.write(BEFORE.replace("{name: isbn, type: String(13)}", "{name: isbn, type: String(17)}"))
    await small.new("longer numbers")
    await small.up()
    await small.down()
    async with connected(small.url) as connection:
        assert await connection.fetchval("SELECT count(*) FROM pg_trigger WHERE tgname = 'telling'")


async def test_another_table_is_reported_unless_env_says_to_ignore_it(small: Project) -> None:
    small.write(BEFORE)
    await small.init()
    await small.up()
    async with connected(small.url) as connection:
        await connection.execute("CREATE TABLE other_things (id integer)")
    assert await small.check() == ["the table other_things belongs to no model"]
    env = small.directory / "env.py"
    env.write_text(env.read_text(encoding="utf-8").replace("ignore=[],", 'ignore=["other_*"],'))
    assert await small.check() == []


async def test_check_names_every_difference(small: Project) -> None:
    small.write(BEFORE)
    await small.init()
    await small.up()
    async with connected(small.url) as connection:
        await connection.execute("""
            ALTER TABLE books ALTER title TYPE text, ALTER isbn SET NOT NULL, DROP CONSTRAINT ck_books_isbn_is_long;
            COMMENT ON TABLE authors IS 'Other';
            DROP INDEX ix_books_shelf;
            CREATE INDEX ix_books_shelf ON books (status DESC) WHERE status = 'live';
            CREATE INDEX more ON books (pages)""")
    assert await small.check() == [
        "authors: its comment is 'Other'; the models say 'Somebody who writes.'",
        "books.title: its type is text; the models say character varying(100)",
        "books.isbn: it may not be NULL; the models say it may",
        "books: the check ck_books_isbn_is_long is missing",
        "books: the index ix_books_shelf differs in keys and where",
        "books: the index more is in no model",
    ]


async def test_sql_that_postgresql_refuses_is_told_before_anything_is_written(
    small: Project,
) -> None:
    small.write(BEFORE.replace("check: pages > 0", "check: pagse > 0"))
    with pytest.raises(
        DatabaseError,
        match=r'cannot make what the models want in a schema of its own: column "pagse" does not exist',
    ):
        await small.init()
    assert not small.text()


async def test_a_user_who_may_not_create_schemas_is_told_what_is_missing(small: Project) -> None:
    small.write(BEFORE)
    async with connected(small.url) as connection:
        role = f"reader_{uuid4().hex}"
        await connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
        try:
            url = make_url(small.url).set(username=role, password="x")
            reader = small.on(url.render_as_string(hide_password=False))
            with pytest.raises(DatabaseError, match=r"permission denied for database"):
                await reader.init()
        finally:
            await connection.execute(f"DROP ROLE {role}")
