"""Databases to test in: a template built once a test run, cloned for each worker and for each test that wants its own."""

from __future__ import annotations

import asyncio
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


async def clean_tables(url: str) -> None:
    """Empty every table that has rows, which costs little when none has."""
    async with connected(url) as connection:
        # A test that left a transaction open fails here and does not hang the next.
        await connection.execute("SET lock_timeout = '5s'")
        names = [
            row[0]
            for row in await connection.fetch(
                "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
                " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
            )
        ]
        if not names:
            return
        filled = await connection.fetch(
            " UNION ALL ".join(
                f"SELECT $quote${name}$quote$ WHERE EXISTS (SELECT FROM {name})" for name in names
            )
        )
        if filled:
            tables = ", ".join(row[0] for row in filled)
            # The audit refuses to be emptied by ordinary means.
            await connection.execute("SET session_replication_role = replica")
            await connection.execute(f"TRUNCATE {tables} RESTART IDENTITY CASCADE")


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
