"""An erasure from its beginning to its end: checks, rounds of steps until nothing is left, and what is kept of it."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from timber.context import acting_as, current_actor
from timber.errors import UsageError
from timber.models.audit_tables import ACTORS
from timber.privacy.asking import ask
from timber.privacy.batches import Batches
from timber.privacy.holdings import Subject
from timber.privacy.rehearsing import check_possible

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from timber.privacy.holdings import Holding
    from timber.privacy.journal import Done, Journal
    from timber.privacy.means import Means
    from timber.privacy.people import Person

_ROUNDS: Final = 10
"""How often everything is gone through while the person goes on writing."""


@dataclass(frozen=True, slots=True)
class ErasureProgress:
    """How far an erasure has come.

    Attributes:
        name: the model or place that is being worked on.
        rows: how many rows have been dealt with, those before an interruption included.
        total: how many there are in all, as far as was known when it began.
    """

    name: str
    rows: int
    total: int


Told = Callable[[ErasureProgress], Awaitable[object] | object]
"""What is told how far an erasure has come, after each batch."""


@dataclass(frozen=True, slots=True)
class ErasureReport:
    """What an erasure has done. It is true where nothing was left to do.

    Attributes:
        resumed: whether it went on with one that had been interrupted.
        done: how many rows were ``deleted``, ``anonymised`` or ``emptied``, by model, association table or place.
        left: how many rows are left by model, because the person went on writing or something still refers to them.
        rounds: how often everything was gone through; the last time there was nothing left to do.
    """

    id: UUID
    started_at: datetime
    resumed: bool
    rounds: int
    key_destroyed: bool
    done: Done = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return not self.left

    @property
    def rows(self) -> int:
        """How many rows were dealt with in all."""
        return sum(number for counts in self.done.values() for number in counts.values())


class Erasing:
    """Erases persons."""

    def __init__(self, means: Means, journal: Journal) -> None:
        self._means = means
        self._journal = journal

    async def erase(self, person: Person, *, batch: int, progress: Told | None) -> ErasureReport:
        """Erase a person, or go on with it."""
        if self._means.db.current() is not None:
            raise UsageError(
                "An erasure commits in batches, so that it can go on where it was interrupted: call it outside of any unit "
                "of work."
            )
        # An actor's name goes into the rows that they change, and theirs is to go.
        actor = current_actor()
        with acting_as(None if actor == person.text else actor):
            await check_possible(self._means, Subject(person))
            erasure = await self._journal.begin(person)
            batches = Batches(self._means, self._journal, erasure, person, batch)
            return await _Run(self._means, self._journal, batches, progress).to_its_end()


class _Run:
    """One erasure in this process."""

    def __init__(
        self, means: Means, journal: Journal, batches: Batches, progress: Told | None
    ) -> None:
        self._means = means
        self._models = means.models
        self._keys = means.keys
        self._journal = journal
        self._batches = batches
        self._erasure = batches.erasure
        self._subject = batches.subject
        self._progress = progress
        self._total = 0

    async def to_its_end(self) -> ErasureReport:
        erasure = self._erasure
        self._total = erasure.rows + sum((await self._counts()).values())
        rounds = 0
        while rounds < _ROUNDS:
            rounds += 1
            number = await self._round()
            # With the rows, so that none has to be read any more. Whoever was writing just then is met in another round.
            if not await self._destroy_key() and not number:
                break
        left = {name: number for name, number in (await self._counts()).items() if number}
        if not left and not erasure.finished:
            await self._end()
        return ErasureReport(
            id=erasure.id,
            started_at=erasure.started_at,
            resumed=erasure.resumed,
            rounds=rounds,
            key_destroyed=await self._key_state() == "destroyed",
            done=erasure.done,
            left=left,
        )

    async def _round(self) -> int:
        """Go through everything once; how much there was to do."""
        batches, number = self._batches, 0
        for holding in self._models.order:
            number += await self._holding(holding)
        for model, column in self._models.mentions():
            cut = partial(batches.cut_mentions, model, column)
            number += await self._repeat(model, cut)
        number += await self._repeat(ACTORS, batches.forget_actor)
        for place in self._means.places:
            # Once: whoever reads meanwhile may fill a cache anew, and then there is another round.
            number += await batches.clear(place)
        return number

    async def _holding(self, holding: Holding) -> int:
        batches = self._batches
        if holding.stays:
            return await self._repeat(holding.name, partial(batches.anonymise, holding))
        number = 0
        for link in self._models.links[holding.name]:
            remove = partial(batches.remove_links, link)
            number += await self._repeat(link.name, remove)
        for reference in self._models.references[holding.name]:
            if reference.nullable:
                cut = partial(batches.cut_references, reference)
                number += await self._repeat(reference.model, cut)
        delete = partial(batches.delete, holding)
        return number + await self._repeat(holding.name, delete)

    async def _repeat(self, name: str, step: Callable[[], Awaitable[int]]) -> int:
        """Take a step until there is nothing left for it."""
        number = 0
        while taken := await step():
            number += taken
            await self._tell(name)
        return number

    async def _tell(self, name: str) -> None:
        if self._progress is None:
            return
        rows = self._erasure.rows
        told = self._progress(ErasureProgress(name, rows, max(rows, self._total)))
        if inspect.isawaitable(told):
            await told

    async def _key_state(self) -> str:
        return "none" if self._keys is None else await self._keys.state(self._subject.person.text)

    async def _destroy_key(self) -> bool:
        """Destroy the person's own key; False if there is none any more."""
        if self._keys is None or await self._key_state() != "kept":
            return False
        await self._keys.destroy(self._subject.person.text)
        return True

    async def _end(self) -> None:
        async def body(_: object) -> None:
            if await self._journal.lock(self._erasure):
                await self._journal.finish(self._erasure)
                if self._means.audit is not None and self._models.audited:
                    await self._means.audit.note_erasure(self._erasure.id)

        await self._means.db.run(body, retry_locks=True)

    async def _counts(self) -> dict[str, int]:
        """How many rows an erasure has still to deal with, by model."""
        counts = {}
        for holding in self._models.order:
            condition = holding.unfinished(self._subject)
            statement = sa.select(sa.func.count()).select_from(holding.table).where(condition)
            rows = await ask(self._means.db, statement, f"count {holding.name}")
            counts[holding.name] = rows[0][0]
        return counts
