"""Helps for tests of services that use Timber; its fixtures are a pytest plugin, there wherever Timber is installed."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from timber.database.sandbox import SandboxManager
    from timber.testing.clock import StoppedClock
    from timber.testing.databases import DatabaseForTests
    from timber.testing.embedding import FakeEmbedder
    from timber.testing.factory import Factory
    from timber.testing.memory import InMemoryDatabase, InMemoryRepository, in_memory
    from timber.testing.queries import QueryCounter, count_queries

__all__ = [
    "DatabaseForTests",
    "Factory",
    "FakeEmbedder",
    "InMemoryDatabase",
    "InMemoryRepository",
    "QueryCounter",
    "SandboxManager",
    "StoppedClock",
    "count_queries",
    "in_memory",
]

_ROOMS = {
    "DatabaseForTests": "timber.testing.databases",
    "Factory": "timber.testing.factory",
    "FakeEmbedder": "timber.testing.embedding",
    "InMemoryDatabase": "timber.testing.memory",
    "InMemoryRepository": "timber.testing.memory",
    "QueryCounter": "timber.testing.queries",
    "SandboxManager": "timber.database.sandbox",
    "StoppedClock": "timber.testing.clock",
    "count_queries": "timber.testing.queries",
    "in_memory": "timber.testing.memory",
}


def __getattr__(name: str) -> object:
    # pytest imports this package in every run: what is heavy waits until it is asked for.
    if name not in _ROOMS:
        raise AttributeError(f"module 'timber.testing' has no attribute {name!r}")
    value = getattr(import_module(_ROOMS[name]), name)
    globals()[name] = value
    return value
