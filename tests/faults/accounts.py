"""Accounts in a model of a service's own: what the anomalies are tried on, and money is moved between."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

from timber import DTO
from timber.app import Timber
from timber.database.levels import Isolation
from timber.models.registry import ModelRegistry
from timber.repository import Repository

ISOLATIONS: tuple[Isolation, ...] = ("read committed", "repeatable read", "serializable")

_YAML = """
version: 1

models:
  - name: Account
    table: accounts
    columns:
      - {name: value, type: Integer, nullable: false}
    features: {cache: true}

  - name: Transfer
    table: transfers
    columns:
      - {name: amount, type: Integer, nullable: false}
"""


class AccountDTO(DTO):
    id: UUID
    value: int


class TransferDTO(DTO):
    id: UUID
    amount: int


def make_registry(folder: Path) -> ModelRegistry:
    file = folder / "accounts.yaml"
    file.write_text(_YAML, encoding="utf-8")
    return ModelRegistry(files=[file])


def accounts_of(timber: Timber) -> Repository[AccountDTO]:
    return timber.repository("Account", AccountDTO)


def transfers_of(timber: Timber) -> Repository[TransferDTO]:
    return timber.repository("Transfer", TransferDTO)
