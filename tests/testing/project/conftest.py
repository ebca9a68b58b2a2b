"""What the project adds of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio


@pytest.fixture(scope="session")
def timber_options() -> dict[str, Any]:
    return {"model_config_dirs": [Path(__file__).parent / "models"], "session_types": ("walk",)}


@pytest_asyncio.fixture
async def invoice(timber):
    return await timber.service("Invoice").create({"user_id": "u", "number": "R", "amount": 1})


@pytest_asyncio.fixture
async def open_unit(timber):
    async with timber.unit_of_work() as uow:
        yield uow
