"""An erasure from its beginning to its end: checks, rounds of steps until nothing is left, and what is kept of it."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from timber.context import acting_as, current_actor
from timber.errors import ConflictError, UsageError
from timber.privacy.asking import ask
from timber.privacy.batches import Batches
from timber.privacy.holdings import Subject
from timber.privacy.rehearsing import check_possible

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from timber.database.manager import AsyncDatabaseManager
    from timber.privacy.batches import Repositories
    from timber.privacy.holdings import Holding
    from timber.privacy.journal import Done, Erasure, Journal
    from timber.privacy.people import Person
    from timber.privacy.places import PersonKeys, Place
    from timber.privacy.planning import PersonalModels

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
    """Erases persons.

    Args:
        keys: where persons' own data keys are, if they have some.
        places: where else something of a person is kept.
    """

    def __init__(
        self,
        db: AsyncDatabaseManager,
        models: PersonalModels,
        repositories: Repositories,
        journal: Journal,
        keys: PersonKeys | None = None,
        places: Sequence[Place] = (),
    ) -> None:
        self._db = db
        self._models = models
        self._repositories = repositories
        self._journal = journal
        self._keys = keys
        self._places = tuple(places)

    async def erase(self, person: Person, *, batch: int, progress: Told | None) -> ErasureReport:
        """Erase a person, or go on with it."""
        if self._db.current() is not None:
            raise UsageError(
                "An erasure commits in batches, so that it can go on where it was interrupted: call it outside of any unit "
                "of work."
            )
        # An actor's name goes into the rows that they change, and theirs is to go.
        actor = current_actor()
        with acting_as(None if actor == person.text else actor):
            await check_possible(self._db, self._models, self._repositories, Subject(person))
            erasure = await self._journal.begin(person)
            run = _Run(self, erasure, Subject(person, erasure.token), batch, progress)
            return await run.to_its_end()


class _Run:
    """One erasure in this process."""

    def __init__(
        self,
        erasing: Erasing,
        erasure: Erasure,
        subject: Subject,
        batch: int,
        progress: Told | None,
    ) -> None:
        self._db = erasing._db
        self._models = erasing._models
        self._journal = erasing._journal
        self._keys = erasing._keys
        self._places = erasing._places
        self._erasure = erasure
        self._subject = subject
        self._progress = progress
        self._batches = Batches(
            self._db, self._models, erasing._repositories, self._journal, batch
        )
        self._total = 0

    async def to_its_end(self) -> ErasureReport:
        erasure = self._erasure
        self._total = erasure.rows + sum((await self._counts()).values())
        rounds, destroyed = 0, False
        while rounds < _ROUNDS:
            rounds += 1
            if not await self._round() and destroyed == (self._keys is not None):
                break
            # A person without rows has no need of a key; whoever writes again meanwhile gets a new one.
            destroyed = await self._destroy_key()
        left = {name: number for name, number in (await self._counts()).items() if number}
        if not left and not erasure.finished:
            await self._end()
        return ErasureReport(
            id=erasure.id,
            started_at=erasure.started_at,
            resumed=erasure.resumed,
            rounds=rounds,
            key_destroyed=destroyed,
            done=erasure.done,
            left=left,
        )

    async def _round(self) -> int:
        """Go through everything once; how much there was to do."""
        erasure, subject, batches = self._erasure, self._subject, self._batches
        number = 0
        for holding in self._models.order:
            number += await self._holding(holding)
        for model, column in self._models.mentions():
            number += await self._repeat(
                model, lambda m=model, c=column: batches.cut_mentions(erasure, subject, m, c)
            )
        for place in self._places:
            taken = await place.erase(subject.person.text)
            erasure.count(place.name, "deleted", taken)
            number += taken
        return number

    async def _holding(self, holding: Holding) -> int:
        erasure, subject, batches = self._erasure, self._subject, self._batches
        if holding.stays:
            return await self._repeat(
                holding.name, lambda: batches.anonymise(erasure, subject, holding)
            )
        number = 0
        for link in self._models.links[holding.name]:
            number += await self._repeat(
                link.table.name, lambda link=link: batches.remove_links(erasure, subject, link)
            )
        for reference in self._models.references[holding.name]:
            if reference.nullable:
                number += await self._repeat(
                    reference.model,
                    lambda r=reference: batches.cut_references(erasure, subject, r),
                )
        return number + await self._repeat(
            holding.name, lambda: batches.delete(erasure, subject, holding)
        )

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

    async def _destroy_key(self) -> bool:
        if self._keys is None:
            return False
        await self._keys.destroy(self._subject.person.text)
        return True

    async def _end(self) -> None:
        async def body(_: object) -> None:
            if await self._journal.lock(self._erasure):
                await self._journal.finish(self._erasure)

        await self._db.run(body, retry_locks=True)

    async def _counts(self) -> dict[str, int]:
        """How many rows an erasure has still to deal with, by model."""
        counts = {}
        for holding in self._models.order:
            condition = holding.unfinished(self._subject)
            statement = sa.select(sa.func.count()).select_from(holding.table).where(condition)
            rows = await ask(self._db, statement, f"count {holding.name}")
            counts[holding.name] = rows[0][0]
        return counts
