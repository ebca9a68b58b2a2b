"""Helps for tests of services that use Timber."""

from __future__ import annotations

from timber.testing.queries import QueryCounter, count_queries

__all__ = ["QueryCounter", "count_queries"]
