"""The rules of sessions: their types, the moves of their status, and the history written with each move."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self
from uuid import UUID

from typing_extensions import TypeVar

from timber.context import current_actor
from timber.database.manager import AsyncDatabaseManager
from timber.dto import DTO, InputDTO
from timber.errors import UsageError, ValidationError
from timber.features.providers import Features
from timber.models.registry import ModelRegistry
from timber.repository.source import check_flag
from timber.services.arguments import json_object, user
from timber.services.base import Service
from timber.services.foundation import Values
from timber.services.moves import DELETED, Moves
from timber.services.session_dtos import SessionDTO, SessionEventDTO
from timber.settings import TimberSettings

SESSION_TYPES: Final = ("research", "trading", "portfolio")
SESSION_MOVES: Final[Mapping[str, tuple[str, ...]]] = {
    "active": ("paused", "completed", "failed"),
    "paused": ("active", "completed", "failed"),
}

if TYPE_CHECKING:
    from timber.cache.coherence.cache import CoherentCache
    from timber.repository import Repository

S = TypeVar("S", bound=SessionDTO, default=SessionDTO)


class _State(DTO):
    """What a move needs to know of a session."""

    status: str
    completed_at: datetime | None
    deleted_at: datetime | None


class RuledSessions(Service[S]):
    """The generic verbs of sessions, kept to their rules: each move of the status is one the moves allow, and is written
    into the history in the same transaction.

    Args:
        session_types: the types there may be.
        moves: for each status those that may follow it.
    """

    model = "Session"
    dto: ClassVar[type[DTO] | None] = SessionDTO

    def __init__(
        self,
        db: AsyncDatabaseManager,
        *,
        registry: ModelRegistry | None = None,
        clock: Callable[[], datetime] | None = None,
        dto: type[S] | None = None,
        features: Features | None = None,
        cache: CoherentCache | None = None,
        session_types: Iterable[str] = SESSION_TYPES,
        moves: Mapping[str, Iterable[str]] = SESSION_MOVES,
    ) -> None:
        super().__init__(
            db, registry=registry, clock=clock, dto=dto, features=features, cache=cache
        )
        self.session_types: tuple[str, ...] = tuple(session_types)
        self.moves: Moves = Moves(moves, begin="active")
        self.events: Repository[SessionEventDTO] = self.repository_of(
            "SessionEvent", SessionEventDTO
        )
        self._states = self.repository_of("Session", _State)

    @classmethod
    def of_settings(
        cls,
        db: AsyncDatabaseManager,
        registry: ModelRegistry,
        settings: TimberSettings,
        features: Features | None = None,
        cache: CoherentCache | None = None,
    ) -> Self:
        """The service with the types and moves of these settings."""
        moves = SESSION_MOVES if settings.session_moves is None else settings.session_moves
        return cls(
            db,
            registry=registry,
            features=features,
            cache=cache,
            session_types=settings.session_types,
            moves=moves,
        )

    async def update(
        self,
        id: UUID | str,
        changes: InputDTO | Mapping[str, object],
        *,
        merge: Iterable[str] = (),
        owner: str | None = None,
        expected_version: int | None = None,
    ) -> S:
        """Change columns of a session; its status obeys the moves.

        Raises:
            NotFoundError: there is no such session, or it is another owner's.
            StaleDataError: it has another version than ``expected_version`` by now.
            ValidationError: the status may not follow the present one.
        """
        fields = self._changed_fields(changes)
        return await self._changing(
            self._key(id), fields, merge=merge, owner=owner, expected_version=expected_version
        )

    async def upsert(
        self,
        values: InputDTO | Mapping[str, object],  # noqa: ARG002  # the signature of what it refuses
        *,
        on: Iterable[str] = (),  # noqa: ARG002
        update: Iterable[str] | None = None,  # noqa: ARG002
    ) -> S:
        """Refused: whether a status may be set depends on whether the session is new.

        Raises:
            UsageError: always.
        """
        raise UsageError(
            "A session is created or moved, not upserted: call create_session() or update_session()."
        )

    async def delete(self, id: UUID | str, *, hard: bool = False, owner: str | None = None) -> None:
        """Delete a session: a move to ``deleted``, unless ``hard``.

        Raises:
            NotFoundError: there is no such session, or it is another owner's.
        """
        if check_flag("hard", hard):
            await super().delete(id, hard=True, owner=owner)
            return
        key = self._key(id)
        await self._deleting(key, lambda: self._mark_deleted(key, owner))

    async def restore(self, id: UUID | str, *, owner: str | None = None) -> S:
        """Bring a deleted session back, with the status that it had; one that is not deleted stays as it is.

        Raises:
            NotFoundError: there is no such session, or it is another owner's.
        """
        key = self._key(id)

        async def write(changes: Values) -> S:
            async with self.db.join_or_begin():
                state = await self._states.for_update(key, owner=owner, include_deleted=True)
                if state.deleted_at is None:
                    return await self.repository.get(key, owner=owner)
                was = state.status
                if was == DELETED:
                    was = await self._status_before_deletion(key)
                    await self._remember(key, DELETED, was)
                return await self.repository.update(
                    key, {**changes, "status": was}, include_deleted=True
                )

        return await self._updating(key, {"deleted_at": None}, write)

    # Inside

    async def _store(self, values: Values) -> S:
        return await self.repository.insert(self._checked_new(values))

    async def _store_many(self, rows: list[Values]) -> list[Any]:
        return await self.repository.insert_many(
            [self._checked_new(row, f"{index}.") for index, row in enumerate(rows)]
        )

    def _checked_new(self, values: Values, at: str = "") -> Values:
        user(values.get("user_id"), f"{at}user_id")
        self._check_type(values.get("session_type"), f"{at}session_type")
        if values.get("status", self.moves.begin) != self.moves.begin:
            raise ValidationError.of(f"{at}status", f"of a new session is {self.moves.begin}")
        if "metadata" not in values:
            return values
        return {**values, "metadata": json_object(values["metadata"], f"{at}metadata")}

    def _check_type(self, value: object, field: str = "session_type") -> str:
        if not isinstance(value, str) or value not in self.session_types:
            raise ValidationError.of(field, f"is not one of {', '.join(self.session_types)}")
        return value

    async def _changing(
        self,
        key: UUID,
        changes: Values,
        *,
        merge: Iterable[str] = (),
        owner: str | None = None,
        expected_version: int | None = None,
        reason: str | None = None,
        must_move: bool = False,
    ) -> S:
        """Change a session, in one statement unless its status is among the changes."""

        async def update(fields: Values) -> S:
            return await self.repository.update(
                key, fields, merge=merge, owner=owner, expected_version=expected_version
            )

        async def write(fields: Values) -> S:
            if "metadata" in fields:
                json_object(fields["metadata"], "metadata")
            if "status" not in fields:
                return await update(fields)
            to = self.moves.check_known(fields["status"])
            self._check_before_reading(fields, merge, expected_version, reason)
            async with self.db.join_or_begin():
                state = await self._states.for_update(key, owner=owner)
                if state.status == to and not must_move:
                    return await update({n: v for n, v in fields.items() if n != "status"})
                self.moves.check(state.status, to)
                moved = dict(fields)
                if to == "completed":
                    moved.setdefault("completed_at", self.clock())
                elif state.completed_at is not None:
                    moved.setdefault("completed_at", None)
                session = await update(moved)
                await self._remember(key, state.status, to, reason)
                return session

        return await self._updating(key, changes, write)

    def _check_before_reading(
        self,
        fields: Values,
        merge: Iterable[str],
        expected_version: int | None,
        reason: str | None,
    ) -> None:
        """Hold the changes against their columns before the first statement, not only with the second."""
        self._checked_columns(fields)
        for name in merge:
            json_object(fields.get(name), name)
        self._check_reason(reason)
        if expected_version is not None and (
            type(expected_version) is not int or expected_version < 1
        ):
            raise ValidationError.of("expected_version", "is to be a whole number from 1")

    def _check_reason(self, reason: str | None) -> None:
        self.events.source.check("reason", reason)
        self.events.source.check("actor", current_actor())

    async def _mark_deleted(self, key: UUID, owner: str | None, reason: str | None = None) -> S:
        self._check_reason(reason)
        async with self.db.join_or_begin():
            state = await self._states.for_update(key, owner=owner)
            session = await self.repository.update(
                key, {"status": DELETED, "deleted_at": self.clock()}
            )
            await self._remember(key, state.status, DELETED, reason)
        return session

    async def _status_before_deletion(self, key: UUID) -> str:
        last = await self.events.find_one(
            session_id=key, to_status=DELETED, order_by=("-at", "-id")
        )
        return last.from_status if last is not None else self.moves.begin

    async def _remember(
        self, key: UUID, before: str, after: str, reason: str | None = None
    ) -> None:
        await self.events.insert(
            {
                "session_id": key,
                "from_status": before,
                "to_status": after,
                "reason": reason,
                "actor": current_actor(),
                "at": self.clock(),
            }
        )
