"""A table to write to, the statements that do it, and a connection from beside Timber that sees what is there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from sqlalchemy import BigInteger, ForeignKey
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from timber.database.statements import Statement
from timber.errors import ServiceError

if TYPE_CHECKING:
    import asyncpg

    from timber.database.manager import AsyncDatabaseManager
    from timber.database.outcome import Check, Fetch, Verdict


class Base(DeclarativeBase):
    pass


class Entry(Base):
    __tablename__ = "entry"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    note: Mapped[str | None]
    code: Mapped[str | None] = mapped_column(unique=True)
    amount: Mapped[int] = mapped_column(default=0, server_default="0")
    data: Mapped[Any] = mapped_column(JSONB, nullable=True)
    token: Mapped[int | None] = mapped_column(BigInteger)


class Counted(Base):
    """Its rows carry the version that the ORM checks."""

    __tablename__ = "counted"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    version: Mapped[int] = mapped_column(default=1)
    note: Mapped[str | None]

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  # as SQLAlchemy spells it


class Part(Base):
    """Its reference is checked at COMMIT."""

    __tablename__ = "part"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    entry_id: Mapped[UUID] = mapped_column(
        ForeignKey("entry.id", deferrable=True, initially="DEFERRED")
    )


INSERT = Statement(
    "INSERT INTO entry (id, note) VALUES ($1, $2) RETURNING id",
    label="insert entry",
    returning=True,
)
INSERT_CODE = Statement(
    "INSERT INTO entry (id, code) VALUES ($1, $2) RETURNING id",
    label="insert entry",
    returning=True,
)
INSERT_PART = Statement(
    "INSERT INTO part (id, entry_id) VALUES ($1, $2) RETURNING id",
    label="insert part",
    returning=True,
)
INSERT_SILENTLY = Statement("INSERT INTO entry (id, note) VALUES ($1, $2)", label="insert entry")
UPDATE = Statement(
    "UPDATE entry SET amount = amount + $2 WHERE id = $1 RETURNING id, amount",
    label="update entry",
    returning=True,
)
STAMP = Statement(
    "UPDATE entry SET amount = amount + 1, token = $2 WHERE id = $1 RETURNING id, amount",
    label="update entry",
    returning=True,
)
DELETE = Statement(
    "DELETE FROM entry WHERE id = $1 RETURNING id", label="delete entry", returning=True
)
FIND = Statement("SELECT id, note, amount, token FROM entry WHERE id = $1", label="find entry")
KEYS = Statement("SELECT id FROM entry", label="list entries")
DIVIDE = Statement("SELECT 1 / $1::int", label="divide")
SLEEP = Statement("SELECT pg_sleep($1::float8)", label="sleep")
IN_TRANSACTION = Statement(
    "SELECT pg_current_xact_id_if_assigned()::text AS xid", label="transaction"
)
PID = Statement("SELECT pg_backend_pid() AS pid", label="pid")


async def insert(db: AsyncDatabaseManager, note: str = "", key: UUID | None = None) -> UUID:
    """Insert one row as a repository does: under a key of its own, by which a lost insert can be found."""
    key = key or uuid4()
    await db.write(INSERT, (key, note), check=by_key(key))
    return key


async def add(db: AsyncDatabaseManager, key: UUID, amount: int) -> int:
    rows = await db.write(UPDATE, (key, amount))
    return int(rows[0]["amount"])


async def pid_of(db: AsyncDatabaseManager) -> int:
    """The server process that a statement sent now runs in."""
    return int((await db.fetch(PID))[0]["pid"])


def by_key(key: UUID) -> Check:
    """Finds out about a lost insert."""

    async def check(fetch: Fetch) -> Verdict:
        rows = await fetch(FIND, (key,))
        return ("committed", rows) if rows else ("rolled_back", ())

    return check


def by_token(key: UUID, token: int) -> Check:
    """Finds out about a lost :data:`STAMP`."""

    async def check(fetch: Fetch) -> Verdict:
        rows = await fetch(FIND, (key,))
        if not rows:
            return ("unknown", ())
        return ("committed", rows) if rows[0]["token"] == token else ("rolled_back", ())

    return check


class CallerError(Exception):
    """Raised by the code that uses Timber."""


class Observer:
    """Sees what is committed, and who is connected."""

    def __init__(self, connection: asyncpg.Connection[Any]) -> None:
        self.connection = connection

    async def keys(self) -> set[UUID]:
        return {row["id"] for row in await self.connection.fetch("SELECT id FROM entry")}

    async def notes(self) -> list[str]:
        rows = await self.connection.fetch("SELECT note FROM entry ORDER BY note")
        return [row["note"] for row in rows]

    async def count(self) -> int:
        return int(await self.connection.fetchval("SELECT count(*) FROM entry"))

    async def value(self, query: str, *args: object) -> Any:
        return await self.connection.fetchval(query, *args)

    async def states(self, name: str) -> list[str]:
        """What the server processes of one manager are doing."""
        rows = await self.connection.fetch(
            "SELECT state FROM pg_stat_activity WHERE application_name = $1 AND pid <> pg_backend_pid()",
            name,
        )
        return [row["state"] or "starting" for row in rows]

    async def wait_until_idle(self, name: str) -> None:
        """Every server process of one manager is idle, and in no transaction; a moment is given to those that end."""
        await self._wait(name, lambda states: all(state == "idle" for state in states))

    async def wait_until_gone(self, name: str) -> None:
        await self._wait(name, lambda states: not states)

    async def wait_until_blocked(self, name: str) -> None:
        """A server process of one manager waits for a lock."""
        for _ in range(500):
            if await self.connection.fetchval(
                "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = $1"
                " AND wait_event_type = 'Lock')",
                name,
            ):
                return
            await asyncio.sleep(0.005)
        raise AssertionError("nobody waits for a lock")

    async def kill(self, pid: int) -> None:
        """End a server process, and wait until it is gone."""
        await self.connection.execute("SELECT pg_terminate_backend($1, 5000)", pid)

    async def _wait(self, name: str, good: Any) -> None:
        states: list[str] = []
        for _ in range(200):
            states = await self.states(name)
            if good(states):
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"server processes of {name} after 2 s: {states}")


def free_places(db: AsyncDatabaseManager) -> tuple[int, int]:
    """The places left in the gates of the pool: the common one and the reserve."""
    connections = db._core.connections
    assert connections.main is not None
    assert connections.reserved is not None
    assert connections.main.waiting == connections.reserved.waiting == 0
    return connections.main._free, connections.reserved._free


def assert_nothing_is_held(db: AsyncDatabaseManager) -> None:
    """Every connection is back in the pool, and every place at the gates is free."""
    capacity = db.settings.pool_size + db.settings.max_overflow
    reserve = max(1, capacity // 10) if capacity > 1 else 0
    status = db.get_pool_status()
    assert status["checked_out"] == 0, status
    assert db._core.connections.checked_out == 0
    assert free_places(db) == (capacity - reserve, reserve)


def service_error(error: BaseException) -> ServiceError:
    assert isinstance(error, ServiceError), repr(error)
    return error


_SYNC, _FLUSH = b"S\0\0\0\x04", b"H\0\0\0\x04"


class Sent:
    """What one connection has sent since :func:`messages`."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self.packets = 0
        self.questions = 0
        """Messages that the server answers at once: each is a round trip."""

    def note(self, query: Any) -> None:
        self._texts.append(query.query)

    async def texts(self) -> list[str]:
        await asyncio.sleep(0)  # the driver tells its listeners one step later
        return self._texts


async def messages(db: AsyncDatabaseManager) -> Sent:
    """Listen to the manager's first connection."""
    sent = Sent()
    link = await db._core.connections.acquire()
    link.driver.add_query_logger(sent.note)
    transport = link.driver._transport
    write = transport.write

    def count(data: bytes) -> None:
        sent.packets += 1
        sent.questions += bytes(data[:1]) == b"Q" or bytes(data[-5:]) in (_SYNC, _FLUSH)
        write(data)

    transport.write = count
    db._core.connections.release(link)
    return sent
