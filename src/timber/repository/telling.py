"""Telling the caches what is written: a lone write before it returns, one in a unit of work when that is committed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel

from timber.database.levels import Change
from timber.database.outcome import note_outcome, outcome_of
from timber.features.feature import Companion
from timber.repository.querying import Querying

if TYPE_CHECKING:
    from collections.abc import Iterable

    from timber.cache.debt import Debt, Told
    from timber.database.outcome import Check
    from timber.database.statements import Statement
    from timber.database.unit_of_work import UnitOfWork
    from timber.features.feature import Row, Write

D = TypeVar("D", bound=BaseModel)


class Telling(Querying[D]):
    """Knows what writes of one model's rows owe to caches."""

    def _needed(self, changed: Row, merged: tuple[str, ...] = ()) -> set[str]:
        """The columns of a row as it is, locked, that have to be known before these of it are changed."""
        needed = set(self._features.needs_current(changed, merged) if self._features else ())
        if self._cache is not None and self._cache.moves(changed):
            needed.update(self._cache.model.tag_columns)
        return needed

    def _debt(self, write: Write, *, names_rows: bool = True) -> Debt | None:
        """What a write owes; None where no copy can show it."""
        if self._cache is None:
            return None
        changed = write.rows[0] if write.rows else ()
        return self._cache.debt(
            write.verb, changed, former=write.current or (), names_rows=names_rows
        )

    def _owed(self, debt: Debt, *, many: bool) -> list[Companion]:
        """What a lone write leaves in the database for caches elsewhere."""
        if self._cache is None or not self._cache.owes:
            return []
        return [Companion(*debt.owing(many=many), debt.needs)]

    def _told(self, debt: Debt, *, is_alone: bool) -> Companion:
        """What gives the names of the rows of a write that returns none, and owes them if it is alone."""
        assert self._cache is not None
        owes = is_alone and self._cache.owes
        return Companion(*(debt.owing(many=True) if owes else debt.telling()), debt.needs)

    async def _write_told(
        self, statement: Statement, args: list[Any], debt: Debt, check: Check | None = None
    ) -> list[Any]:
        """Send a lone write; what it has changed is cleared when this returns, or raises."""
        try:
            return await self.db.write(statement, args, check=check)
        except BaseException as error:
            if self._cache is not None and outcome_of(error) in ("committed", "unknown"):
                self._cache.pay_later(debt)
            raise

    async def _pay(self, debt: Debt, told: Iterable[Told]) -> None:
        """Clear what a lone write has changed; one that is cut off here is committed all the same."""
        assert self._cache is not None
        try:
            await self._cache.pay(debt, told)
        except asyncio.CancelledError as error:
            note_outcome(error, "committed")
            raise

    def _tell(self, unit: UnitOfWork, told: Iterable[Told]) -> None:
        """Say what a part of a unit of work has changed."""
        for model, ids, tags in told:
            unit.note_change(Change(model, tuple(ids), tuple(tags)))
