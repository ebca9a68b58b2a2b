"""Sessions: stretches of work of one user, their status and its history."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, overload
from uuid import UUID

from typing_extensions import TypeVar

from timber.dto import CursorPage, Page
from timber.errors import ValidationError
from timber.repository.source import check_flag
from timber.services.arguments import json_object, user
from timber.services.guard import one_read
from timber.services.moves import DELETED
from timber.services.session_dtos import SessionCreate, SessionDTO, SessionEventDTO
from timber.services.session_rules import RuledSessions

__all__ = ["SessionCreate", "SessionDTO", "SessionEventDTO", "SessionService"]

S = TypeVar("S", bound=SessionDTO, default=SessionDTO)


class SessionService(RuledSessions[S]):
    """Sessions of users.

    ``SessionService[MySession]`` gives sessions as ``MySession``, with the columns that the model was extended by; the
    generic ``create()`` and ``update()`` take those columns too.
    """

    # Reading

    @one_read
    async def get_session(
        self,
        session_id: UUID | str,
        *,
        owner: str | None = None,
        include_deleted: bool = False,
        fresh: bool = False,
    ) -> S | None:
        """The session, None if there is none or it is another owner's."""
        return await self.repository.get_or_none(
            self._key(session_id, "session_id"),
            owner=owner,
            include_deleted=include_deleted,
            fresh=fresh,
        )

    async def get_user_sessions(
        self,
        user_id: str,
        session_type: str | None = None,
        status: str | None = None,
        limit: int = 100,
        *,
        symbol: str | None = None,
        include_deleted: bool = False,
        fresh: bool = False,
    ) -> list[S]:
        """The sessions of a user, newest first; ``limit`` is 1 to 1000."""
        return await self.repository.find(
            limit=limit,
            include_deleted=include_deleted,
            into=None,
            fresh=fresh,
            **self._of_user(user_id, session_type, status, symbol),
        )

    async def page_user_sessions(
        self,
        user_id: str,
        page: int = 1,
        per_page: int = 20,
        *,
        session_type: str | None = None,
        status: str | None = None,
        fresh: bool = False,
    ) -> Page[S]:
        """One numbered page of a user's sessions, newest first; ``per_page`` is 1 to 200."""
        return await self.repository.page(
            page=page,
            per_page=per_page,
            fresh=fresh,
            **self._of_user(user_id, session_type, status),
        )

    async def scroll_user_sessions(
        self,
        user_id: str,
        cursor: str | None = None,
        limit: int = 100,
        *,
        session_type: str | None = None,
        status: str | None = None,
        symbol: str | None = None,
        include_deleted: bool = False,
        fresh: bool = False,
    ) -> CursorPage[S]:
        """The sessions of a user behind a cursor, newest first: as fast at the end as at the beginning."""
        return await self.repository.scroll(
            cursor=cursor,
            limit=limit,
            include_deleted=include_deleted,
            fresh=fresh,
            **self._of_user(user_id, session_type, status, symbol),
        )

    @overload
    async def count_user_sessions(
        self, user_id: str, *, by: None = None, fresh: bool = False
    ) -> int: ...
    @overload
    async def count_user_sessions(
        self, user_id: str, *, by: Literal["status", "session_type"], fresh: bool = False
    ) -> dict[str, int]: ...
    async def count_user_sessions(
        self,
        user_id: str,
        *,
        by: Literal["status", "session_type"] | None = None,
        fresh: bool = False,
    ) -> int | dict[str, int]:
        """How many sessions a user has, or how many of each status or type."""
        if by is None:
            return await self.repository.count(user_id=user(user_id), fresh=fresh)
        if by not in ("status", "session_type"):
            raise ValidationError.of("by", "is to be status or session_type")
        return await self.repository.count_by(by, user_id=user(user_id), fresh=fresh)

    async def get_history(
        self, session_id: UUID | str, *, owner: str | None = None, fresh: bool = False
    ) -> list[SessionEventDTO]:
        """Every move of a session, the first one first; of a deleted session too."""
        key = self._key(session_id, "session_id")
        if owner is not None and not await self.repository.exists(
            id=key, owner=owner, include_deleted=True, fresh=fresh
        ):
            return []
        events: list[SessionEventDTO] = []
        cursor: str | None = None
        while True:
            part = await self.events.scroll(
                order_by=("at", "id"), limit=1000, cursor=cursor, fresh=fresh, session_id=key
            )
            events += part.items
            cursor = part.next_cursor
            if cursor is None:
                return events

    # Writing

    async def create_session(
        self,
        user_id: str,
        session_type: str,
        metadata: Mapping[str, Any] | None = None,
        *,
        id: UUID | str | None = None,
    ) -> S:
        """Begin a session.

        Raises:
            ValidationError: naming what does not fit, such as an unknown session type.
            ConflictError: there is a session with this ``id``.
        """
        values: dict[str, Any] = {
            "user_id": user_id,
            "session_type": session_type,
            "metadata": {} if metadata is None else metadata,
        }
        if id is not None:
            values["id"] = self._key(id)
        return await self._creating(values, self._store)

    async def update_session(
        self,
        session_id: UUID | str,
        *,
        status: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        merge: bool = True,
        owner: str | None = None,
        expected_version: int | None = None,
    ) -> S:
        """Change status or metadata. The status it has already is no move.

        Args:
            merge: keep the keys of the stored metadata that the new one does not have.

        Raises:
            NotFoundError: there is no such session, or it is another owner's.
            StaleDataError: it has another version than ``expected_version`` by now.
            ValidationError: the status may not follow the present one.
        """
        changes: dict[str, Any] = {}
        if status is not None:
            changes["status"] = status
        if metadata is not None:
            changes["metadata"] = json_object(metadata, "metadata")
        return await self._changing(
            self._key(session_id, "session_id"),
            changes,
            merge=("metadata",) if check_flag("merge", merge) and "metadata" in changes else (),
            owner=owner,
            expected_version=expected_version,
        )

    async def complete_session(
        self, session_id: UUID | str, result: Any = None, *, owner: str | None = None
    ) -> S:
        """Complete a session, and keep its result, a JSON value, under ``metadata["result"]``.

        Raises:
            NotFoundError: there is no such session, or it is another owner's.
            ValidationError: it may not be completed, or is already.
        """
        changes: dict[str, Any] = {"status": "completed"}
        if result is not None:
            changes["metadata"] = {"result": result}
        return await self._changing(
            self._key(session_id, "session_id"),
            changes,
            merge=("metadata",) if result is not None else (),
            owner=owner,
            must_move=True,
        )

    async def transition(
        self,
        session_id: UUID | str,
        to: str,
        *,
        reason: str | None = None,
        owner: str | None = None,
    ) -> S:
        """Make one move, and say why in the history.

        Raises:
            NotFoundError: there is no such session, or it is another owner's.
            ValidationError: there is no such status, or it may not follow the present one.
        """
        key = self._key(session_id, "session_id")
        if to == DELETED:
            return await self._deleting(key, lambda: self._mark_deleted(key, owner, reason))
        return await self._changing(key, {"status": to}, owner=owner, reason=reason, must_move=True)

    async def delete_session(
        self,
        session_id: UUID | str,
        user_id: str,
        hard_delete: bool = False,  # noqa: FBT001, FBT002  # read as the last word: delete_session(id, user, True)
    ) -> None:
        """Delete a session of this user; it can be restored unless ``hard_delete``, which takes its research with it.

        Raises:
            NotFoundError: there is no such session, or it is another user's.
        """
        await self.delete(
            self._key(session_id, "session_id"), owner=user(user_id), hard=hard_delete
        )

    async def restore_session(self, session_id: UUID | str, user_id: str) -> S:
        """Bring a deleted session of this user back, with the status that it had.

        Raises:
            NotFoundError: there is no such session, or it is another user's.
        """
        return await self.restore(self._key(session_id, "session_id"), owner=user(user_id))

    # Inside

    def _of_user(
        self,
        user_id: str,
        session_type: str | None,
        status: str | None,
        symbol: str | None = None,
    ) -> dict[str, Any]:
        """The filters that narrow a list of one user's sessions."""
        equals: dict[str, Any] = {"user_id": user(user_id)}
        if session_type is not None:
            equals["session_type"] = self._check_type(session_type)
        if status is not None:
            equals["status"] = status if status == DELETED else self.moves.check_known(status)
        if symbol is not None:
            equals["symbol"] = symbol
        return equals
