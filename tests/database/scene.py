"""One run of a scope: what it entered, what it tried to write, and whether it spoke the truth about it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from tests.database.ledger import (
    STAMP,
    Observer,
    insert,
)
from timber.database.manager import AsyncDatabaseManager
from timber.database.unit_of_work import UnitOfWork

_tokens = itertools.count(1)


class Effect(NamedTuple):
    """Something that was tried, and how to see whether it is there."""

    unit: UnitOfWork | None
    query: str
    value: object


class Scene:
    """One run of a shape: the units of work it entered and what it tried to write."""

    def __init__(self, db: AsyncDatabaseManager) -> None:
        self.db = db
        self.units: list[UnitOfWork] = []
        self.outermost: UnitOfWork | None = None
        self.effects: list[Effect] = []
        self.never: list[Effect] = []
        self.existing: list[UUID] = []
        self.holder: asyncio.Task[None] | None = None
        self.called = 0
        self.error: BaseException | None = None

    def unit(self, **options: Any) -> UnitOfWork:
        return self.note(self.db.unit_of_work(**options))

    def note(self, unit: UnitOfWork) -> UnitOfWork:
        self.units.append(unit)
        self.outermost = self.outermost or unit
        return unit

    def key(self, unit: UnitOfWork | None, *, never: bool = False) -> UUID:
        key = uuid4()
        effect = Effect(unit, "SELECT EXISTS (SELECT FROM entry WHERE id = $1)", key)
        (self.never if never else self.effects).append(effect)
        return key

    def token(self, unit: UnitOfWork | None) -> int:
        token = next(_tokens)
        query = "SELECT EXISTS (SELECT FROM entry WHERE token = $1)"
        self.effects.append(Effect(unit, query, token))
        return token

    async def insert(self, unit: UnitOfWork | None) -> UUID:
        return await insert(self.db, key=self.key(unit))

    async def stamp(self, unit: UnitOfWork | None) -> None:
        await self.db.write(STAMP, (self.existing[0], self.token(unit)))

    async def prepare(self) -> None:
        """Rows to read, one to change, and a connection that is warm and well."""
        self.existing += [await insert(self.db) for _ in range(3)]

    async def run(self, shape: Shape) -> None:
        try:
            await shape(self)
        except BaseException as error:
            self.error = error
            raise

    async def verify(self, observer: Observer) -> None:
        """Whatever was tried is there exactly if its unit of work, or the exception, says so."""
        from timber.database.outcome import outcome_of

        if self.holder is not None:
            await self.holder
        outcome = outcome_of(self.error)
        if self.error is None:
            assert all(
                unit.outcome == "committed" for unit in self.units if unit not in self.undone
            )
        elif self.outermost is not None:
            assert outcome == self.outermost.outcome, (outcome, self.outermost.outcome)
        for effect in self.effects:
            if effect.unit is not None:
                said = effect.unit.outcome
            else:
                said = "committed" if self.error is None else outcome
            assert said != "unknown"
            there = await observer.value(effect.query, effect.value)
            assert there == (said == "committed"), (effect.query, there, said)
        for effect in self.never:
            assert not await observer.value(effect.query, effect.value)

    @property
    def undone(self) -> set[UnitOfWork]:
        return {effect.unit for effect in self.never if effect.unit is not None}


Shape = Callable[[Scene], Awaitable[None]]
