"""The rules of research: a session that is there, a user taken from it, content that is something."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final
from uuid import UUID

from typing_extensions import TypeVar

from timber.database.manager import AsyncDatabaseManager
from timber.dto import DTO
from timber.errors import ConflictError, NotFoundError, ValidationError
from timber.features.providers import Features
from timber.models.registry import ModelRegistry
from timber.services.arguments import json_object
from timber.services.base import Service
from timber.services.computing import Computing, LeaseDTO, Leases
from timber.services.foundation import Values
from timber.services.research_dtos import ResearchDTO

LEASE: Final = timedelta(seconds=30)
_FOREIGN_KEY: Final = "23503"

if TYPE_CHECKING:
    from timber.cache.coherence.cache import CoherentCache

R = TypeVar("R", bound=ResearchDTO, default=ResearchDTO)


class _SessionOwner(DTO):
    """Whose a session is."""

    id: UUID
    user_id: str


class RuledResearch(Service[R]):
    """The generic verbs of research, kept to its rules.

    Args:
        lease: how long the right to compute a key outlives a process that died with it.
    """

    model = "ResearchData"
    dto: ClassVar[type[DTO] | None] = ResearchDTO

    def __init__(
        self,
        db: AsyncDatabaseManager,
        *,
        registry: ModelRegistry | None = None,
        clock: Callable[[], datetime] | None = None,
        dto: type[R] | None = None,
        features: Features | None = None,
        cache: CoherentCache | None = None,
        lease: timedelta = LEASE,
    ) -> None:
        super().__init__(
            db, registry=registry, clock=clock, dto=dto, features=features, cache=cache
        )
        self._sessions = self.repository_of("Session", _SessionOwner)
        rows = self.repository_of("ResearchLease", LeaseDTO)
        self._computing: Computing[R] = Computing(Leases(rows, clock=self.clock, length=lease))

    # Inside

    async def _store(self, values: Values) -> R:
        return await self._insert((await self._with_users([self._checked(values)]))[0])

    async def _insert(self, values: Values) -> R:
        try:
            return await self.repository.insert(values)
        except ConflictError as error:
            if _is_missing_session(error):
                raise NotFoundError(model="Session") from error
            raise

    async def _store_many(self, rows: list[Values]) -> list[Any]:
        checked = [self._checked(row, f"{index}.") for index, row in enumerate(rows)]
        complete = await self._with_users(checked)
        try:
            return await self.repository.insert_many(complete)
        except ConflictError as error:
            if _is_missing_session(error):
                raise NotFoundError(model="Session") from error
            raise

    def _checked(self, values: Values, at: str = "") -> Values:
        """A new row held against its columns, before its session is looked for."""
        if values.get("content") is None:
            raise ValidationError.of(f"{at}content", "is missing")
        checked = self._checked_columns(values, at)
        if "metadata" in checked:
            checked["metadata"] = json_object(checked["metadata"], f"{at}metadata")
        return checked

    async def _with_users(self, rows: list[Values]) -> list[Values]:
        """The rows with the users of their sessions, which must exist, where they name none."""
        sessions = {row["session_id"] for row in rows if row.get("session_id") is not None}
        if not sessions:
            return rows
        owners = await self._owners(sessions)
        return [
            {**row, "user_id": owners[row["session_id"]]}
            if row.get("session_id") is not None and row.get("user_id") is None
            else row
            for row in rows
        ]

    async def _owners(self, sessions: set[UUID]) -> dict[UUID, str]:
        if len(sessions) == 1:
            (only,) = sessions
            return {only: (await self._sessions.get(only, fresh=True)).user_id}
        rows = await self._sessions.get_many(sessions, fresh=True)
        found = {session.id: session.user_id for session in rows}
        if len(found) < len(sessions):
            raise NotFoundError(model="Session")
        return found


def _is_missing_session(error: ConflictError) -> bool:
    # The session was there when it was looked for, and has been deleted since.
    return error.sqlstate == _FOREIGN_KEY and "session_id" in (error.constraint or "")
