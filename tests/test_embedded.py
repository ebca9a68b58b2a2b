from __future__ import annotations

from tests.harness.databases import connected


async def test_a(database_url):
    async with connected(database_url) as c:
        print(await c.fetchval("select current_database()"))


async def test_b(fresh_database_url):
    async with connected(fresh_database_url) as c:
        await c.execute("create table x (a int); insert into x values (1)")


async def test_c(bare_database_url):
    async with connected(bare_database_url) as c:
        print(await c.fetchval("select current_database()"))
