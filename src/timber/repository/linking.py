"""Many-to-many links of a row: added, removed and set."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as pg_insert

from timber.database.statements import parameter
from timber.errors import ConflictError, NotFoundError, UsageError, ValidationError
from timber.features.feature import Write
from timber.models.values import column_adapter
from timber.repository.sending import Sending
from timber.repository.source import listed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from timber.database.statements import Statement

D = TypeVar("D", bound=BaseModel)


class Linking(Sending[D]):
    """Links rows of one model to rows of others through association tables."""

    async def add_links(
        self, id: object, relationship: str, others: Iterable[object], *, owner: str | None = None
    ) -> int:
        """Link a row to others; links that are there already stay. The number of new ones.

        Raises:
            NotFoundError: the row, or one of the others, is not there.
        """
        return await self._changing_links(
            relationship,
            lambda: self._ends(id, relationship, others, owner),
            lambda key, keys: self._add_links(relationship, key, keys),
        )

    async def _add_links(self, relationship: str, key: Any, keys: list[Any]) -> int:
        if not keys:
            return 0
        table, near, far = self._link(relationship)

        def build() -> Statement:
            rows = sa.func.unnest(parameter("far", ARRAY(far.type))).table_valued(
                sa.column("far", far.type)
            )
            chosen = sa.select(parameter("near", near.type), rows.render_derived(name="rows").c.far)
            statement = (
                pg_insert(table).from_select([near.name, far.name], chosen).on_conflict_do_nothing()
            )
            return self._compile(statement, f"add_links {relationship} of")

        statement = self._statement(("add_links", relationship), build)
        try:
            return await self.db.execute(statement, statement.bind({"near": key, "far": keys}))
        except ConflictError as error:
            raise NotFoundError(
                f"One of the rows to link as {relationship!r} does not exist."
            ) from error

    async def remove_links(
        self, id: object, relationship: str, others: Iterable[object], *, owner: str | None = None
    ) -> int:
        """Unlink a row from others; the number of links that were there."""
        return await self._changing_links(
            relationship,
            lambda: self._ends(id, relationship, others, owner),
            lambda key, keys: self._remove_links(relationship, key, keys),
        )

    async def _remove_links(self, relationship: str, key: Any, keys: list[Any]) -> int:
        table, near, far = self._link(relationship)

        def build() -> Statement:
            statement = table.delete().where(
                near == parameter("near", near.type),
                far == sa.any_(parameter("far", ARRAY(far.type))),
            )
            return self._compile(statement, f"remove_links {relationship} of")

        statement = self._statement(("remove_links", relationship), build)
        return await self.db.execute(statement, statement.bind({"near": key, "far": keys}))

    async def set_links(
        self, id: object, relationship: str, others: Iterable[object], *, owner: str | None = None
    ) -> None:
        """Link a row to exactly these others, in one transaction."""
        table, near, far = self._link(relationship)
        chosen = list(listed(others, relationship))

        def build() -> Statement:
            statement = table.delete().where(
                near == parameter("near", near.type),
                far != sa.all_(parameter("far", ARRAY(far.type))),
            )
            return self._compile(statement, f"set_links {relationship} of")

        async def write(key: Any, keys: list[Any]) -> int:
            statement = self._statement(("set_links", relationship), build)
            removed = await self.db.execute(statement, statement.bind({"near": key, "far": keys}))
            return removed + await self._add_links(relationship, key, keys)

        async with self.db.join_or_begin():
            await self._changing_links(
                relationship, lambda: self._ends(id, relationship, chosen, owner), write
            )

    async def _changing_links(
        self,
        relationship: str,
        ends: Callable[[], Awaitable[tuple[Any, list[Any]]]],
        write: Callable[[Any, list[Any]], Awaitable[int]],
    ) -> int:
        """Change links, and write what goes with a change of the row."""
        if not self._has_beside:
            return await write(*await ends())
        async with self.db.join_or_begin():
            key, keys = await ends()
            count = await write(key, keys)
            if count:
                await self._send_beside(Write("update", [{relationship: keys}], [key]), [key])
        return count

    async def _ends(
        self, id: object, relationship: str, others: Iterable[object], owner: str | None
    ) -> tuple[Any, list[Any]]:
        """Both ends of the links, checked; the row itself has to be there and, with ``owner``, theirs."""
        self._link(relationship)
        check = self._far_check(relationship)
        keys = list(
            dict.fromkeys(check(other, relationship) for other in listed(others, relationship))
        )
        key = self.source.check_key(id)
        live = self.source.hides_deleted(include_deleted=False)
        statement = self._by_key(self.dto, owned=owner is not None, live=live)
        if not await self.db.fetch(statement, statement.bind(self._this(key, owner))):
            raise self._not_found()
        return key, keys

    def _far_check(self, relationship: str) -> Any:
        other = sa.inspect(self.model).relationships[relationship].mapper.class_.__model_config__
        validate = column_adapter(other.column(other.primary_key)).validate_python

        def check(value: object, field: str) -> Any:
            try:
                return validate(value)
            except ValueError:
                raise ValidationError.of(field, f"is not a key of {other.name}") from None

        return check

    def _link(self, relationship: str) -> tuple[Any, sa.Column[Any], sa.Column[Any]]:
        """The association table and its columns for this row and the others."""
        if not isinstance(relationship, str):
            raise ValidationError.of("relationship", "is to be the name of one")
        found = sa.inspect(self.model).relationships.get(relationship)
        if found is None:
            raise ValidationError.of(relationship, f"is not a relationship of {self.source.name}")
        if found.secondary is None:
            raise UsageError(
                f"{self.source.name}.{relationship} is not many-to-many: set the column with the reference instead."
            )
        _, near = found.synchronize_pairs[0]
        _, far = found.secondary_synchronize_pairs[0]
        return found.secondary, near, far
