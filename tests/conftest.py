"""One PostgreSQL for a test run, one database for a worker, clean tables for a test."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.faults.report import Collector
from tests.harness import databases, server
from tests.harness.databases import Databases, run_apart

if TYPE_CHECKING:
    from timber.app import Timber
    from timber.database.manager import AsyncDatabaseManager

_RUN = "TIMBER_TEST_RUN"
"""The run's folder, handed from the process that started the tests to its workers."""

settings.register_profile("dev", max_examples=30, deadline=None)
settings.register_profile(
    "ci",
    max_examples=200,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],  # two shared cores
)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "write what the long forms in tests/faults have shown into docs/reliability.md"
    parser.addoption("--reliability", action="store_true", help=text)


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("reliability"):
        config.pluginmanager.register(Collector())
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # As a shell in the background starts its programs; those under test are to be interrupted.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in list(os.environ):
        # The settings of whoever runs the tests are not under test.
        if name.startswith("TIMBER_") and not name.startswith("TIMBER_TEST_"):
            del os.environ[name]
    if not hasattr(config, "workerinput") and not config.option.collectonly:
        stack = ExitStack()
        config.add_cleanup(stack.close)
        _begin_run(stack)


def _begin_run(stack: ExitStack) -> None:
    directory = Path(tempfile.mkdtemp(prefix="timber-tests-"))
    stack.callback(shutil.rmtree, directory, ignore_errors=True)
    environment = stack.enter_context(pytest.MonkeyPatch.context())
    environment.setenv(_RUN, str(directory))
    given = os.environ.get("TIMBER_TEST_DATABASE_URL")
    if given is None and (url := stack.enter_context(server.container())):
        environment.setenv("TIMBER_TEST_DATABASE_URL", url)
    elif given is None:
        stack.callback(server.stop_embedded, directory)
    else:
        stack.callback(_drop_all, given, directory)


def _drop_all(url: str, directory: Path) -> None:
    run_apart(Databases(url, directory.name, directory).drop_all())


def pytest_report_header() -> str:
    given = "TIMBER_TEST_DATABASE_URL" in os.environ
    return f"test database: {'a server' if given else 'embedded'}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """With ``-v``, what tests have counted."""
    if terminalreporter.config.option.verbose <= 0:
        return
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, value in report.user_properties:
            if name == "counts":
                terminalreporter.write_line(f"{report.nodeid.partition('::')[2]}: {value}")


@pytest.fixture(scope="session")
def test_databases() -> Generator[Databases]:
    """The server of this run, for making databases on."""
    directory = Path(os.environ[_RUN])
    with server.server_url(directory) as url:
        yield Databases(url, directory.name, directory)


@pytest.fixture(scope="session")
def database_url(test_databases: Databases, worker_id: str) -> str:
    """The worker's database with the built-in tables. A test that writes to it asks for `clean_tables` too."""
    return run_apart(test_databases.clone(worker_id))


@pytest.fixture
async def clean_tables(database_url: str) -> AsyncGenerator[None]:
    """The tables of the worker's database are empty again after the test."""
    yield
    await databases.clean_tables(database_url)


@pytest.fixture
async def fresh_database_url(test_databases: Databases) -> AsyncGenerator[str]:
    """A database of the test's own with the built-in tables, dropped after it."""
    async with test_databases.cloned() as url:
        yield url


@pytest.fixture
async def bare_database_url(test_databases: Databases) -> AsyncGenerator[str]:
    """A database of the test's own with no tables, dropped after it."""
    async with test_databases.made_bare() as url:
        yield url


@pytest.fixture
async def db(database_url: str, clean_tables: None) -> AsyncGenerator[AsyncDatabaseManager]:
    """A manager on the worker's database."""
    from timber.database.manager import AsyncDatabaseManager

    manager = AsyncDatabaseManager(database_url)
    try:
        yield manager
    finally:
        await manager.dispose()


@pytest.fixture
async def timber(database_url: str, clean_tables: None) -> AsyncGenerator[Timber]:
    """A Timber on the worker's database."""
    from timber.app import Timber

    async with Timber(database_url=database_url) as timber:
        yield timber
