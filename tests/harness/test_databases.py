from __future__ import annotations

import pytest

from tests.harness.databases import Databases, clean_tables, connected
from tests.harness.server import docker_answers


async def test_a_test_has_a_database_of_its_own(
    database_url: str, fresh_database_url: str, bare_database_url: str
) -> None:
    names = set()
    for url in (database_url, fresh_database_url, bare_database_url):
        async with connected(url) as connection:
            names.add(await connection.fetchval("SELECT current_database()"))
    assert len(names) == 3


async def test_a_database_is_gone_after_its_test(test_databases: Databases) -> None:
    async with test_databases.cloned() as url, connected(url):
        pass  # dropped although somebody is connected
    async with connected(test_databases.server_url) as connection:
        name = url.partition("?")[0].rpartition("/")[2]
        assert not await connection.fetchval("SELECT FROM pg_database WHERE datname = $1", name)


async def test_tables_are_emptied_with_those_that_refer_to_them(fresh_database_url: str) -> None:
    async with connected(fresh_database_url) as connection:
        await connection.execute(
            """
            CREATE TABLE "Odd name" (id serial PRIMARY KEY);
            CREATE TABLE child (parent int REFERENCES "Odd name");
            CREATE TABLE empty (id int);
            INSERT INTO "Odd name" DEFAULT VALUES;
            INSERT INTO child VALUES (1);
            """
        )
        await clean_tables(fresh_database_url)
        assert await connection.fetchval('SELECT count(*) FROM "Odd name"') == 0
        assert await connection.fetchval("SELECT count(*) FROM child") == 0
        assert await connection.fetchval('INSERT INTO "Odd name" DEFAULT VALUES RETURNING id') == 1


@pytest.mark.parametrize("host", ["unix:///nowhere/docker.sock", "tcp://127.0.0.1:1"])
def test_a_docker_engine_that_is_away_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    assert not docker_answers()
