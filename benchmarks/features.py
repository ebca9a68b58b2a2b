"""What features cost: the same rows through a model that declares them and through one that does not."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

from sqlalchemy import URL

from benchmarks.comparisons import Comparison
from benchmarks.contenders import POOL_SIZE
from timber import ModelConfig, ModelRegistry, Repository, Timber
from timber.database.statements import Statement
from timber.features.audit import AuditKeys, AuditProvider
from timber.features.encryption import CallableKeyRing, EncryptionProvider, KeySet
from timber.features.feature import Write
from timber.features.providers import Features

WRITERS = 16
_COLUMNS = [
    {"name": "number", "type": "Integer", "nullable": False},
    {"name": "email", "type": "String(200)"},
    {"name": "notes", "type": "JSONB"},
]
_ENCRYPTED = {"encryption": {"columns": ["email", "notes"]}}
_FEATURES: dict[str, dict[str, Any]] = {
    "plain": {},
    "encrypted": _ENCRYPTED,
    "audited": {"audit": True},
    "both": {**_ENCRYPTED, "audit": True},
}


@asynccontextmanager
async def features(url: URL) -> AsyncGenerator[Sequence[Comparison]]:
    """Comparisons of models with and without features."""
    registry = ModelRegistry(models=[_model(name) for name in _FEATURES])
    async with Timber(
        url.render_as_string(hide_password=False),
        registry=registry,
        providers=_providers(),
        pool_size=POOL_SIZE,
        max_overflow=WRITERS - POOL_SIZE,
        cache_enabled=False,
    ) as timber:
        await timber.db.create_all_tables()
        yield [*_comparisons(timber), await _decryption(timber)]


def _model(name: str) -> ModelConfig:
    return ModelConfig.model_validate(
        {
            "name": name.title(),
            "table": f"rows_{name}",
            "mixins": ["Timestamps", "Owner"],
            "columns": _COLUMNS,
            "features": _FEATURES[name],
        }
    )


def _providers() -> tuple[Any, ...]:
    key = secrets.token_bytes(32)
    return (
        EncryptionProvider(CallableKeyRing(lambda: KeySet("bench", {"bench": key}))),
        AuditProvider(AuditKeys([secrets.token_hex(32)])),
    )


def _comparisons(timber: Timber) -> list[Comparison]:
    repositories = {
        name: timber.repository(name.title(), timber.registry.read_dto(name.title()))
        for name in _FEATURES
    }

    async def restore() -> None:
        for name in _FEATURES:
            await timber.db.execute(Statement(f"TRUNCATE rows_{name}", label="restore"))

    def in_a_unit(rows: Repository[Any]) -> Any:
        async def insert(values: dict[str, Any]) -> None:
            async with timber.unit_of_work():
                await rows.insert(values)

        return insert

    return [
        *(
            Comparison(
                f"features_insert_{tasks}",
                "insert in a unit of work: two encrypted fields and audit",
                "plain",
                {name: in_a_unit(repositories[name]) for name in _FEATURES},
                _rows,
                tasks=tasks,
                bounds={"both": 1.6},
                restore=restore,
            )
            for tasks in (1, 32)
        ),
        Comparison(
            "features_audit",
            "insert by 16 writers: audit (60 % of the throughput is 1.67 of the time)",
            "plain",
            {name: repositories[name].insert for name in ("plain", "audited")},
            _rows,
            tasks=WRITERS,
            bounds={"audited": 1 / 0.6},
            restore=restore,
        ),
    ]


def _rows(count: int) -> list[dict[str, Any]]:
    return [
        {
            "number": number,
            "user_id": "user-1",
            "email": f"somebody.{number}@example.com",
            "notes": {"symbol": "AAPL", "comment": "seen twice", "n": number},
        }
        for number in range(count)
    ]


async def _decryption(timber: Timber) -> Comparison:
    """What decryption alone takes of the reading of 20 rows with two encrypted columns."""
    orchestrator = Features(_providers()).orchestrator(
        timber.db, timber.registry.get_model("Encrypted")
    )
    assert orchestrator is not None
    stored = _rows(20)
    for row in stored:
        row["id"] = uuid4()
    write = Write("insert", stored, [row["id"] for row in stored], single=False)
    await orchestrator.before_insert(write)
    assert all(isinstance(row["email"], bytes) for row in stored)

    async def nothing(rows: list[dict[str, Any]]) -> None:
        pass

    return Comparison(
        "features_decryption",
        "decrypt 20 rows of two encrypted columns",
        "nothing",
        {"nothing": nothing, "decrypt": orchestrator.after_query},
        lambda count: [[dict(row) for row in stored] for _ in range(count)],
        limits={"decrypt": 100.0},
    )
