"""The writing verbs of a repository that touch one row."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.dialects.postgresql import JSONB, insert

from timber.database.statements import parameter
from timber.errors import ServiceError, StaleDataError, UsageError, ValidationError
from timber.features.feature import Write
from timber.repository.proving import TOKEN, Proving
from timber.repository.source import check_flag, check_names

if TYPE_CHECKING:
    from collections.abc import Iterable

    from timber.database.statements import Statement
    from timber.repository.rows import Row

D = TypeVar("D", bound=BaseModel)

State = Literal["any", "live", "deleted"]
"""Which rows an update may find, by their soft deletion."""


class Writing(Proving[D]):
    """Writes single rows of one model."""

    async def insert(self, values: object, *, id: object = None) -> D:
        """Store a new row, with a key made here unless ``id`` is given.

        Args:
            values: an input DTO or a mapping of columns.

        Raises:
            ValidationError: naming each field that does not fit; nothing has been sent.
            ConflictError: a constraint of the table refused the row.
        """
        row = self._rows.new(values, id)
        write = Write("insert", [row], self._keys_of([row]))
        if self._features is not None:
            await self._features.before_insert(write)
        rows = await self._send(
            write,
            lambda needs: self._inserting(tuple(row), needs),
            lambda statement: self._bind(statement, row),
            check=self._proof_of_insert(row, values, id),
            names_rows=not self._rows.makes_key(values, id),
        )
        return (await self._load_written(rows))[0]

    async def update(
        self,
        id: object,
        changes: object,
        *,
        merge: str | Iterable[str] = (),
        expected_version: int | None = None,
        owner: str | None = None,
        include_deleted: bool = False,
    ) -> D:
        """Change columns of one row, and give the row as it is then.

        Args:
            changes: an input DTO, of which the fields that were set count, or a mapping of columns.
            merge: JSON columns whose new value is merged into the stored one at the top level, in the database, so that
                concurrent merges do not lose one another's keys.
            expected_version: the version the change was made from.
            owner: whose row it has to be.

        Raises:
            NotFoundError: there is no such row, or it is another owner's.
            StaleDataError: the row has another version by now.
            ValidationError: naming each field that does not fit; nothing has been sent.
        """
        key = self.source.check_key(id)
        row = self._rows.changes(changes)
        merged = self._check_merge(merge, row)
        if expected_version is not None:
            self._check_version(expected_version)
        live = self.source.hides_deleted(include_deleted)
        if not row:
            return await self._unchanged(key, expected_version, owner, live=live)
        rows = await self._change(
            row,
            self._this(key, owner),
            state="live" if live else "any",
            merged=merged,
            expected_version=expected_version,
        )
        if not rows:
            raise await self._why_missing(key, expected_version, owner, live=live)
        return (await self._load_written(rows))[0]

    async def delete(self, id: object, *, hard: bool = False, owner: str | None = None) -> None:
        """Delete one row: where the model has SoftDelete it is marked, unless ``hard``.

        Raises:
            NotFoundError: there is no such row, or it is another owner's.
        """
        key = self.source.check_key(id)
        values = self._this(key, owner)
        soft = self.source.config.soft_delete and not check_flag("hard", hard)
        if soft:
            values["now"] = self.source.clock()
        write = await self._prepared_deletion(values.get("now"), [key])
        rows = await self._send(
            write,
            lambda needs: self._deleting(needs, soft=soft, owned=owner is not None),
            lambda statement: statement.bind(values),
            check=self._proof_of_delete(key, soft=soft),
        )
        if not rows:
            raise self._not_found()

    async def restore(self, id: object, *, owner: str | None = None) -> D:
        """Bring a soft-deleted row back; one that is not deleted stays as it is.

        Raises:
            NotFoundError: there is no such row, or it is another owner's.
            UsageError: the model has no SoftDelete.
        """
        if not self.source.config.soft_delete:
            raise UsageError(f"{self.source.name} has no SoftDelete: a deleted row is gone.")
        key = self.source.check_key(id)
        rows = await self._change({"deleted_at": None}, self._this(key, owner), state="deleted")
        if rows:
            return (await self._load_written(rows))[0]
        return await self._unchanged(key, None, owner, live=False)

    # Checks

    def _check_merge(self, merge: str | Iterable[str], row: Row) -> tuple[str, ...]:
        merged = check_names(merge, "merge")
        for name in merged:
            if self.source.column(name).type.kind != "JSONB":
                raise ValidationError.of(name, "is not a JSONB column: it cannot be merged")
            if name not in row:
                raise ValidationError.of(name, "is to be merged, but there is no new value")
            if not isinstance(row[name], dict):
                raise ValidationError.of(name, "only a JSON object can be merged")
        return merged

    def _check_version(self, expected: object) -> None:
        if not self.source.config.versioned:
            raise UsageError(f"{self.source.name} has no Version: expected_version cannot be held.")
        if not isinstance(expected, int) or isinstance(expected, bool) or expected < 1:
            raise ValidationError.of("expected_version", "is to be a whole number from 1")

    async def _unchanged(
        self, key: object, expected_version: int | None, owner: str | None, *, live: bool
    ) -> D:
        if expected_version is not None:
            why = await self._why_missing(key, expected_version, owner, live=live)
            if not isinstance(why, StaleDataError) or why.actual != expected_version:
                raise why
        found = await self._get(key, owner, self.dto, live=live)
        if found is None:
            raise self._not_found()
        return found

    async def _why_missing(
        self, key: object, expected_version: int | None, owner: str | None, *, live: bool
    ) -> ServiceError:
        """Tell a row that is not there from one at another version."""
        if expected_version is None:
            return self._not_found()
        statement = self._version_by_key(owned=owner is not None, live=live)
        rows = await self.db.fetch(statement, statement.bind(self._this(key, owner)))
        if not rows:
            return self._not_found()
        return StaleDataError(
            model=self.source.name, expected=expected_version, actual=rows[0]["version"]
        )

    # Statements

    async def _change(
        self,
        row: Row,
        values: dict[str, Any],
        *,
        state: State,
        merged: tuple[str, ...] = (),
        expected_version: int | None = None,
    ) -> list[Any]:
        """Change the row that ``values`` name, and give it back."""
        needed = self._needed(row, merged)
        if not needed:
            write = Write("update", [row], [values["key"]])
            return await self._send_change(write, values, state, merged, expected_version)
        async with self.db.join_or_begin():
            current = await self._lock(values, tuple(sorted(needed)), live=state == "live")
            if current is None:
                return []
            own = self._merge_here(row, current, merged)
            write = Write("update", [row], [values["key"]], current=[current])
            return await self._send_change(write, values, state, own, expected_version)

    async def _send_change(
        self,
        write: Write,
        values: dict[str, Any],
        state: State,
        merged: tuple[str, ...],
        expected_version: int | None,
    ) -> list[Any]:
        row = write.rows[0]
        if self._features is not None:
            await self._features.before_update(write)
        owned = "owner" in values
        self._rows.touch(row)
        for name, value in row.items():
            values[f"v_{name}"] = value
        token: int | None = None
        if self.source.config.versioned:
            token = values[f"v_{TOKEN}"] = secrets.randbits(62)
        if expected_version is not None:
            values["expected"] = expected_version
        return await self._send(
            write,
            lambda needs: self._updating(
                tuple(row),
                merged,
                state,
                needs,
                owned=owned,
                versioned=expected_version is not None,
            ),
            lambda statement: self._bind(statement, values, prefix="v_"),
            check=self._proof_of_update(values["key"], token, expected_version),
        )

    async def _lock(
        self, values: dict[str, Any], names: tuple[str, ...], *, live: bool
    ) -> Row | None:
        """Columns of the row that ``values`` name as it is now, locked."""
        statement = self._locking(names, owned="owner" in values, live=live)
        records = await self.db.fetch(statement, statement.bind(values))
        rows = await self._decoded(records)
        return rows[0] if rows else None

    def _merge_here(self, row: Row, current: Row, merged: tuple[str, ...]) -> tuple[str, ...]:
        """Merge into columns that PostgreSQL cannot read or a feature looks at; those that it merges by itself."""
        for name in merged:
            if isinstance(current.get(name), dict):
                row[name] = {**current[name], **row[name]}
        return tuple(name for name in merged if name not in current)

    def _inserting(
        self, names: tuple[str, ...], needs: tuple[str, ...], *, unless: tuple[str, ...] = ()
    ) -> Statement:
        """A new row, unless there is one with the same values of these columns."""

        def build() -> Statement:
            table = self.source.table
            values = {name: parameter(name, table.c[name].type) for name in names}
            statement = insert(table).values(values)
            if unless:
                statement = statement.on_conflict_do_nothing(index_elements=list(unless))
            return self._compile(statement.returning(*self._selected(self.dto, *needs)), "insert")

        return self._statement(("insert", names, needs, unless), build)

    def _updating(
        self,
        names: tuple[str, ...],
        merged: tuple[str, ...],
        state: State,
        needs: tuple[str, ...],
        *,
        owned: bool,
        versioned: bool,
    ) -> Statement:
        def build() -> Statement:
            table = self.source.table
            values: dict[str, Any] = {
                name: parameter(f"v_{name}", table.c[name].type) for name in names
            }
            for name in merged:
                values[name] = _merged(table.c[name], values[name])
            if self.source.config.versioned:
                values["version"] = table.c.version + sa.literal_column("1")
                values[TOKEN] = parameter(f"v_{TOKEN}", sa.BigInteger)
            statement = table.update().values(values).where(*self._this_row(owned, state == "live"))
            if state == "deleted":
                statement = statement.where(table.c.deleted_at.is_not(None))
            if versioned:
                statement = statement.where(table.c.version == parameter("expected", sa.Integer))
            return self._compile(statement.returning(*self._selected(self.dto, *needs)), "update")

        return self._statement(("update", names, merged, state, needs, owned, versioned), build)

    def _deleting(self, needs: tuple[str, ...], *, soft: bool, owned: bool) -> Statement:
        def build() -> Statement:
            table = self.source.table
            statement: Any = table.delete()
            if soft:
                statement = table.update().values(soft_deletion(table, self.source.config))
            statement = statement.where(*self._this_row(owned, soft))
            returned = self._columns(dict.fromkeys((self.source.key, *needs)))
            return self._compile(statement.returning(*returned), "delete")

        return self._statement(("delete", needs, soft, owned), build)

    def _version_by_key(self, *, owned: bool, live: bool) -> Statement:
        def build() -> Statement:
            statement = sa.select(self.source.table.c.version)
            return self._compile(statement.where(*self._this_row(owned, live)), "version")

        return self._statement(("version", owned, live), build)


def soft_deletion(table: sa.Table, config: Any) -> dict[str, Any]:
    """What a soft deletion sets; the time is the parameter ``now``."""
    now = parameter("now", sa.DateTime(timezone=True))
    values: dict[str, Any] = {"deleted_at": now}
    if config.timestamps:
        values["updated_at"] = now
    if config.versioned:
        values["version"] = table.c.version + sa.literal_column("1")
    return values


def _merged(column: sa.Column[Any], value: Any) -> Any:
    """The stored object with the keys of the new one; anything that is no object gives way to it."""
    is_object = sa.func.jsonb_typeof(column) == sa.literal_column("'object'")
    stored = sa.case((is_object, column), else_=sa.literal_column("'{}'::jsonb", JSONB))
    return stored.op("||")(value)
