"""The models of these tests and the DTOs of their rows."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from timber.dto import DTO
from timber.models.registry import ModelRegistry

FILE = Path(__file__).with_name("models.yaml")
REGISTRY = ModelRegistry(files=[FILE], built_in=False)


class InvoiceDTO(DTO):
    id: UUID
    user_id: str
    number: str
    customer: str
    status: Literal["draft", "sent", "paid"]
    amount: Decimal
    priority: int
    due_on: date | None
    note: str | None
    tags: list[str] | None
    details: Any
    reference: str | None
    version: int
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None


class InvoiceLine(DTO):
    """Two columns of an invoice, without its key."""

    number: str
    amount: Decimal


class ThingDTO(DTO):
    id: int
    number: int | None
    word: str | None


class TicketDTO(DTO):
    id: int
    title: str
    place: str | None
    made_at: datetime
    shout: str | None


class JobDTO(DTO):
    id: UUID
    kind: str
    priority: int


class ArticleDTO(DTO):
    id: UUID
    user_id: str
    title: str
    body: dict[str, Any]
    topic: str | None


class SignedDTO(DTO):
    id: UUID
    code: str
    note: str | None
    created_by: str | None
    updated_by: str | None


SECOND = timedelta(seconds=1)


def invoice(number: str = "1", user: str = "ann", **values: Any) -> dict[str, Any]:
    """The values of an invoice."""
    return {"user_id": user, "number": number, "customer": "Acme", **values}
