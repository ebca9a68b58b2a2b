"""Tables of a registry in a database, and rows in them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from timber.models import ModelRegistry


@asynccontextmanager
async def created(url: str, registry: ModelRegistry) -> AsyncGenerator[AsyncEngine]:
    engine = create_async_engine(
        url.replace("postgresql://", "postgresql+asyncpg://"), poolclass=NullPool
    )
    try:
        async with engine.begin() as connection:
            await connection.run_sync(registry.metadata.create_all)
        yield engine
    finally:
        await engine.dispose()


async def insert(engine: AsyncEngine, table: sa.Table, values: Mapping[str, Any]) -> sa.Row[Any]:
    async with engine.begin() as connection:
        result = await connection.execute(sa.insert(table).values(**values).returning(table))
        return result.one()


def new_row(registry: ModelRegistry, name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """A row as the library makes it: checked values, and defaults for the rest."""
    made = registry.get_model(name)(**values)
    columns = registry.table(name).c
    return {key: value for key, value in vars(made).items() if key in columns}


async def pgvector_or_skip(url: str) -> None:
    async with (
        created(url, ModelRegistry(built_in=False)) as engine,
        engine.connect() as connection,
    ):
        known = sa.text("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'")
        if (await connection.execute(known)).first() is None:
            pytest.skip("this PostgreSQL has no pgvector")
