"""Notifications: messages to users, delivered as they are committed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

from typing_extensions import TypeVar

from timber.database.manager import AsyncDatabaseManager
from timber.dto import DTO, CursorPage, InputDTO
from timber.errors import ConfigurationError, ValidationError
from timber.features.providers import Features
from timber.models.registry import ModelRegistry
from timber.repository.source import check_flag
from timber.repository.subscriptions import Subscription
from timber.services.arguments import json_object, text, user
from timber.services.base import Service
from timber.services.foundation import Values
from timber.services.guard import one_read
from timber.services.notification_dtos import NotificationCreate, NotificationDTO
from timber.services.templates import BUILT_IN, Priority, Template

if TYPE_CHECKING:
    from timber.cache.coherence.cache import CoherentCache

__all__ = ["NotificationCreate", "NotificationDTO", "NotificationService", "Template"]

N = TypeVar("N", bound=NotificationDTO, default=NotificationDTO)


class NotificationService(Service[N]):
    """Messages to users.

    ``expires_at`` says when a message may be removed: it is there until :meth:`purge_expired` has removed it.

    Args:
        templates: texts for :meth:`notify` beside the built-in ones, by name.
    """

    model = "Notification"
    dto: ClassVar[type[DTO] | None] = NotificationDTO

    def __init__(
        self,
        db: AsyncDatabaseManager,
        *,
        registry: ModelRegistry | None = None,
        clock: Callable[[], datetime] | None = None,
        dto: type[N] | None = None,
        features: Features | None = None,
        cache: CoherentCache | None = None,
        templates: Mapping[str, Template] | None = None,
    ) -> None:
        super().__init__(
            db, registry=registry, clock=clock, dto=dto, features=features, cache=cache
        )
        self._templates = {**BUILT_IN, **(templates or {})}

    # Writing

    async def create_notification(
        self,
        user_id: str,
        notification_type: str,
        *,
        title: str,
        content: str,
        metadata: Mapping[str, Any] | None = None,
        priority: Priority = "normal",
        expires_at: datetime | None = None,
    ) -> N:
        """Send a message to a user.

        Raises:
            ValidationError: naming each field that does not fit; nothing has been sent.
        """
        values: Values = {
            "user_id": user_id,
            "notification_type": notification_type,
            "title": title,
            "content": content,
            "metadata": {} if metadata is None else metadata,
            "priority": priority,
            "expires_at": expires_at,
        }
        return await self._creating(values, self._store)

    async def notify(self, user_id: str, template: str, context: Mapping[str, Any]) -> N:
        """Send a message made from a template; what the context puts into it is HTML-escaped.

        Raises:
            ValidationError: there is no such template, or naming each key that the context lacks.
        """
        found = self._templates.get(text(template, "template"))
        if found is None:
            known = ", ".join(sorted(self._templates))
            raise ValidationError.of("template", f"is not one of {known}")
        title, content = found.render(context)
        return await self.create_notification(
            user_id,
            found.notification_type,
            title=title,
            content=content,
            metadata={"template": template},
            priority=found.priority,
        )

    def register_template(self, name: str, template: Template) -> None:
        """Let :meth:`notify` know a further template.

        Raises:
            ConfigurationError: there is one of that name.
            ValidationError: the name is no text, or the template none.
        """
        if not isinstance(template, Template):
            raise ValidationError.of("template", "is to be a Template")
        name = text(name, "name")
        if name in self._templates:
            raise ConfigurationError(f"There is a template {name!r} already.")
        self._templates[name] = template

    async def mark_as_read(self, notification_id: UUID | str, *, owner: str | None = None) -> N:
        """Mark a message as read; one that has been read already stays as it is.

        Raises:
            NotFoundError: there is no such message, or it is another owner's.
        """
        key = self._key(notification_id, "notification_id")

        async def write(changes: Values) -> N:
            await self.repository.update_where(changes, owner=owner, id=key, is_read=False)
            return await self.repository.get(key, owner=owner, fresh=True)

        found = await self.repository.get(key, owner=owner)
        if found.is_read:
            return found
        return await self._updating(key, {"is_read": True, "read_at": self.clock()}, write)

    async def mark_all_as_read(self, user_id: str) -> int:
        """Mark every message of a user as read; how many were not. Hooks do not see them one by one."""
        number = await self.repository.update_where(
            {"is_read": True, "read_at": self.clock()}, user_id=user(user_id), is_read=False
        )
        self.logger.info("Marked %d rows of %s as read.", number, self.name)
        return number

    async def delete_notification(
        self, notification_id: UUID | str, *, owner: str | None = None
    ) -> None:
        """Delete a message.

        Raises:
            NotFoundError: there is no such message, or it is another owner's.
        """
        await self.delete(self._key(notification_id, "notification_id"), owner=owner)

    async def purge_expired(self, batch: int = 1000) -> int:
        """Delete every message whose time is over, of all users; how many there were.

        Several processes may do so at once. Hooks do not see the messages one by one.

        Args:
            batch: how many are deleted in one transaction, 1 to 10,000.
        """
        over = self.repository.where.expires_at <= self.clock()
        number = 0
        while True:
            deleted = await self.repository.trim(over, limit=batch)
            number += deleted
            if deleted < batch:
                break
        self.logger.info("Deleted %d expired rows of %s.", number, self.name)
        return number

    # Reading

    async def get_user_notifications(
        self,
        user_id: str,
        unread_only: bool = False,  # noqa: FBT001, FBT002  # read as a word: get_user_notifications(user, True)
        limit: int = 50,
        *,
        priority: Priority | None = None,
        cursor: str | None = None,
        fresh: bool = False,
    ) -> CursorPage[N]:
        """The messages of a user behind a cursor, newest first; ``limit`` is 1 to 1000."""
        equals: dict[str, Any] = {"user_id": user(user_id)}
        if check_flag("unread_only", unread_only):
            equals["is_read"] = False
        if priority is not None:
            equals["priority"] = priority
        return await self.repository.scroll(cursor=cursor, limit=limit, fresh=fresh, **equals)

    @one_read
    async def unread_count(self, user_id: str, *, fresh: bool = False) -> int:
        """How many messages a user has not read."""
        return await self.repository.count(user_id=user(user_id), is_read=False, fresh=fresh)

    def subscribe(self, user_id: str, after: str | None = None) -> Subscription[N]:
        """The messages of a user as they are committed, by whichever process: ``async with`` gives an async iterator.

        Each comes once, and none is passed over, also across lost connections and, with the cursor, across
        subscriptions: ``subscription.cursor`` is that of the last message given. Messages are read as they are asked for,
        so that a slow reader costs no memory.

        Args:
            after: the cursor of an earlier subscription of this user, to go on behind it; else only what is committed
                from now on comes.

        Raises:
            ValidationError: the cursor is damaged, or belongs to somebody else's subscription.
        """
        return self.repository.subscribe(user(user_id), after=after)

    # The rules of notifications

    async def update(
        self,
        id: UUID | str,
        changes: InputDTO | Mapping[str, object],
        *,
        merge: Iterable[str] = (),
        owner: str | None = None,
        expected_version: int | None = None,
    ) -> N:
        """Change columns of a message; whether it has been read is not among them.

        Raises:
            NotFoundError: there is no such message, or it is another owner's.
        """
        fields = self._changed_fields(changes)
        if "metadata" in fields:
            json_object(fields["metadata"], "metadata")
        return await super().update(
            id, changes, merge=merge, owner=owner, expected_version=expected_version
        )

    async def upsert(
        self,
        values: InputDTO | Mapping[str, object],
        *,
        on: Iterable[str] = (),
        update: Iterable[str] | None = None,
    ) -> N:
        """Store a new message or, if there is one with the same key, change that one, which sends nothing again.

        Raises:
            ConflictError: the existing message is another owner's.
        """
        _checked(self._new_fields(values))
        return await super().upsert(values, on=on, update=update)

    async def _store(self, values: Values) -> N:
        return await self.repository.insert(_checked(values))

    async def _store_many(self, rows: list[Values]) -> list[Any]:
        return await self.repository.insert_many(
            [_checked(row, f"{index}.") for index, row in enumerate(rows)]
        )


def _checked(values: Values, at: str = "") -> Values:
    user(values.get("user_id"), f"{at}user_id")
    if "metadata" not in values:
        return values
    return {**values, "metadata": json_object(values["metadata"], f"{at}metadata")}
