"""What proves that a lone write is there although its connection was lost: its key, or a token that it wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.dialects.postgresql import ARRAY

from timber.database.statements import parameter
from timber.repository.rows import given_names
from timber.repository.sending import Sending

if TYPE_CHECKING:
    from collections.abc import Sequence

    from timber.database.outcome import Check, Fetch, Verdict
    from timber.database.statements import Statement
    from timber.repository.rows import Row

D = TypeVar("D", bound=BaseModel)

TOKEN = "version_token"  # noqa: S105  # the name of a column

_EXACT = frozenset(
    {"String", "Text", "Enum", "Integer", "BigInteger", "SmallInteger", "Boolean", "UUID", "Date"}
)
"""Kinds of columns whose values come back as they were sent."""


class Proving(Sending[D]):
    """Finds out about single writes; each check runs on a new connection, once the old server process is gone."""

    def _proof_of_insert(self, row: Row, values: object, id: object) -> Check | None:
        """The row is there under its key, and is not another one that had the key before."""
        key = self.source.key
        if key not in row:
            return None  # PostgreSQL makes the key, and we have not heard it

        async def check(fetch: Fetch) -> Verdict:
            timed = self.source.config.timestamps
            statement = self._stored(("created_at",) if timed else ())
            rows = await fetch(statement, [row[key]])
            if not rows:
                return "rolled_back", ()
            if timed:
                ours = rows[0]["created_at"] == row["created_at"]
                return ("committed", rows) if ours else ("rolled_back", ())
            if id is None and key not in given_names(values):
                return "committed", rows  # nobody else has made this key
            stored = dict(rows[0])
            same = all(stored[name] == row[name] for name in self._exact(stored) if name in row)
            return ("committed", rows) if same else ("unknown", ())

        return check

    def _proof_of_inserts(self, rows: Sequence[Row]) -> Check:
        """They went in one statement: all of them are there under their keys, or none is."""
        key = self.source.key
        made = "created_at" if self.source.config.timestamps else key

        async def check(fetch: Fetch) -> Verdict:
            statement = self._stored((key, made), many=True)
            found = await fetch(statement, [[row[key] for row in rows]])
            times = {row[key]: row[made] for row in rows}
            ours = sum(record[made] == times[record[key]] for record in found)
            return ("committed", found) if ours == len(rows) else ("rolled_back", ())

        return check

    def _proof_of_update(
        self, key: object, token: int | None, expected: int | None
    ) -> Check | None:
        """The row has our token; or it has a version that ours could only have come before."""
        if token is None:
            return None

        async def check(fetch: Fetch) -> Verdict:
            rows = await fetch(self._stored(("version", TOKEN)), [key])
            if rows and rows[0][TOKEN] == token:
                return "committed", rows
            if rows and expected is not None and rows[0]["version"] <= expected + 1:
                # Still the version it was made from, or the next one, made by somebody else.
                return "rolled_back", ()
            return "unknown", ()

        return check

    def _proof_of_delete(self, key: object, *, soft: bool) -> Check:
        """The row is gone, whoever did it."""

        async def check(fetch: Fetch) -> Verdict:
            rows = await fetch(self._by_key(self.dto, owned=False, live=soft), [key])
            return ("rolled_back", ()) if rows else ("committed", ({self.source.key: key},))

        return check

    def _proof_of_upsert(self, row: Row, target: tuple[str, ...]) -> Check | None:
        """The row that has the target's values has our token."""
        token = row.get(TOKEN)
        if token is None:
            return None

        async def check(fetch: Fetch) -> Verdict:
            statement = self._stored((TOKEN,), by=target)
            rows = await fetch(statement, statement.bind(row))
            if not rows:
                return "rolled_back", ()
            return ("committed", rows) if rows[0][TOKEN] == token else ("unknown", ())

        return check

    def _exact(self, names: Any) -> list[str]:
        plain = (name for name in names if name not in self.source.transformed)
        return [name for name in plain if self.source.columns[name].type.kind in _EXACT]

    def _stored(
        self, more: tuple[str, ...], *, by: tuple[str, ...] = (), many: bool = False
    ) -> Statement:
        """Rows as they are, deleted ones too."""

        def build() -> Statement:
            table = self.source.table
            statement = sa.select(*self._selected(self.dto, *more))
            for name in by or (self.source.key,):
                column = table.c[name]
                if many:
                    statement = statement.where(
                        column == sa.any_(parameter(name, ARRAY(column.type)))
                    )
                else:
                    statement = statement.where(column == parameter(name, column.type))
            return self._compile(statement, "look for")

        return self._statement(("stored", more, by, many), build)
