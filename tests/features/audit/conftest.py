"""A Timber with audited models, on a database of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import databases
from tests.harness.databases import Databases, run_apart
from timber import Timber
from timber.database.manager import AsyncDatabaseManager
from timber.database.statements import Statement
from timber.features.audit import AuditKeys, AuditLog, Sealer
from timber.models.registry import ModelRegistry

KEY = "a-key-of-the-audit-for-nothing-but-tests"
REGISTRY = ModelRegistry(files=[Path(__file__).parent / "models.yaml"])


async def _make_tables(databases: Databases, name: str) -> str:
    url = await databases.bare(name)
    manager = AsyncDatabaseManager(url)
    try:
        await manager.create_all_tables(REGISTRY.metadata)
    finally:
        await manager.dispose()
    return url


@pytest.fixture(scope="session")
def audited_url(test_databases: Databases, worker_id: str) -> str:
    return run_apart(_make_tables(test_databases, f"audit_{worker_id}"))


@pytest.fixture
def keys() -> AuditKeys:
    return AuditKeys([KEY])


@pytest.fixture
async def bank(audited_url: str) -> AsyncGenerator[Timber]:
    async with Timber(
        audited_url, registry=REGISTRY, audit_key=KEY, audit_seal_every=None
    ) as timber:
        yield timber
    await databases.clean_tables(audited_url)


@pytest.fixture
def log(bank: Timber) -> AuditLog:
    return bank.audit


@pytest.fixture
def sealer(bank: Timber, keys: AuditKeys) -> Sealer:
    return Sealer(bank.db, keys, batch=5)


def rows_of(timber: Timber, model: str) -> Any:
    return timber.repository(model, timber.registry.read_dto(model))


@pytest.fixture
def accounts(bank: Timber) -> Any:
    return rows_of(bank, "Account")


@pytest.fixture
def tickets(bank: Timber) -> Any:
    return rows_of(bank, "Ticket")


@pytest.fixture
def labels(bank: Timber) -> Any:
    return rows_of(bank, "Label")


async def finished(timber: Timber, rows: str = "true") -> None:
    """Wait until all that was audited can be sealed: other tests have transactions on this server, too."""
    horizon = "pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
    statement = Statement(
        f"SELECT coalesce(max(transaction_id), 0) < {horizon} AS so FROM timber_audit WHERE {rows}",
        label="",
    )
    async with asyncio.timeout(20):
        while not (await timber.db.fetch(statement))[0]["so"]:
            await asyncio.sleep(0.01)


def account(number: int, **more: Any) -> dict[str, Any]:
    return {"user_id": "u", "email": f"{number}@example.org", **more}
