"""The schema that every test database starts with."""

from __future__ import annotations


async def create_schema(url: str) -> None:
    """Make the tables of the built-in models in the template database, once a test run."""
