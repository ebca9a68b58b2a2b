"""Research: results that belong to a user, often within a session, and can be searched by their text."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

from typing_extensions import TypeVar

from timber.dto import CursorPage, SearchHit, SearchMode
from timber.errors import NotFoundError, UsageError, ValidationError
from timber.repository.source import check_flag
from timber.services.arguments import duration, json_object, text, user
from timber.services.guard import one_read
from timber.services.research_dtos import ResearchCreate, ResearchDTO
from timber.services.research_rules import RuledResearch

__all__ = ["ResearchCreate", "ResearchDTO", "ResearchService"]

R = TypeVar("R", bound=ResearchDTO, default=ResearchDTO)


class ResearchService(RuledResearch[R]):
    """Results of research; what is computed for a key is stored like any other."""

    # Writing

    async def save_research(
        self,
        session_id: UUID | str,
        content: Any,
        research_type: str,
        metadata: Mapping[str, Any] | None = None,
        *,
        title: str | None = None,
        user_id: str | None = None,
    ) -> R:
        """Store a result within a session; it belongs to ``user_id``, else to the session's user.

        Args:
            content: any JSON value but null.

        Raises:
            NotFoundError: there is no such session.
            ValidationError: naming what does not fit.
        """
        values: dict[str, Any] = {
            "session_id": self._key(session_id, "session_id"),
            "user_id": user_id,
            "research_type": research_type,
            "title": title,
            "content": content,
            "metadata": {} if metadata is None else metadata,
        }
        return await self._creating(values, self._store)

    async def save_many(self, items: Iterable[ResearchCreate | Mapping[str, object]]) -> list[UUID]:
        """Store many results by COPY and give their ids in order: all of them or none.

        Raises:
            NotFoundError: one of the sessions does not exist.
            ValidationError: naming position and field, like ``3.title``; nothing has been sent.
        """
        return await self.create_many(items)

    async def update_research(
        self,
        research_id: UUID | str,
        *,
        content: Any = None,
        metadata: Mapping[str, Any] | None = None,
        merge: bool = False,
        owner: str | None = None,
        expected_version: int | None = None,
    ) -> R:
        """Replace content or metadata, or with ``merge`` only those of their keys that are given.

        Raises:
            NotFoundError: there is no such result, or it is another owner's.
            StaleDataError: it has another version than ``expected_version`` by now.
        """
        merge = check_flag("merge", merge)
        changes: dict[str, Any] = {}
        if content is not None:
            changes["content"] = json_object(content, "content") if merge else content
        if metadata is not None:
            changes["metadata"] = json_object(metadata, "metadata")
        return await self.update(
            self._key(research_id, "research_id"),
            changes,
            merge=tuple(changes) if merge else (),
            owner=owner,
            expected_version=expected_version,
        )

    async def delete_research(
        self, research_id: UUID | str, *, owner: str | None = None, hard_delete: bool = False
    ) -> None:
        """Delete a result; it can be restored unless ``hard_delete``.

        Raises:
            NotFoundError: there is no such result, or it is another owner's.
        """
        await self.delete(self._key(research_id, "research_id"), owner=owner, hard=hard_delete)

    # Reading

    @one_read
    async def get_research(
        self, research_id: UUID | str, *, owner: str | None = None, fresh: bool = False
    ) -> R | None:
        """The result, None if there is none or it is another owner's."""
        key = self._key(research_id, "research_id")
        return await self.repository.get_or_none(key, owner=owner, fresh=fresh)

    async def get_session_research(
        self,
        session_id: UUID | str,
        research_type: str | None = None,
        *,
        owner: str | None = None,
        limit: int = 100,
        fresh: bool = False,
    ) -> list[R]:
        """The results within a session, newest first; ``limit`` is 1 to 1000."""
        equals = _narrowed(session_id=self._key(session_id, "session_id"), type=research_type)
        return await self.repository.find(
            owner=owner, limit=limit, into=None, fresh=fresh, **equals
        )

    async def get_user_research(
        self,
        user_id: str,
        research_type: str | None = None,
        *,
        cursor: str | None = None,
        limit: int = 100,
        fresh: bool = False,
    ) -> CursorPage[R]:
        """The results of a user behind a cursor, newest first."""
        equals = _narrowed(user_id=user(user_id), type=research_type)
        return await self.repository.scroll(cursor=cursor, limit=limit, fresh=fresh, **equals)

    async def search_research(
        self,
        query: str,
        *,
        mode: SearchMode | None = None,
        owner: str | None = None,
        session_id: UUID | str | None = None,
        research_type: str | None = None,
        limit: int = 20,
    ) -> list[SearchHit[R]]:
        """The results whose title or content matches ``query``, best first.

        Args:
            query: words as people type them: quotes hold a phrase together, ``or`` and ``-`` work.
            mode: ``keyword`` for the words; ``semantic`` for the meaning and ``hybrid`` for both need an embedding, which
                ``extends: ResearchData`` can declare. Where nothing is said, whatever is declared.

        Raises:
            UsageError: ``semantic`` and ``hybrid`` need an embedding.
        """
        key = None if session_id is None else self._key(session_id, "session_id")
        equals = _narrowed(session_id=key, type=research_type)
        return await self.repository.search(
            query, mode=mode, limit=limit, owner=owner, include_deleted=False, **equals
        )

    async def get_or_compute(
        self,
        key: str,
        loader: Callable[[], Awaitable[Any]],
        *,
        max_age: timedelta | float,
        session_id: UUID | str | None = None,
        research_type: str = "computed",
    ) -> R:
        """The result stored for ``key`` if it is not older than ``max_age``, else the one that ``loader`` gives now.

        The loader is awaited outside of any transaction, and for one key by one process at a time; the lease of one that
        died with it runs out. Those who wait in its process get its error, those elsewhere try in turn. Nothing is stored
        for a failure. A new result takes the place of the older one.

        Args:
            loader: gives the content, any JSON value but null.
            max_age: how old a stored result may be; a number is of seconds.

        Raises:
            NotFoundError: there is no such session.
            UsageError: inside a unit of work, whose connection the loader would keep from others.
        """
        if self.db.current() is not None:
            raise UsageError(
                "get_or_compute() inside a unit of work would hold its connection and locks while the loader works: "
                "call it before the unit of work."
            )
        if not callable(loader):
            raise ValidationError.of("loader", "is to be a function that is awaited")
        oldest = duration(max_age, "max_age")
        session = None if session_id is None else self._key(session_id, "session_id")
        digest = sha256(text(key, "key").encode("utf-8", "surrogatepass")).hexdigest()
        last: R | None = None

        async def find() -> R | None:
            nonlocal last
            last = await self.repository.find_one(source_hash=digest, order_by="-updated_at")
            return last if last is not None and last.updated_at >= self.clock() - oldest else None

        async def compute() -> R:
            user_id = None if session is None else (await self._owners({session}))[session]
            awaited: object = loader()
            if not isinstance(awaited, Awaitable):
                raise UsageError(
                    "get_or_compute() awaits what its loader gives: make it `async def`."
                )
            content = await awaited
            if last is not None:
                try:
                    return await self.update(last.id, {"content": content})
                except NotFoundError:
                    pass  # deleted meanwhile
            values = {
                "session_id": session,
                "user_id": user_id,
                "research_type": research_type,
                "content": content,
                "source_hash": digest,
            }
            return await self._creating(self._checked(values), self._insert)

        return await self._computing.find_or_compute(digest, find, compute)


def _narrowed(*, type: str | None, **equals: Any) -> dict[str, Any]:
    """Filters by equality; those that are None narrow nothing."""
    equals["research_type"] = type
    return {name: value for name, value in equals.items() if value is not None}
