"""Databases to test in: a template built once a test run, cloned for each worker and for each test that wants its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import asyncpg
from sqlalchemy import make_url

from tests.harness.schema import create_schema
from timber.database.embedded_watch import make_directory, nobody_else

T = TypeVar("T")


class Databases:
    """The databases of one test run on a server; their names begin with the run's prefix."""

    def __init__(self, server_url: str, prefix: str, run_directory: Path) -> None:
        self.server_url = server_url
        self._prefix = prefix
        self._run_directory = run_directory

    def url(self, name: str) -> str:
        url = make_url(self.server_url).set(drivername="postgresql+asyncpg", database=name)
        return url.render_as_string(hide_password=False)

    async def clone(self, name: str) -> str:
        """A new database with the schema; the answer is its URL."""
        return await self._create(name, await self._template())

    async def bare(self, name: str) -> str:
        """A new database with nothing in it; the answer is its URL."""
        return await self._create(name, "template1")

    @asynccontextmanager
    async def cloned(self) -> AsyncGenerator[str]:
        url = await self.clone(uuid4().hex[:12])
        try:
            yield url
        finally:
            await self.drop(url)

    @asynccontextmanager
    async def made_bare(self) -> AsyncGenerator[str]:
        url = await self.bare(uuid4().hex[:12])
        try:
            yield url
        finally:
            await self.drop(url)

    async def drop(self, url: str) -> None:
        async with connected(self.server_url) as connection:
            await connection.execute(
                f'DROP DATABASE IF EXISTS "{make_url(url).database}" WITH (FORCE)'
            )

    async def drop_all(self) -> None:
        async with connected(self.server_url) as connection:
            for name in await self._names(connection):
                await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    async def _names(self, connection: asyncpg.Connection[asyncpg.Record]) -> list[str]:
        rows = await connection.fetch(
            "SELECT datname FROM pg_database WHERE starts_with(datname, $1)", self._prefix
        )
        return [row[0] for row in rows]

    async def _create(self, name: str, template: str) -> str:
        name = f"{self._prefix}_{name}"
        async with connected(self.server_url) as connection:
            await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    async def _template(self) -> str:
        name = f"{self._prefix}_template"
        built = self._run_directory / "template-built"
        if not built.exists():
            make_directory(self._run_directory)
            with nobody_else(self._run_directory):
                if not built.exists():
                    await create_schema(await self.bare("template"))
                    built.touch()
        return name


_CLEAN = """
DO $clean$
DECLARE
    found record;
    has_rows boolean;
    is_clean boolean := true;
BEGIN
    FOR found IN
        SELECT c.oid::regclass AS name, pg_relation_size(c.oid) AS size
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind = 'r' AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
    LOOP
        CONTINUE WHEN found.size = 0;
        EXECUTE format('SELECT EXISTS (SELECT FROM %s)', found.name) INTO has_rows;
        CONTINUE WHEN NOT has_rows;
        IF is_clean THEN
            -- The audit refuses to be emptied by ordinary means.
            SET LOCAL session_replication_role = replica;
            is_clean := false;
        END IF;
        -- A new file for a table and each of its indexes costs more than to delete the few rows of a test.
        IF found.size < 1000000 THEN
            EXECUTE format('DELETE FROM %s', found.name);
        ELSE
            EXECUTE format('TRUNCATE %s CASCADE', found.name);
        END IF;
    END LOOP;
    FOR found IN SELECT format('%I.%I', schemaname, sequencename) AS name FROM pg_sequences WHERE last_value IS NOT NULL
    LOOP
        EXECUTE format('ALTER SEQUENCE %s RESTART', found.name);
    END LOOP;
END
$clean$
"""


async def clean_tables(url: str) -> None:
    """Empty every table that has rows, which costs little when none has."""
    await _CLEANER.clean(url)


class _Cleaner:
    """Keeps a connection to each database that is cleaned after every test, on an event loop that outlives theirs."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connections: dict[str, asyncpg.Connection[asyncpg.Record]] = {}

    async def clean(self, url: str) -> None:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            # It ends with the process, whose connections the server takes for closed.
            threading.Thread(target=self._loop.run_forever, daemon=True).start()
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._clean(url), self._loop))

    async def _clean(self, url: str) -> None:
        connection = self._connections.get(url)
        if connection is not None and not connection.is_closed():
            try:
                await connection.execute(_CLEAN)
            except (asyncpg.PostgresConnectionError, asyncpg.AdminShutdownError):
                pass  # a test has cut off whoever was connected
            else:
                return
        dsn = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        connection = self._connections[url] = await asyncpg.connect(dsn)
        # A test that left a transaction open fails here and does not hang the next.
        await connection.execute("SET lock_timeout = '5s'")
        await connection.execute(_CLEAN)


_CLEANER = _Cleaner()


@asynccontextmanager
async def connected(url: str) -> AsyncGenerator[asyncpg.Connection[asyncpg.Record]]:
    """A driver's connection, for looking at a database from beside Timber."""
    dsn = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


def run_apart(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run from a fixture that is not async, without touching the event loop of the tests' thread."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()
