"""The writing verbs of a repository that touch one row."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as pg_insert

from timber.database.statements import parameter
from timber.errors import ConflictError, NotFoundError, StaleDataError, UsageError, ValidationError
from timber.repository.querying import Querying

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from timber.database.outcome import Check, Fetch, Verdict
    from timber.database.statements import Statement
    from timber.repository.source import Row

D = TypeVar("D", bound=BaseModel)


class Writing(Querying[D]):
    """Writes single rows of one model."""

    async def insert(self, values: object, *, id: object = None) -> D:
        """Store a new row, with a key made here unless ``id`` is given.

        Args:
            values: an input DTO or a mapping of columns.

        Raises:
            ValidationError: a value does not fit; nothing has been sent.
            ConflictError: a constraint of the table refused the row.
        """
        row = self.source.new_row(values, id)
        statement = self._inserting(tuple(row))
        rows = await self.db.write(
            statement, self._bind(statement, row), check=self._check_inserted(row)
        )
        return (await self._load(self.dto, rows))[0]

    async def update(
        self,
        id: object,
        changes: object,
        *,
        merge: Iterable[str] = (),
        expected_version: int | None = None,
        owner: str | None = None,
        include_deleted: bool = False,
    ) -> D:
        """Change columns of one row, and give the row as it is then.

        Args:
            changes: an input DTO or a mapping of columns.
            merge: JSON columns whose new value is merged into the stored one at the top level, in the database, so that
                concurrent merges do not lose one another's keys.
            expected_version: the version the change was made from.

        Raises:
            NotFoundError: there is no such row, or it is another owner's.
            StaleDataError: the row has another version by now.
        """
        source = self.source
        key = source.check_key(id)
        row = source.changes(changes)
        merged = self._check_merge(merge, row)
        if not row:
            return await self._unchanged(key, expected_version, owner, include_deleted)
        source.touch(row)
        values: dict[str, Any] = {f"v_{name}": value for name, value in row.items()}
        token: int | None = None
        if source.config.versioned:
            token = values["v_version_token"] = secrets.randbits(62)
        values["key"] = key
        if owner is not None:
            values["owner"] = self._owner(owner)
        if expected_version is not None:
            values["expected"] = self._check_version(expected_version)
        statement = self._updating(
            tuple(row),
            merged,
            owned=owner is not None,
            versioned=expected_version is not None,
            include_deleted=include_deleted,
        )
        rows = await self.db.write(
            statement,
            self._bind(statement, values, prefix="v_"),
            check=self._check_updated(key, token, expected_version),
        )
        if not rows:
            await self._explain_missing(key, expected_version, owner, include_deleted)
        return (await self._load(self.dto, rows))[0]

    async def delete(self, id: object, *, hard: bool = False, owner: str | None = None) -> None:
        """Delete one row: where the model has SoftDelete it is marked, unless ``hard``.

        Raises:
            NotFoundError: there is no such row, or it is another owner's.
        """
        key = self.source.check_key(id)
        values: dict[str, Any] = {"key": key}
        if owner is not None:
            values["owner"] = self._owner(owner)
        soft = self.source.config.soft_delete and not hard
        if soft:
            values["now"] = self.source.clock()
        statement = self._deleting(soft=soft, owned=owner is not None)
        rows = await self.db.write(
            statement, statement.bind(values), check=self._check_deleted(key, soft=soft)
        )
        if not rows:
            raise NotFoundError(model=self.source.name)

    async def restore(self, id: object, *, owner: str | None = None) -> D:
        """Bring a soft-deleted row back; one that is not deleted stays as it is.

        Raises:
            NotFoundError: there is no such row, or it is another owner's.
        """
        if not self.source.config.soft_delete:
            raise UsageError(f"{self.source.name} has no SoftDelete: a deleted row is gone.")
        return await self.update(id, {"deleted_at": None}, owner=owner, include_deleted=True)

    async def upsert(
        self,
        values: object,
        *,
        on: Sequence[str] | None = None,
        update: Iterable[str] | None = None,
    ) -> D:
        """Insert a row or, if there is one with the same ``on`` columns, change that one.

        Args:
            on: columns with a unique constraint; the key where nothing is said.
            update: the columns to change in an existing row; all that were given where nothing is said.

        Raises:
            ConflictError: the existing row is another owner's.
        """
        source = self.source
        plain = source.given(values)
        row = source.new_row(values)
        target = tuple(on or (source.key,))
        for name in target:
            source.column(name, "on")
        given = [name for name in plain if name not in target and name != source.key]
        changed = tuple(given if update is None else update)
        for name in changed:
            source.column(name, "update")
        statement = self._upserting(tuple(row), target, changed)
        rows = await self.db.write(statement, self._bind(statement, row))
        if not rows:
            raise ConflictError(f"This {source.name} exists already and belongs to somebody else.")
        return (await self._load(self.dto, rows))[0]

    # Checks

    def _check_merge(self, merge: Iterable[str], row: Row) -> tuple[str, ...]:
        merged = tuple(name for name in ((merge,) if isinstance(merge, str) else merge))
        for name in merged:
            if self.source.column(name, "merge").type.kind != "JSONB":
                raise ValidationError.of(name, "is not a JSONB column: it cannot be merged")
            if name not in row:
                raise ValidationError.of(name, "is to be merged, but there is no new value")
            if not isinstance(row[name], dict):
                raise ValidationError.of(name, "only a JSON object can be merged")
        return merged

    def _check_version(self, expected: object) -> int:
        if not self.source.config.versioned:
            raise UsageError(f"{self.source.name} has no Version: expected_version cannot be held.")
        if not isinstance(expected, int) or isinstance(expected, bool) or expected < 1:
            raise ValidationError.of("expected_version", "is to be a whole number from 1")
        return expected

    async def _unchanged(
        self, key: object, expected_version: int | None, owner: str | None, include_deleted: bool
    ) -> D:
        found = await self._get(key, owner, include_deleted, self.dto, fresh=True)
        if found is None:
            raise NotFoundError(model=self.source.name)
        if expected_version is not None:
            await self._explain_missing(key, expected_version, owner, include_deleted, found)
        return found

    async def _explain_missing(
        self,
        key: object,
        expected_version: int | None,
        owner: str | None,
        include_deleted: bool,
        found: D | None = None,
    ) -> None:
        """Tell a row that is not there from one at another version."""
        if expected_version is None:
            raise NotFoundError(model=self.source.name)
        conditions = {self.source.key: key}
        filters = self._filters((), conditions, owner, include_deleted)

        def build() -> Statement:
            version = sa.select(self.source.table.c.version).where(*filters.build())
            return self._compile(version, "version")

        statement = self._statement(("version", filters.shape), build)
        rows = await self.db.fetch(statement, statement.bind(filters.values))
        if not rows:
            raise NotFoundError(model=self.source.name)
        actual = rows[0]["version"]
        if found is None or actual != expected_version:
            raise StaleDataError(model=self.source.name, expected=expected_version, actual=actual)

    def _check_inserted(self, row: Row) -> Check:
        """Whether a lone insert is there: the row has its key, and the time it was made where it knows one."""

        async def check(fetch: Fetch) -> Verdict:
            statement = self._by_key(self.dto, owned=False, include_deleted=True, lock=False)
            rows = await fetch(statement, [row[self.source.key]])
            if not rows:
                return "rolled_back", ()
            found = dict(rows[0])
            made = found.get("created_at")
            if made is not None and made != row.get("created_at"):
                return "rolled_back", ()  # somebody else's row under the key that was asked for
            return "committed", rows

        return check

    def _check_updated(
        self, key: object, token: int | None, expected_version: int | None
    ) -> Check | None:
        """Whether a lone update is there: by the token that it wrote, and the version it was made from."""
        if token is None:
            return None

        async def check(fetch: Fetch) -> Verdict:
            statement = self._token_by_key()
            rows = await fetch(statement, [key])
            if rows and rows[0]["version_token"] == token:
                stored = self._by_key(self.dto, owned=False, include_deleted=True, lock=False)
                return "committed", await fetch(stored, [key])
            if expected_version is not None and rows:
                version = rows[0]["version"]
                if version <= expected_version + 1:
                    # Still the old version, or the next one made by another: ours never happened.
                    return "rolled_back", ()
            return "unknown", ()

        return check

    def _check_deleted(self, key: object, *, soft: bool) -> Check | None:
        """Whether a lone delete is there: the row is gone, whoever did it."""

        async def check(fetch: Fetch) -> Verdict:
            statement = self._by_key(self.dto, owned=False, include_deleted=not soft, lock=False)
            rows = await fetch(statement, [key])
            return ("rolled_back", ()) if rows else ("committed", ({self.source.key: key},))

        return check

    # Statements

    def _inserting(self, names: tuple[str, ...]) -> Statement:
        def build() -> Statement:
            table = self.source.table
            values = {name: parameter(name, table.c[name].type) for name in names}
            statement = table.insert().values(values).returning(*self._selected(self.dto))
            return self._compile(statement, "insert")

        return self._statement(("insert", names), build)

    def _updating(
        self,
        names: tuple[str, ...],
        merged: tuple[str, ...],
        *,
        owned: bool,
        versioned: bool,
        include_deleted: bool,
    ) -> Statement:
        def build() -> Statement:
            table = self.source.table
            values: dict[str, Any] = {}
            for name in names:
                value = parameter(f"v_{name}", table.c[name].type)
                if name in merged:
                    empty = sa.literal_column("'{}'::jsonb", JSONB)
                    values[name] = sa.func.coalesce(table.c[name], empty).op("||")(value)
                else:
                    values[name] = value
            if self.source.config.versioned:
                values["version"] = table.c.version + sa.literal_column("1")
                values["version_token"] = parameter("v_version_token", sa.BigInteger)
            statement = table.update().values(values).where(*self._this_row(owned, include_deleted))
            if versioned:
                statement = statement.where(
                    table.c.version == parameter("expected", sa.Integer)
                )
            return self._compile(statement.returning(*self._selected(self.dto)), "update")

        return self._statement(("update", names, merged, owned, versioned, include_deleted), build)

    def _deleting(self, *, soft: bool, owned: bool) -> Statement:
        def build() -> Statement:
            table = self.source.table
            statement: Any
            if soft:
                now = parameter("now", sa.DateTime(timezone=True))
                values: dict[str, Any] = {"deleted_at": now}
                if self.source.config.timestamps:
                    values["updated_at"] = now
                if self.source.config.versioned:
                    values["version"] = table.c.version + sa.literal_column("1")
                statement = table.update().values(values)
            else:
                statement = table.delete()
            statement = statement.where(*self._this_row(owned, include_deleted=not soft))
            return self._compile(statement.returning(table.c[self.source.key]), "delete")

        return self._statement(("delete", soft, owned), build)

    def _upserting(
        self, names: tuple[str, ...], target: tuple[str, ...], changed: tuple[str, ...]
    ) -> Statement:
        def build() -> Statement:
            table = self.source.table
            config = self.source.config
            inserting = pg_insert(table).values(
                {name: parameter(name, table.c[name].type) for name in names}
            )
            # A row that exists is written even if nothing changes, so that it can be returned.
            values: dict[str, Any] = {
                name: inserting.excluded[name] for name in (*changed, *target[:1])
            }
            if config.timestamps:
                values["updated_at"] = inserting.excluded.updated_at
            if config.versioned:
                values["version"] = table.c.version + sa.literal_column("1")
            if config.soft_delete:
                values["deleted_at"] = None
            same_owner = (
                None
                if config.owner is None or config.owner in target
                else table.c[config.owner] == inserting.excluded[config.owner]
            )
            statement = inserting.on_conflict_do_update(
                index_elements=list(target), set_=values, where=same_owner
            )
            return self._compile(statement.returning(*self._selected(self.dto)), "upsert")

        return self._statement(("upsert", names, target, changed), build)

    def _token_by_key(self) -> Statement:
        def build() -> Statement:
            table = self.source.table
            key = table.c[self.source.key]
            statement = sa.select(table.c.version, table.c.version_token).where(
                key == parameter("key", key.type)
            )
            return self._compile(statement, "token")

        return self._statement(("token",), build)
