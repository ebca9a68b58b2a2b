"""What the two test applications share: models, inputs and what their handlers do, free of any framework."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal
from uuid import UUID

from pydantic import Field
from sqlalchemy import text

from timber import (
    CommitOutcomeUnknownError,
    ConfigurationError,
    ConflictError,
    DatabaseError,
    FeatureBypassedError,
    InputDTO,
    NotFoundError,
    PermissionDeniedError,
    PoolTimeoutError,
    QueryTimeoutError,
    SerializationError,
    ServiceError,
    SessionDTO,
    StaleDataError,
    Timber,
    UnavailableError,
    UnitOfWork,
    UnitOfWorkClosedError,
    UnitOfWorkDoomedError,
    UnitOfWorkSharedError,
    UsageError,
    ValidationError,
)

SECRET = "hunter2"

YAML = """
version: 1
models:
  - name: Invoice
    table: invoices
    mixins: [Owner, Version, Timestamps, SoftDelete]
    columns:
      - {name: number, type: String(20), nullable: false, unique: true, comment: As printed on it.}
      - {name: amount, type: "Numeric(12, 2)", nullable: false}
      - {name: state, type: "Enum[open, paid]", nullable: false, default: open}
      - {name: due, type: Date}
      - {name: details, type: JSONB, nullable: false, default: {}}
  - name: Rate
    table: rates
    columns:
      - {name: code, type: String(3), primary_key: true}
      - {name: value, type: Float, nullable: false}
"""

DEFERRED = "ALTER TABLE research_data ADD CONSTRAINT only_at_commit UNIQUE (source_hash) DEFERRABLE INITIALLY DEFERRED"
"""A constraint that is looked at by COMMIT and not by the INSERT."""


def write_models(folder: Path) -> Path:
    (folder / "models.yaml").write_text(YAML)
    return folder


class NewSession(InputDTO):
    session_type: str = Field(max_length=50)
    symbol: str | None = None
    notes: list[str] = Field(default_factory=list, max_length=3)


class OutOfStockError(ConflictError):
    """There is none left."""


class Everything(ServiceError):  # noqa: N818  # an error whose name does not say so
    """Its own status and words."""

    status = 402


def _configuration() -> ServiceError:
    return ConfigurationError(f"the key {SECRET} is wrong", file="secrets.yaml", line=3)


ERRORS: dict[str, Callable[[], Exception]] = {
    "service": lambda: ServiceError(SECRET),
    "validation": lambda: ValidationError(errors=[("a.b", "is wrong"), ("c", "is missing")]),
    "not-found": lambda: NotFoundError(model="Session"),
    "permission-denied": PermissionDeniedError,
    "conflict": lambda: ConflictError(constraint="invoices_number_key"),
    "stale-data": lambda: StaleDataError(model="Session", expected=1, actual=2),
    "database": lambda: DatabaseError(SECRET, sqlstate="XX000"),
    "unavailable": lambda: UnavailableError(SECRET),
    "pool-timeout": lambda: PoolTimeoutError(SECRET),
    "query-timeout": lambda: QueryTimeoutError(SECRET),
    "serialization": lambda: SerializationError(SECRET, sqlstate="40001"),
    "commit-outcome-unknown": lambda: CommitOutcomeUnknownError(SECRET),
    "configuration": _configuration,
    "usage": lambda: UsageError(SECRET),
    "unit-of-work-shared": lambda: UnitOfWorkSharedError(SECRET),
    "unit-of-work-closed": lambda: UnitOfWorkClosedError(SECRET),
    "unit-of-work-doomed": lambda: UnitOfWorkDoomedError(SECRET),
    "feature-bypassed": lambda: FeatureBypassedError(SECRET),
    "out-of-stock": OutOfStockError,
    "everything": Everything,
    "unexpected": lambda: RuntimeError(SECRET),
}

End = Literal["well", "commit fails", "error", "caught"]


async def open_session(timber: Timber, actor: str, new: NewSession) -> SessionDTO:
    metadata = {"symbol": new.symbol, "notes": new.notes}
    return await timber.sessions.create_session(actor, new.session_type, metadata)


async def found_session(timber: Timber, session_id: UUID | str, actor: str) -> SessionDTO:
    session = await timber.sessions.get_session(session_id, owner=actor)
    if session is None:
        raise NotFoundError(model="Session")
    return session


async def work(timber: Timber, uow: UnitOfWork, actor: str, end: End) -> SessionDTO:
    """Two services in one unit of work that ends in one way or another."""
    async with uow:
        session = await timber.sessions.create_session(actor, "research")
        await timber.research.save_research(session.id, {"n": 1}, "note")
        if end == "commit fails":
            for _ in range(2):
                await timber.research.repository.insert(
                    {
                        "session_id": session.id,
                        "research_type": "note",
                        "content": {},
                        "source_hash": "the same",
                    }
                )
        if end == "error":
            await timber.sessions.transition(session.id, "flying")
        if end == "caught":
            try:
                await timber.repository("Rate", timber.registry.read_dto("Rate")).insert(
                    {"code": "EUR", "value": 1.0, "id": 1}
                )
            except ValidationError:
                await uow.session.execute(text("SELECT 1"))
    return session


async def sleep(timber: Timber, seconds: float) -> None:
    async with timber.unit_of_work() as uow:
        await uow.session.execute(text("SELECT pg_sleep(:n)"), {"n": seconds})
