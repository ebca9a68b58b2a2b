"""The models of these tests, keys for them, and features made by hand."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from timber.features.encryption import EncryptionProvider, KeySet
from timber.features.feature import Feature, FeatureModel, Row, Write
from timber.models.registry import ModelRegistry

FILE = Path(__file__).with_name("models.yaml")
REGISTRY = ModelRegistry(files=[FILE])


class Keys:
    """A key ring in memory, whose keys a test changes."""

    def __init__(self, *ids: str) -> None:
        self.keys = {name: name.encode().ljust(32, b"*") for name in ids or ("one",)}
        self.primary = next(iter(self.keys))
        self._made: KeySet | None = None

    def add(self, id: str, *, primary: bool = True) -> None:
        self.keys[id] = id.encode().ljust(32, b"*")
        self.primary = id if primary else self.primary
        self._made = None

    def remove(self, id: str) -> None:
        del self.keys[id]
        self._made = None

    def replace(self, id: str, key: bytes) -> None:
        self.keys[id] = key
        self._made = None

    def known(self) -> KeySet:
        self._made = self._made or KeySet(self.primary, self.keys)
        return self._made

    async def load(self) -> KeySet:
        return self.known()


def feature(name: str, provider: EncryptionProvider, registry: ModelRegistry = REGISTRY) -> Feature:
    """The encryption of one of the models."""
    model = FeatureModel(registry.model_config(name), registry.table(name), None)  # type: ignore[arg-type]
    made = provider.feature(model)
    assert made is not None
    return made


async def stored(feature: Feature, rows: Iterable[Row], *, key: str = "id") -> list[Row]:
    """Rows as they would be in the table."""
    made = [{key: uuid4(), **row} for row in rows]
    await feature.before_insert(Write("insert", made, [row[key] for row in made], single=False))
    return made


async def read(feature: Feature, *rows: Row) -> list[Row]:
    """Stored rows as they would come out of the table."""
    copies = [dict(row) for row in rows]
    await feature.after_query(copies)
    return copies


def account(number: int = 1, **more: Any) -> Row:
    return {
        "user_id": "ann",
        "number": number,
        "iban": f"GB{number:020}",
        "mail": f"mail-{number}@example.org",
        "details": {"number": number},
        "photo": bytes([number % 256]) * 8,
        "balance": None,
        **more,
    }


def some_id(number: int) -> UUID:
    return UUID(int=number)
