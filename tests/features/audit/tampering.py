"""Somebody who owns the database and has no key of the audit."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import asyncpg

from tests.harness.databases import connected


@asynccontextmanager
async def owner_of(url: str) -> AsyncGenerator[asyncpg.Connection[asyncpg.Record]]:
    """A connection that no trigger stops."""
    async with connected(url) as connection:
        await connection.execute("SET session_replication_role = replica")
        yield connection


async def tamper(url: str, *statements: str) -> None:
    """Send statements, each of which has to change something."""
    async with owner_of(url) as connection:
        for statement in statements:
            changed = await connection.execute(statement)
            assert not changed.endswith(" 0"), statement
