"""Work that comes round again: rows due at a time, done, and due again after their own interval."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.dialects.postgresql import ARRAY

from timber.database.statements import parameter
from timber.errors import ValidationError
from timber.features.feature import Write
from timber.repository.leasing import LEASE_COLUMN, Leasing
from timber.repository.source import listed

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from timber.database.statements import Statement

D = TypeVar("D", bound=BaseModel)


class Rounds(NamedTuple):
    """The columns of a model whose rows come round again."""

    done: str
    """When the work was last done."""
    due: str
    """When it is to be done next; NULL for never."""
    every: str
    """The interval from one time to the next; NULL for none."""
    held: str = LEASE_COLUMN
    """Until when a worker holds the row."""


class Scheduling(Leasing[D]):
    """Plans the next round of rows whose work is done."""

    async def finish(
        self,
        ids: Collection[object],
        *,
        at: datetime,
        rounds: Rounds,
        moved: Collection[object] = (),
        move: tuple[str, object, object] | None = None,
        owner: str | None = None,
    ) -> None:
        """Take note that the work of these rows is done: their claims end, and each is due again after its interval.

        Args:
            at: when it was done.
            rounds: the columns that keep the times.
            moved: those of the rows that are also moved on.
            move: a column, the value that a row must have there to be moved on, and the value that it then gets.

        Raises:
            NotFoundError: one of them does not exist, or is another owner's; nothing has been changed.
            ValidationError: naming the argument that does not fit; nothing has been sent.
        """
        keys = {self.source.check_key(key) for key in listed(ids, "ids")}
        if not keys:
            return
        self._check_rounds(rounds)
        values: dict[str, Any] = {"ids": list(keys), "now": self.source.check(rounds.done, at)}
        if owner is not None:
            values["owner"] = self.source.check_owner(owner)
        if move is not None:
            values["moved"] = [self.source.check_key(key) for key in listed(moved, "moved")]
            values["before"], values["after"] = self._check_move(move)
        several, moves = len(keys) > 1, move and move[0]
        changed = (rounds.done, rounds.due, rounds.held, *([moves] if moves else []))
        # What they are set to differs from row to row, and only PostgreSQL knows it.
        write = Write("update", [dict.fromkeys(changed)], None)
        async with self.db.join_or_begin():
            found = await self._send(
                write,
                lambda needs: self._finishing(
                    rounds, moves, needs, owned=owner is not None, several=several
                ),
                lambda statement: statement.bind(values),
            )
            if len(found) < len(keys):
                raise self._not_found()

    def _check_rounds(self, rounds: Rounds) -> None:
        if not isinstance(rounds, Rounds):
            raise ValidationError.of("rounds", "is to be the columns of a model's rounds")
        for name in rounds:
            self.source.plain_column(name, "plan the next round", "rounds")

    def _check_move(self, move: object) -> tuple[Any, Any]:
        if not isinstance(move, tuple) or len(move) != 3:
            raise ValidationError.of("move", "takes a column and two of its values")
        column = self.source.plain_column(move[0], "move rows on", "move").name
        return self.source.check(column, move[1]), self.source.check(column, move[2])

    def _finishing(
        self,
        rounds: Rounds,
        moves: str | None,
        needs: tuple[str, ...],
        *,
        owned: bool,
        several: bool,
    ) -> Statement:
        def build() -> Statement:
            table = self.source.table
            key = table.c[self.source.key]
            these: list[Any] = [key == sa.any_(parameter("ids", ARRAY(key.type)))]
            if owned:
                column = table.c[self.source.owner_column()]
                these.append(column == parameter("owner", column.type))
            if several:
                # Locked in the order of their keys, so that two who finish the same rows do not wait for each other.
                locked = (
                    sa.select(key)
                    .where(*these)
                    .order_by(key)
                    .with_for_update(key_share=True)
                    .cte("locked")
                    .prefix_with("MATERIALIZED")
                )
                these = [key.in_(sa.select(locked.c[key.name]))]
            statement = table.update().values(self._next_round(rounds, moves)).where(*these)
            returned = self._columns(dict.fromkeys((self.source.key, *needs)))
            return self._compile(statement.returning(*returned), "finish")

        return self._statement(("finish", rounds, moves, needs, owned, several), build)

    def _next_round(self, rounds: Rounds, moves: str | None) -> Mapping[str, Any]:
        table = self.source.table
        now = parameter("now", sa.DateTime(timezone=True))
        # In UTC, where a day has 24 hours, as a timedelta's has.
        utc: Any = sa.literal_column("'UTC'")
        due = sa.func.timezone(utc, sa.func.timezone(utc, now) + table.c[rounds.every])
        values: dict[str, Any] = {rounds.done: now, rounds.due: due, rounds.held: None}
        if moves is not None:
            key, state = table.c[self.source.key], table.c[moves]
            is_moved = sa.and_(
                key == sa.any_(parameter("moved", ARRAY(key.type))),
                state == parameter("before", state.type),
            )
            values[moves] = sa.case((is_moved, parameter("after", state.type)), else_=state)
        if self.source.config.timestamps:
            values["updated_at"] = now
        if self.source.config.versioned:
            values["version"] = table.c.version + sa.literal_column("1")
        return values
