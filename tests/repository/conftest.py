"""Repositories over a database of their own, and a record of the SQL that they send."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.database.conftest import QUICK
from tests.harness import databases
from tests.harness.databases import Databases, run_apart
from tests.repository.models import (
    REGISTRY,
    ArticleDTO,
    InvoiceDTO,
    JobDTO,
    SignedDTO,
    ThingDTO,
    TicketDTO,
)
from timber.database.manager import AsyncDatabaseManager
from timber.repository import Repository
from timber.settings import TimberSettings


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def tick(self, seconds: float = 1) -> datetime:
        self.now += timedelta(seconds=seconds)
        return self.now


class Sent(list[str]):
    """The SQL texts that a manager has sent."""

    @contextmanager
    def of(self) -> Iterator[list[str]]:
        """Those sent within the block."""
        start = len(self)
        block: list[str] = []
        yield block
        block += self[start:]


async def _make_tables(databases: Databases, name: str) -> str:
    url = await databases.bare(name)
    manager = AsyncDatabaseManager(url, metadata=REGISTRY.metadata)
    try:
        await manager.create_all_tables()
    finally:
        await manager.dispose()
    return url


@pytest.fixture(scope="session")
def tables_url(test_databases: Databases, worker_id: str) -> str:
    """The worker's database with the tables of these tests."""
    return run_apart(_make_tables(test_databases, f"repository_{worker_id}"))


@pytest.fixture
async def empty_tables(tables_url: str) -> AsyncGenerator[None]:
    yield
    await databases.clean_tables(tables_url)


MakeDb = Callable[..., AsyncDatabaseManager]


@pytest.fixture
async def make_db(tables_url: str, empty_tables: None) -> AsyncGenerator[MakeDb]:
    """Makes managers on the tables of these tests."""
    made: list[AsyncDatabaseManager] = []

    def make(url: str = tables_url, **settings: Any) -> AsyncDatabaseManager:
        manager = AsyncDatabaseManager(url, settings=TimberSettings(**{**QUICK, **settings}))
        made.append(manager)
        return manager

    yield make
    for manager in made:
        await manager.dispose()


@pytest.fixture
async def db(make_db: MakeDb) -> AsyncGenerator[AsyncDatabaseManager]:
    manager = make_db()
    yield manager
    assert manager.get_pool_status()["checked_out"] == 0


@pytest.fixture
def sent(db: AsyncDatabaseManager) -> Sent:
    sent = Sent()
    db.monitor.listeners.append(lambda _label, sql, _seconds: sent.append(sql))
    return sent


@pytest.fixture
def clock() -> Clock:
    return Clock()


def repository(
    db: AsyncDatabaseManager, model: str, dto: Any = None, clock: Clock | None = None
) -> Repository[Any]:
    """A repository of one of the models; its generated DTO where none is given."""
    return Repository(db, REGISTRY.get_model(model), dto or REGISTRY.read_dto(model), clock=clock)


@pytest.fixture
def invoices(db: AsyncDatabaseManager, clock: Clock) -> Repository[InvoiceDTO]:
    return repository(db, "Invoice", InvoiceDTO, clock)


@pytest.fixture
def things(db: AsyncDatabaseManager) -> Repository[ThingDTO]:
    return repository(db, "Thing", ThingDTO)


@pytest.fixture
def tickets(db: AsyncDatabaseManager) -> Repository[TicketDTO]:
    return repository(db, "Ticket", TicketDTO)


@pytest.fixture
def jobs(db: AsyncDatabaseManager, clock: Clock) -> Repository[JobDTO]:
    return repository(db, "Job", JobDTO, clock)


@pytest.fixture
def articles(db: AsyncDatabaseManager, clock: Clock) -> Repository[ArticleDTO]:
    return repository(db, "Article", ArticleDTO, clock)


@pytest.fixture
def signed(db: AsyncDatabaseManager) -> Repository[SignedDTO]:
    return repository(db, "Signed", SignedDTO)
