"""A Timber in a sandbox on the worker's database."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from timber.app import Timber
from timber.database.sandbox import SandboxManager


@pytest.fixture
async def sandboxed(database_url: str) -> AsyncGenerator[Timber]:
    """A Timber of which nothing is ever committed."""
    async with Timber(database_url=database_url, manager=SandboxManager) as timber:
        yield timber
