"""Insert or change, whichever it turns out to be, in one statement."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.dialects.postgresql import insert

from timber.database.statements import parameter
from timber.errors import ConflictError, ValidationError
from timber.repository.proving import TOKEN, Proving
from timber.repository.rows import given_names
from timber.repository.source import check_names

if TYPE_CHECKING:
    from collections.abc import Iterable

    from timber.database.statements import Statement

D = TypeVar("D", bound=BaseModel)


class Upserting(Proving[D]):
    """Stores rows of one model that may be there already."""

    async def upsert(
        self,
        values: object,
        *,
        on: str | Iterable[str] | None = None,
        update: str | Iterable[str] | None = None,
    ) -> D:
        """Insert a row or, if there is one with the same ``on`` columns, change that one.

        A row that was soft-deleted comes back.

        Args:
            values: an input DTO or a mapping of columns, complete as for an insert.
            on: columns that are unique together; the key where nothing is said.
            update: the columns to change in an existing row; all that were given where nothing is said.

        Raises:
            ConflictError: the existing row is another owner's, or another constraint refused the row.
            ValidationError: naming each field that does not fit; nothing has been sent.
        """
        row = self._rows.new(values)
        target = self._check_target(on)
        given = frozenset(given_names(values))
        changed = self._check_changed([name for name in row if name in given], target, update)
        if self.source.config.versioned:
            row[TOKEN] = secrets.randbits(62)
        statement = self._upserting(tuple(row), target, changed)
        rows = await self.db.write(
            statement, self._bind(statement, row), check=self._proof_of_upsert(row, target)
        )
        if not rows:
            raise ConflictError(
                f"This {self.source.name} exists already and belongs to somebody else."
            )
        return (await self._load(self.dto, rows))[0]

    def _check_target(self, on: str | Iterable[str] | None) -> tuple[str, ...]:
        source = self.source
        target = check_names(on or (), "on") or (source.key,)
        for name in target:
            source.column(name, "on")
        if frozenset(target) not in _unique_together(source.table):
            raise ValidationError.of(
                "on", f"{', '.join(target)}: the model declares no unique constraint of that"
            )
        return target

    def _check_changed(
        self, given: list[str], target: tuple[str, ...], update: str | Iterable[str] | None
    ) -> tuple[str, ...]:
        source = self.source
        kept = {*target, source.key}
        if source.config.versioned:
            kept |= {"version", TOKEN}
        if update is None:
            return tuple(name for name in given if name not in kept)
        wanted = check_names(update, "update")
        for name in wanted:
            source.column(name, "update")
            if name not in given:
                raise ValidationError.of("update", f"{name!r} is to be changed, but is not given")
            if name in kept and name not in target:
                raise ValidationError.of("update", f"{name!r} cannot be changed")
        return tuple(name for name in given if name in wanted and name not in kept)

    def _upserting(
        self, names: tuple[str, ...], target: tuple[str, ...], changed: tuple[str, ...]
    ) -> Statement:
        def build() -> Statement:
            table = self.source.table
            config = self.source.config
            inserting = insert(table).values(
                {name: parameter(name, table.c[name].type) for name in names}
            )
            # A row that exists is written even if nothing changes, so that it can be returned.
            set_: dict[str, Any] = {
                name: inserting.excluded[name] for name in (*changed, *target[:1])
            }
            if config.timestamps:
                set_.setdefault("updated_at", inserting.excluded.updated_at)
            if "Actor" in config.mixins:
                set_.setdefault("updated_by", inserting.excluded.updated_by)
            if config.versioned:
                set_["version"] = table.c.version + sa.literal_column("1")
                set_[TOKEN] = inserting.excluded[TOKEN]
            if config.soft_delete:
                set_.setdefault("deleted_at", None)
            same_owner = None
            if config.owner is not None and config.owner not in target:
                same_owner = table.c[config.owner].is_not_distinct_from(
                    inserting.excluded[config.owner]
                )
            statement = inserting.on_conflict_do_update(
                index_elements=list(target), set_=set_, where=same_owner
            )
            return self._compile(statement.returning(*self._selected(self.dto)), "upsert")

        return self._statement(("upsert", names, target, changed), build)


def _unique_together(table: sa.Table) -> set[frozenset[str]]:
    """The columns of each unique constraint and index that holds for all rows."""
    found = {frozenset(column.name for column in table.primary_key.columns)}
    found |= {
        frozenset(column.name for column in constraint.columns)
        for constraint in table.constraints
        if isinstance(constraint, sa.UniqueConstraint)
    }
    found |= {
        frozenset(column.name for column in index.columns)
        for index in table.indexes
        if index.unique
        and index.dialect_options["postgresql"]["where"] is None
        and all(isinstance(getattr(e, "element", e), sa.Column) for e in index.expressions)
    }
    return found
