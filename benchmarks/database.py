"""A database of the benchmarks' own, made on the server that the environment names, and dropped at the end."""

from __future__ import annotations

import os
import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg
import orjson
from sqlalchemy import URL, make_url

from benchmarks import rows
from timber.database.embedded import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Sequence
    from uuid import UUID

    from benchmarks.rows import Values

SESSION_COLUMNS = (
    "id",
    "user_id",
    "session_type",
    "status",
    "metadata",
    "version",
    "created_at",
    "updated_at",
)
EVENT_COLUMNS = ("id", "session_id", "from_status", "to_status", "at")
RESEARCH_COLUMNS = (
    "id",
    "session_id",
    "user_id",
    "research_type",
    "title",
    "content",
    "metadata",
    "version",
    "created_at",
    "updated_at",
)


def driver_url(url: URL) -> str:
    """The URL as asyncpg takes it."""
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


async def use_json(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Let jsonb be plain Python values, also in COPY, which is binary."""
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="binary",
        encoder=lambda value: b"\x01" + orjson.dumps(value),
        decoder=lambda data: orjson.loads(data[1:]),
    )


@asynccontextmanager
async def own_database() -> AsyncGenerator[URL]:
    """An empty database on ``TIMBER_BENCH_DATABASE_URL``, ``TIMBER_TEST_DATABASE_URL`` or the embedded server."""
    async with _server() as server:
        name = f"timber_bench_{secrets.token_hex(4)}"
        await _on(server, f"CREATE DATABASE {name}")
        try:
            yield server.set(database=name)
        finally:
            await _on(server, f"DROP DATABASE {name} WITH (FORCE)")


@asynccontextmanager
async def _server() -> AsyncGenerator[URL]:
    for variable in ("TIMBER_BENCH_DATABASE_URL", "TIMBER_TEST_DATABASE_URL"):
        if os.environ.get(variable):
            yield make_url(os.environ[variable])
            return
    server = await EmbeddedPostgres.start()
    try:
        yield make_url(server.url)
    finally:
        await server.stop()


async def _on(server: URL, statement: str) -> None:
    connection = await asyncpg.connect(driver_url(server))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


class World:
    """The rows that operations work on, kept in the same state for every contender."""

    def __init__(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        self.connection = connection

    async def seed(self) -> None:
        """The rows that stay: 10,000 sessions of 200 users, two research items each."""
        sessions = [
            rows.stored_session(1, number, rows.user(number))
            for number in range(rows.USERS * rows.SESSIONS_PER_USER)
        ]
        await self._copy("sessions", SESSION_COLUMNS, sessions)
        research = (
            rows.stored_research(
                number * rows.RESEARCH_PER_SESSION + item, session["id"], session["user_id"]
            )
            for number, session in enumerate(sessions)
            for item in range(rows.RESEARCH_PER_SESSION)
        )
        await self._copy("research_data", RESEARCH_COLUMNS, research)
        events = (
            rows.stored_event(number * rows.EVENTS_PER_SESSION + item, session["id"])
            for number, session in enumerate(sessions)
            for item in range(rows.EVENTS_PER_SESSION)
        )
        await self._copy("session_events", EVENT_COLUMNS, events)
        for table in ("sessions", "research_data", "session_events"):
            # A vacuum that starts by itself would fall on one contender; ours runs between the batches.
            await self.connection.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
        await self.connection.execute("VACUUM ANALYZE")

    async def add_sessions(self, count: int) -> list[UUID]:
        """Sessions to be changed or deleted by one batch."""
        sessions = [rows.stored_session(3, number, rows.NEW_USER) for number in range(count)]
        await self._copy("sessions", SESSION_COLUMNS, sessions)
        return [session["id"] for session in sessions]

    async def add_stream(self, count: int) -> None:
        """``count`` sessions of one user, made on the server."""
        await self.connection.execute(
            "INSERT INTO sessions (id, user_id, session_type, status, metadata, version, created_at, updated_at) "
            "SELECT gen_random_uuid(), $1, 'research', 'active', $2::jsonb, 1, $3::timestamptz, $3 "
            "FROM generate_series(1, $4::int)",
            rows.STREAM_USER,
            rows.metadata(1),
            rows.EPOCH,
            count,
        )

    async def written(self) -> list[Values]:
        """What an operation left in the tables."""
        found = []
        for table, fields in (
            ("sessions", rows.SESSION_FIELDS),
            ("research_data", rows.RESEARCH_FIELDS),
        ):
            found += await self.connection.fetch(
                f"SELECT {', '.join(fields)} FROM {table} WHERE user_id = $1", rows.NEW_USER
            )
        return [dict(record) for record in found]

    async def restore(self) -> None:
        """Take away what an operation wrote, dead rows included."""
        for table in ("research_data", "sessions"):
            await self.connection.execute(f"DELETE FROM {table} WHERE user_id = $1", rows.NEW_USER)
        await self.connection.execute("VACUUM sessions, research_data")

    async def _copy(self, table: str, columns: Sequence[str], values: Iterable[Values]) -> None:
        await self.connection.copy_records_to_table(
            table,
            columns=columns,
            records=(tuple(row[column] for column in columns) for row in values),
        )


@asynccontextmanager
async def world(url: URL) -> AsyncGenerator[World]:
    connection = await asyncpg.connect(driver_url(url))
    try:
        await use_json(connection)
        yield World(connection)
    finally:
        await connection.close()
