"""The pytest plugin: a database for the tests, a Timber in each that leaves nothing behind, and helps around it.

What is heavy is imported when a fixture is first used: a test run that uses none pays nothing.
"""

from __future__ import annotations

import os
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator
    from contextlib import AbstractContextManager

    from timber import Timber
    from timber.testing.clock import StoppedClock
    from timber.testing.databases import DatabaseForTests
    from timber.testing.embedding import FakeEmbedder
    from timber.testing.factory import Factory
    from timber.testing.queries import QueryCounter

    Held = Callable[[int], AbstractContextManager[QueryCounter]]

_URL = "TIMBER_TEST_DATABASE_URL"

F = TypeVar("F")


def asynchronous(function: F) -> F:
    """A fixture that is a coroutine. Without pytest-asyncio it is anyio's plugin that runs those, as plain fixtures."""
    made: Any = pytest
    with suppress(ModuleNotFoundError):
        made = import_module("pytest_asyncio")
    fixture: F = made.fixture(function)
    return fixture


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


@asynchronous
async def timber(
    request: pytest.FixtureRequest, timber_db: DatabaseForTests, timber_options: dict[str, Any]
) -> AsyncGenerator[Timber]:
    """A Timber whose every commit is only believed: after the test nothing of it is left.

    A test that also asks for ``timber_clock`` or ``timber_embedder`` has a Timber that uses them.
    """
    from timber import Timber
    from timber.database.sandbox import SandboxManager

    options = _with_fakes(_plain(timber_options), request)
    async with Timber(timber_db.url, manager=SandboxManager, **options) as made:
        yield made


@pytest.fixture
def timber_unstarted(
    request: pytest.FixtureRequest, timber_db: DatabaseForTests, timber_options: dict[str, Any]
) -> Timber:
    """The same as ``timber``, for an application that starts and closes it by itself, in an event loop of its own."""
    from timber import Timber
    from timber.database.sandbox import SandboxManager

    options = _with_fakes(_plain(timber_options), request)
    return Timber(timber_db.url, manager=SandboxManager, **options)


@asynchronous
async def timber_committing(
    request: pytest.FixtureRequest, timber_db: DatabaseForTests, timber_options: dict[str, Any]
) -> AsyncGenerator[Timber]:
    """A Timber that commits, for what only a real COMMIT brings about; every table is emptied after the test."""
    from timber import Timber

    try:
        options = _with_fakes(_plain(timber_options), request)
        async with Timber(timber_db.url, **options) as made:
            yield made
    finally:
        await timber_db.clean()


@asynchronous
async def timber_factory(timber: Timber) -> Factory:
    """Makes rows of any model: ``await timber_factory.create("Session", status="paused")``."""
    from timber.testing.factory import Factory

    registry = timber.registry
    return Factory(registry, lambda name: timber.repository(name, registry.read_dto(name)))


@asynchronous
async def assert_queries(timber: Timber) -> Held:
    """Holds what is inside to a number of statements, and lists them if there are others."""
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


def _with_fakes(options: dict[str, Any], request: pytest.FixtureRequest) -> dict[str, Any]:
    """The options, with the fakes that the test asks for."""
    if "timber_clock" in request.fixturenames:
        options["clock"] = request.getfixturevalue("timber_clock")
    if "timber_embedder" in request.fixturenames:
        from timber.features.embedding.provider import EmbeddingProvider

        embedding = EmbeddingProvider(request.getfixturevalue("timber_embedder"))
        options["providers"] = (*options.get("providers", ()), embedding)
    return options
