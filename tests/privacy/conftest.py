"""The club's tables on a database of their own, and the work on its members' data."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

import pytest

from tests.database.conftest import QUICK
from tests.harness import databases
from tests.harness.databases import Databases, run_apart
from tests.privacy.club import REGISTRY, Club
from timber.database.manager import AsyncDatabaseManager
from timber.privacy.privacy import Privacy
from timber.settings import TimberSettings

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Say how many rows there were, and how much memory it took."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "figures":
                terminalreporter.write_line(f"{report.nodeid.split('/')[-1]}: {value}")


async def _make_tables(databases: Databases, name: str) -> str:
    url = await databases.bare(name)
    manager = AsyncDatabaseManager(url, metadata=REGISTRY.metadata)
    try:
        await manager.create_all_tables()
    finally:
        await manager.dispose()
    return url


@pytest.fixture(scope="session")
def club_url(test_databases: Databases, worker_id: str) -> str:
    """The worker's database with the club's tables."""
    return run_apart(_make_tables(test_databases, f"privacy_{worker_id}"))


@pytest.fixture
async def db(club_url: str) -> AsyncGenerator[AsyncDatabaseManager]:
    manager = AsyncDatabaseManager(club_url, settings=TimberSettings(**QUICK))
    yield manager
    assert manager.get_pool_status()["checked_out"] == 0
    await manager.dispose()
    await databases.clean_tables(club_url)


@pytest.fixture
def club(db: AsyncDatabaseManager) -> Club:
    return Club(db)


@pytest.fixture
def privacy(db: AsyncDatabaseManager) -> Privacy:
    return Privacy(db, REGISTRY)
