"""The service of one model: every verb that a model by itself allows."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import UUID

from typing_extensions import TypeVar

from timber.dto import DTO, InputDTO, Page, SearchHit, SearchMode
from timber.errors import ConflictError, NotFoundError
from timber.repository.source import check_names, listed
from timber.services.foundation import Foundation, Values
from timber.services.guard import one_read

D = TypeVar("D", bound=DTO)

OrderBy = str | tuple[str, ...] | list[str] | None


class Service(Foundation[D]):
    """The verbs of one model, and the place for a domain's own methods and rules.

    Subclass it with the DTO of its rows, ``class InvoiceService(Service[InvoiceRead])``, and set ``model``. Every verb
    joins the unit of work of its task or runs alone. A hook that a subclass overrides (``before_create``, ``after_create``
    and likewise update and delete) runs in one transaction with its write: an error in it undoes both. An error that
    leaves a method after it has written dooms the unit of work around it.
    """

    # Verbs that write

    async def create(
        self, values: InputDTO | Mapping[str, object], *, id: UUID | str | None = None
    ) -> D:
        """Store a new row.

        Args:
            values: an input DTO or a mapping of columns.
            id: the key, where the caller has made one.

        Raises:
            ValidationError: naming each field that does not fit; nothing has been sent.
            ConflictError: a constraint of the table refused the row.
        """
        return await self._creating(self._new_fields(values, id), self._store)

    async def create_many(
        self, items: Iterable[InputDTO | Mapping[str, object]]
    ) -> builtins.list[Any]:
        """Store many rows by COPY and give their keys in order: all of them or none.

        Hooks for new rows see each row.

        Raises:
            ValidationError: naming position and field, like ``3.title``; nothing has been sent.
        """
        rows = [self._new_fields(item, at=f"{index}.") for index, item in enumerate(listed(items))]
        return await self._creating_many(rows, self._store_many)

    async def update(
        self,
        id: UUID | str,
        changes: InputDTO | Mapping[str, object],
        *,
        merge: Iterable[str] = (),
        owner: str | None = None,
        expected_version: int | None = None,
    ) -> D:
        """Change columns of one row, and give the row as it is then.

        Args:
            merge: JSON columns whose new value is merged into the stored one at the top level.
            expected_version: the version the change was made from.

        Raises:
            NotFoundError: there is no such row, or it is another owner's.
            StaleDataError: the row has another version by now.
        """
        key = self._key(id)

        async def write(fields: Values) -> D:
            return await self.repository.update(
                key, fields, merge=merge, owner=owner, expected_version=expected_version
            )

        return await self._updating(key, self._changed_fields(changes), write)

    async def upsert(
        self,
        values: InputDTO | Mapping[str, object],
        *,
        on: str | Iterable[str] = (),
        update: str | Iterable[str] | None = None,
    ) -> D:
        """Store a new row or, if there is one with the same ``on`` columns, change that one.

        Where there are hooks, those for new or for changed rows run, whichever it turns out to be.

        Args:
            on: columns with a unique constraint; the key where nothing is said.
            update: the columns to change in an existing row; all that were given where nothing is said.

        Raises:
            ConflictError: the existing row is another owner's.
        """
        fields = self._new_fields(values)
        target = check_names(on, "on") or (self.repository.config.primary_key,)
        update = None if update is None else check_names(update, "update")
        if self._hooked & {"create", "update"}:
            return await self._upsert_with_hooks(fields, target, update)
        given = fields if isinstance(values, Mapping) else values
        dto = await self.repository.upsert(given, on=target, update=update)
        self._log("Stored", self._key_of(dto))
        return dto

    async def delete(self, id: UUID | str, *, hard: bool = False, owner: str | None = None) -> None:
        """Delete one row: where the model has SoftDelete it is marked, unless ``hard``.

        Raises:
            NotFoundError: there is no such row, or it is another owner's.
        """
        key = self._key(id)

        async def write() -> None:
            await self.repository.delete(key, hard=hard, owner=owner)

        await self._deleting(key, write)

    async def restore(self, id: UUID | str, *, owner: str | None = None) -> D:
        """Bring a soft-deleted row back; to hooks it is an update.

        Raises:
            NotFoundError: there is no such row, or it is another owner's.
        """
        key = self._key(id)

        async def write(_changes: Values) -> D:
            return await self.repository.restore(key, owner=owner)

        return await self._updating(key, {"deleted_at": None}, write)

    # Verbs that read

    @one_read
    async def get(self, id: UUID | str, *, owner: str | None = None, fresh: bool = False) -> D:
        """The row with this key.

        Raises:
            NotFoundError: there is none, or it is another owner's.
        """
        return await self.repository.get(id, owner=owner, fresh=fresh)

    @one_read
    async def get_or_none(
        self, id: UUID | str, *, owner: str | None = None, fresh: bool = False
    ) -> D | None:
        """The row with this key, None if there is none or it is another owner's."""
        return await self.repository.get_or_none(id, owner=owner, fresh=fresh)

    async def list(
        self,
        *filters: object,
        order_by: OrderBy = None,
        limit: int = 100,
        owner: str | None = None,
        include_deleted: bool = False,
        fresh: bool = False,
        **equals: Any,
    ) -> builtins.list[D]:
        """The rows that meet every filter, newest first where nothing else is said; ``limit`` is 1 to 1000."""
        return await self.repository.find(
            *filters,
            order_by=order_by,
            limit=limit,
            owner=owner,
            include_deleted=include_deleted,
            into=None,
            fresh=fresh,
            **equals,
        )

    async def page(
        self,
        *filters: object,
        page: int = 1,
        per_page: int = 20,
        order_by: OrderBy = None,
        owner: str | None = None,
        include_deleted: bool = False,
        fresh: bool = False,
        **equals: Any,
    ) -> Page[D]:
        """One numbered page and the number of all rows; ``per_page`` is 1 to 200."""
        return await self.repository.page(
            *filters,
            page=page,
            per_page=per_page,
            order_by=order_by,
            owner=owner,
            include_deleted=include_deleted,
            fresh=fresh,
            **equals,
        )

    async def count(
        self,
        *filters: object,
        owner: str | None = None,
        include_deleted: bool = False,
        fresh: bool = False,
        **equals: Any,
    ) -> int:
        """How many rows meet every filter."""
        return await self.repository.count(
            *filters, owner=owner, include_deleted=include_deleted, fresh=fresh, **equals
        )

    async def exists(
        self,
        *filters: object,
        owner: str | None = None,
        include_deleted: bool = False,
        fresh: bool = False,
        **equals: Any,
    ) -> bool:
        """Whether any row meets every filter."""
        return await self.repository.exists(
            *filters, owner=owner, include_deleted=include_deleted, fresh=fresh, **equals
        )

    def stream(
        self,
        *filters: object,
        batch: int = 1000,
        order_by: OrderBy = None,
        owner: str | None = None,
        include_deleted: bool = False,
        **equals: Any,
    ) -> AbstractAsyncContextManager[AsyncIterator[D]]:
        """All rows that meet the filters, any number in bounded memory: ``async with`` gives an async iterator."""
        return self.repository.stream(
            *filters,
            batch=batch,
            order_by=order_by,
            owner=owner,
            include_deleted=include_deleted,
            into=None,
            **equals,
        )

    async def search(
        self,
        query: str,
        *filters: object,
        mode: SearchMode | None = None,
        limit: int = 20,
        owner: str | None = None,
        include_deleted: bool = False,
        **equals: Any,
    ) -> builtins.list[SearchHit[D]]:
        """The rows whose text matches, best first.

        Args:
            mode: ``keyword`` for the words, ``semantic`` for the meaning, ``hybrid`` for both; where nothing is said,
                whatever the model declares.

        Raises:
            UsageError: the model declares no search, or no embedding.
        """
        return await self.repository.search(
            query,
            *filters,
            mode=mode,
            limit=limit,
            owner=owner,
            include_deleted=include_deleted,
            **equals,
        )

    # Inside: what a domain with rules of its own replaces

    async def _store(self, values: Values) -> D:
        return await self.repository.insert(values)

    async def _store_many(self, rows: builtins.list[Values]) -> builtins.list[Any]:
        return await self.repository.insert_many(rows)

    async def _upsert_with_hooks(
        self, fields: Values, target: tuple[str, ...], update: Iterable[str] | None
    ) -> D:
        config = self.repository.config
        async with self.db.join_or_begin() as unit:
            try:
                async with unit.savepoint():
                    return await self._creating(fields, self._store)
            except ConflictError:
                same = {name: fields[name] for name in target}
                found = await self.repository.find_one(include_deleted=True, **same)
                if found is None:
                    raise
            key = self._key_of(found)
            owner = fields.get(config.owner) if config.owner is not None else None
            kept = {*target, config.primary_key, config.owner}
            changed = fields if update is None else update
            changes = {name: fields[name] for name in changed if name not in kept}
            if config.soft_delete:
                changes["deleted_at"] = None

            async def write(values: Values) -> D:
                try:
                    return await self.repository.update(
                        key, values, owner=owner, include_deleted=True
                    )
                except NotFoundError as error:
                    raise ConflictError(
                        f"This {self.name} exists already and belongs to somebody else."
                    ) from error

            return await self._updating(key, changes, write)
