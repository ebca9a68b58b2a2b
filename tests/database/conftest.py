"""Managers on a database with one small ledger, and a look at it from beside them."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import AsyncGenerator, Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from sqlalchemy import make_url
from sqlalchemy.dialects.postgresql import asyncpg as dialect
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import CreateTable

from tests.database.ledger import Base, Observer
from tests.database.own_server import OwnServer
from tests.database.pgbouncer import is_installed
from tests.harness.databases import Databases, run_apart
from tests.harness.proxy import Proxy
from timber.database.manager import AsyncDatabaseManager
from timber.settings import TimberSettings

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

if not is_installed():
    # Debian's package pgbouncer is not everywhere; CI installs it for the long forms.
    collect_ignore = ["test_pgbouncer.py"]

MakeDb = Callable[..., AsyncDatabaseManager]

_numbers = itertools.count(1)

QUICK: dict[str, Any] = {
    "pool_size": 5,
    "max_overflow": 5,
    "pool_timeout": 5,
    "connect_timeout": 5,
    "conflict_wait": 0.001,
    "outage_wait": 0.005,
    "outage_wait_max": 0.02,
}
"""The settings of a server next door, so that nobody waits long for a retry."""


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Say how many schedules and cuts were gone through."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "counts":
                terminalreporter.write_line(f"{report.nodeid.split('/')[-1]}: {value}")


async def make_ledger(databases: Databases, name: str) -> str:
    url = await databases.bare(name)
    connection = await asyncpg.connect(driver_url(url))
    try:
        for table in Base.metadata.sorted_tables:
            await connection.execute(str(CreateTable(table).compile(dialect=dialect.dialect())))
    finally:
        await connection.close()
    return url


def driver_url(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def ledger_url(test_databases: Databases, worker_id: str) -> str:
    """A database with the ledger's tables."""
    return run_apart(make_ledger(test_databases, f"ledger_{worker_id}"))


@pytest.fixture(scope="session")
def own_server() -> Generator[OwnServer]:
    """A server of this process's own, to be killed, and with a password."""
    # Not in pytest's own folder: as root the server runs as somebody else, whom another pytest would shut out of it.
    with tempfile.TemporaryDirectory(prefix="timber-own-", ignore_cleanup_errors=True) as folder:
        server = OwnServer(Path(folder) / "postgres")
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
async def observer(ledger_url: str) -> AsyncGenerator[Observer]:
    """A connection of the test's own; the tables are empty when it is made."""
    connection = await asyncpg.connect(driver_url(ledger_url))
    await connection.execute("SET lock_timeout = '5s'; TRUNCATE entry, counted, part")
    try:
        yield Observer(connection)
    finally:
        await connection.close()


@pytest.fixture
async def make_db(ledger_url: str, observer: Observer) -> AsyncGenerator[MakeDb]:
    """Makes managers. After the test each is disposed of, and must then have left no connection behind."""
    made: list[AsyncDatabaseManager] = []

    def make(url: str = ledger_url, **settings: Any) -> AsyncDatabaseManager:
        name = f"timber-{os.getpid()}-{next(_numbers)}"  # the other workers have theirs
        db = AsyncDatabaseManager(
            url, settings=TimberSettings(**{"application_name": name, **QUICK, **settings})
        )
        made.append(db)
        return db

    yield make
    for db in made:
        await db.dispose()
        await observer.wait_until_gone(db.settings.application_name)


@pytest.fixture
async def db(make_db: MakeDb) -> AsyncDatabaseManager:
    return make_db()


@pytest.fixture
async def proxy(ledger_url: str) -> AsyncGenerator[Proxy]:
    async with Proxy(ledger_url) as proxy:
        yield proxy


@pytest.fixture(params=["a queue", "with pre-ping", "no pool"])
async def engine(request: pytest.FixtureRequest, ledger_url: str) -> AsyncGenerator[AsyncEngine]:
    """An engine that belongs to the test and not to a manager."""
    options: dict[str, object] = {
        "a queue": {"pool_size": 2, "max_overflow": 1},
        "with pre-ping": {"pool_size": 2, "max_overflow": 1, "pool_pre_ping": True},
        "no pool": {"poolclass": NullPool},
    }[request.param]
    engine = create_async_engine(ledger_url, **options)
    yield engine
    await engine.dispose()


@pytest.fixture
async def its_db(engine: AsyncEngine) -> AsyncGenerator[AsyncDatabaseManager]:
    """A manager on that engine."""
    db = AsyncDatabaseManager(engine=engine)
    yield db
    await db.dispose()
