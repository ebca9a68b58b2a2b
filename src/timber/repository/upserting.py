"""Insert or change, whichever it turns out to be, in one statement."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.dialects.postgresql import insert

from timber.database.statements import parameter
from timber.errors import ConflictError, ValidationError
from timber.features.feature import Write
from timber.repository.proving import TOKEN
from timber.repository.rows import given_names
from timber.repository.source import check_names
from timber.repository.writing import Writing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from timber.database.statements import Statement
    from timber.repository.rows import Row

D = TypeVar("D", bound=BaseModel)

_TRIES = 10


class Upserting(Writing[D]):
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
        # The owner of an existing row is the same, or the row is left alone.
        kept = {self.source.config.owner}
        cache = self._cache
        moves = cache is not None and (
            cache.moves(set(changed) - kept) or bool(cache.model.followers(changed))
        )
        if self._features is not None or moves:
            return await self._upsert_by_key(row, target, changed)
        if self.source.config.versioned:
            row[TOKEN] = secrets.randbits(62)
        rows = await self._send(
            Write("insert", [row], None),
            lambda needs: self._upserting(tuple(row), target, changed, needs),
            lambda statement: self._bind(statement, row),
            check=self._proof_of_upsert(row, target),
        )
        if not rows:
            raise self._somebody_elses()
        return (await self._load_written(rows))[0]

    async def _upsert_by_key(
        self, row: Row, target: tuple[str, ...], changed: tuple[str, ...]
    ) -> D:
        """The same where it has to be known which row it is, and whether it is there: that is found out first."""
        looked_for = row
        async with self.db.join_or_begin():
            for _ in range(_TRIES):
                locked = self._looking_up(target)
                found = await self.db.fetch(locked, locked.bind(looked_for))
                if found:
                    rows = await self._change_found(row, found[0], changed)
                else:
                    # As features have shaped it, so that it is found if it is there.
                    rows, looked_for = await self._insert_missing(row, target)
                if rows:
                    return (await self._load_written(rows))[0]
                # Somebody else has inserted it, or deleted it, between the two statements.
            raise ConflictError(
                f"A {self.source.name} with the same {', '.join(target)} is there and cannot be found by these columns: is one "
                "of them NULL?"
            )

    async def _change_found(self, row: Row, found: Any, changed: tuple[str, ...]) -> list[Any]:
        config = self.source.config
        if config.owner is not None and found[config.owner] != row[config.owner]:
            raise self._somebody_elses()
        changes = {name: row[name] for name in changed}
        if config.soft_delete:
            changes["deleted_at"] = None
        if not changes:
            key = self._by_key(self.dto, owned=False, live=False)
            return await self.db.fetch(key, [found[self.source.key]])
        return await self._change(changes, {"key": found[self.source.key]}, state="any")

    async def _insert_missing(self, row: Row, target: tuple[str, ...]) -> tuple[list[Any], Row]:
        new = dict(row)  # features write into it, and it may be tried again
        write = Write("insert", [new], self._keys_of([new]))
        if self._features is not None:
            await self._features.before_insert(write)
        rows = await self._send(
            write,
            lambda needs: self._inserting(tuple(new), needs, unless=target),
            lambda statement: self._bind(statement, new),
        )
        return rows, new

    def _somebody_elses(self) -> ConflictError:
        return ConflictError(
            f"This {self.source.name} exists already and belongs to somebody else."
        )

    def _looking_up(self, target: tuple[str, ...]) -> Statement:
        def build() -> Statement:
            owner = self.source.config.owner
            table = self.source.table
            statement = sa.select(
                *self._columns((self.source.key, *([owner] if owner is not None else [])))
            )
            same = (table.c[name] == parameter(name, table.c[name].type) for name in target)
            return self._compile(statement.where(*same).with_for_update(), "look for")

        return self._statement(("look_up", target), build)

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
        self,
        names: tuple[str, ...],
        target: tuple[str, ...],
        changed: tuple[str, ...],
        needs: tuple[str, ...],
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
            return self._compile(statement.returning(*self._selected(self.dto, *needs)), "upsert")

        return self._statement(("upsert", names, target, changed, needs), build)


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
