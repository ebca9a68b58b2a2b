"""The pytest plugin: a database for the tests, a Timber in each that leaves nothing behind, and helps around it.

What is heavy is imported when a fixture is first used: a test run that uses none pays nothing.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

try:
    from pytest_asyncio import fixture as async_fixture
except ModuleNotFoundError:  # anyio's plugin runs plain fixtures
    async_fixture = pytest.fixture

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator
    from contextlib import AbstractContextManager

    from timber.app import Timber
    from timber.testing.clock import StoppedClock
    from timber.testing.databases import DatabaseForTests
    from timber.testing.embedding import FakeEmbedder
    from timber.testing.factory import Factory
    from timber.testing.queries import QueryCounter

_URL = "TIMBER_TEST_DATABASE_URL"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where the models are, and on which server databases for tests are made."""
    parser.addini("timber_models", "Folders with YAML models, for the fixtures of Timber.", "paths")
    parser.addini(
        "timber_database_url",
        f"A PostgreSQL where databases for tests are made, unless {_URL} is set; embedded without either.",
        default="",
    )


@pytest.fixture(scope="session")
def timber_options(pytestconfig: pytest.Config) -> dict[str, Any]:
    """What the Timber of the tests is given beside its URL: keywords of ``Timber``. Override it with your own."""
    return {"model_config_dirs": tuple(map(Path, pytestconfig.getini("timber_models")))}


@pytest.fixture(scope="session")
def timber_db(
    pytestconfig: pytest.Config, timber_options: dict[str, Any]
) -> Generator[DatabaseForTests]:
    """The worker's own database with the tables of the models: ``timber_db.url``, ``await timber_db.clean()``."""
    from timber.testing.databases import database_for_tests

    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", f"{os.getpid():x}")[:8]
    url = os.environ.get(_URL) or pytestconfig.getini("timber_database_url") or None
    with database_for_tests(url, worker=worker, run=run, options=_plain(timber_options)) as made:
        yield made


@async_fixture
async def timber(
    request: pytest.FixtureRequest, timber_db: DatabaseForTests, timber_options: dict[str, Any]
) -> AsyncGenerator[Timber]:
    """A Timber whose every commit is only believed: after the test nothing of it is left.

    A test that also asks for ``timber_clock`` or ``timber_embedder`` has a Timber that uses them.
    """
    from timber.app import Timber
    from timber.database.sandbox import SandboxManager

    options = _plain(timber_options) | _fakes(request)
    async with Timber(timber_db.url, manager=SandboxManager, **options) as made:
        yield made


@async_fixture
async def timber_committing(
    request: pytest.FixtureRequest, timber_db: DatabaseForTests, timber_options: dict[str, Any]
) -> AsyncGenerator[Timber]:
    """A Timber that commits, for what only a real COMMIT brings about; every table is emptied after the test."""
    from timber.app import Timber

    try:
        async with Timber(timber_db.url, **_plain(timber_options), **_fakes(request)) as made:
            yield made
    finally:
        await timber_db.clean()


@async_fixture
async def timber_factory(timber: Timber) -> Factory:
    """Makes rows of any model: ``await timber_factory.create("Session", status="paused")``."""
    from timber.testing.factory import Factory

    registry = timber.registry
    return Factory(registry, lambda name: timber.repository(name, registry.read_dto(name)))


@async_fixture
async def assert_queries(timber: Timber) -> Callable[[int], AbstractContextManager[QueryCounter]]:
    """``with assert_queries(2): ...`` fails if another number of statements is sent inside; it lists them."""
    from timber.testing.queries import count_queries

    return lambda number: count_queries(timber.db, expected=number)


@pytest.fixture
def timber_clock() -> StoppedClock:
    """A clock that stands still until the test moves it: ``timber_clock.advance(hours=1)``."""
    from timber.testing.clock import StoppedClock

    return StoppedClock()


@pytest.fixture
def timber_embedder() -> FakeEmbedder:
    """An embedder that gives the same vector for the same words, and can be made to fail."""
    from timber.testing.embedding import FakeEmbedder

    return FakeEmbedder()


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    """The options, with nothing of whoever runs the tests: no cache of theirs, and no production."""
    return {"cache_url": None, "env": "test", **options}


def _fakes(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if "timber_clock" in request.fixturenames:
        found["clock"] = request.getfixturevalue("timber_clock")
    return found
