"""Repositories and services for unit tests without a database."""

from __future__ import annotations

from timber.testing.memory.database import InMemoryDatabase
from timber.testing.memory.repository import InMemoryRepository, in_memory

__all__ = ["InMemoryDatabase", "InMemoryRepository", "in_memory"]
