"""A user's own model and services over it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID

from timber import DTO, Service

YAML = """
version: 1
models:
  - name: Invoice
    table: invoices
    mixins: [Owner, Version, Timestamps, SoftDelete]
    columns:
      - {name: number, type: String(20), nullable: false, unique: true}
      - {name: amount, type: "Numeric(12, 2)", nullable: false}
      - {name: note, type: Text}
      - {name: details, type: JSONB, nullable: false, default: {}}
    features:
      search:
        weights: {note: A}
"""


class InvoiceRead(DTO):
    id: UUID
    user_id: str
    number: str
    amount: Decimal
    note: str | None
    version: int
    created_at: datetime


class InvoiceService(Service[InvoiceRead]):
    model = "Invoice"

    async def total(self, user_id: str) -> Decimal:
        return sum((item.amount for item in await self.list(owner=user_id)), Decimal(0))


def write_models(folder: Path) -> Path:
    (folder / "invoices.yaml").write_text(YAML)
    return folder
