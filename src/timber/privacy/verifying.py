"""Looking for what is left of a person: with questions of its own to every table that could hold something of them.

It believes nothing that an erasure has said of itself. Where it cannot look, the answer is no.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from timber.database.statements import Statement
from timber.errors import ServiceError, UsageError
from timber.models.audit_tables import ACTORS
from timber.models.erasure_tables import ERASURES
from timber.models.owed_table import OWED_TABLE
from timber.privacy.asking import ask
from timber.privacy.copies import OWED
from timber.privacy.holdings import Subject
from timber.privacy.vectors import vector_tables

if TYPE_CHECKING:
    from timber.privacy.holdings import Holding
    from timber.privacy.means import Means
    from timber.privacy.people import Person
    from timber.privacy.places import PersonKeys

# Else a policy would hide rows without a word; with it the statement fails where one would.
_SEE_ALL: Final = Statement("SET LOCAL row_security = off", label="see all rows")
_UNFINISHED: Final = Statement(
    f"SELECT count(*) FROM {ERASURES} WHERE person = $1",  # noqa: S608  # a fixed name
    label="count erasures",
)

_PSEUDONYMS: Final = Statement(
    f"SELECT count(*) FROM {ACTORS} WHERE actor = $1",  # noqa: S608  # a fixed name
    label="count audit actors",
)


@dataclass(frozen=True, slots=True)
class Left:
    """Something of a person that is still there: where, and how many rows or entries."""

    place: str
    count: int


@dataclass(frozen=True, slots=True)
class Unseen:
    """A place that could not be looked at, and why."""

    place: str
    reason: str


@dataclass(frozen=True, slots=True)
class DeletionReport:
    """Whether a person is gone. It is true only where every place could be looked at and nothing was found.

    Attributes:
        looked: every place that was looked at.
        left: where something was found.
        unseen: where it could not be looked.
    """

    looked: tuple[str, ...]
    left: tuple[Left, ...] = field(default=())
    unseen: tuple[Unseen, ...] = field(default=())

    def __bool__(self) -> bool:
        return not self.left and not self.unseen

    def __str__(self) -> str:
        if self:
            return f"Nothing is left in {len(self.looked)} places."
        lines = [f"{left.place}: {left.count} left" for left in self.left]
        lines += [f"{unseen.place}: cannot look, {unseen.reason}" for unseen in self.unseen]
        return "\n".join(lines)


_KEY: Final = "key of the person"
Question = tuple[str, Callable[[], Awaitable[int]]]
"""A place, and how much of a person there is in it."""


class Verifying:
    """Looks for what is left of persons."""

    def __init__(self, means: Means) -> None:
        self._db = means.db
        self._models = means.models
        self._keys = means.keys
        self._places = means.places

    async def verify(self, person: Person) -> DeletionReport:
        """Look everywhere, one place after the other."""
        if self._db.current() is not None:
            raise UsageError(
                "A verification sees what is committed: call it outside of any unit of work."
            )
        looked: list[str] = []
        left: list[Left] = []
        unseen = [
            Unseen(name, f"it does not declare personal_data, though {reason}")
            for name, reason in self._models.undeclared.items()
        ]
        if self._models.with_keys and self._keys is None:
            unseen.append(Unseen(_KEY, "it is not said where the keys of persons are"))
        for place, count in self._questions(person):
            looked.append(place)
            try:
                number = await count()
            except ServiceError as error:
                unseen.append(Unseen(place, error.message))
                continue
            if number:
                left.append(Left(place, number))
        return DeletionReport(tuple(looked), tuple(left), tuple(unseen))

    def _questions(self, person: Person) -> list[Question]:
        questions: list[Question] = []
        for name in sorted(self._models.holdings):
            questions += self._about(name, person)
        for model, column in self._models.mentions():
            questions.append(self._naming(model, column, person))
        questions.append((ERASURES, partial(self._rows, _UNFINISHED, person)))
        if self._keys is not None:
            questions.append((_KEY, partial(self._key, self._keys, person)))
        if self._models.audited:
            questions.append((ACTORS, partial(self._rows, _PSEUDONYMS, person)))
        if self._models.cached:
            questions.append((OWED_TABLE, partial(self._rows, OWED, person)))
        questions += [(place.name, partial(place.count, person.text)) for place in self._places]
        return questions

    def _about(self, name: str, person: Person) -> list[Question]:
        """Rows that name the person, and rows and links that are reached through others."""
        holding, subject = self._models.holdings[name], Subject(person)
        columns = {column for column in (holding.person, holding.config.owner) if column}
        found = [self._naming(name, column, person) for column in sorted(columns)]
        if holding.way is not None:
            reached = sa.select(sa.func.count()).select_from(holding.table)
            reached = reached.where(holding.unfinished(subject))
            place = f"{name}.{holding.way.column}"
            found.append((place, partial(self._count, reached, name)))
        for link in self._models.links[name]:
            about = sa.select(holding.table.c[link.target_column]).where(holding.of(subject))
            linked = sa.select(sa.func.count()).where(link.table.c[link.column].in_(about))
            place = f"{link.name}.{link.column}"
            found.append((place, partial(self._count, linked, link.name)))
        found += [
            (str(table.name), partial(self._vectors, holding, table, subject))
            for table in vector_tables(holding)
        ]
        return found

    def _naming(self, model: str, column: str, person: Person) -> Question:
        table = self._models.table(model)
        value = person.in_column(self._models.config(model), column)
        named = sa.false() if value is None else table.c[column] == value
        statement = sa.select(sa.func.count()).select_from(table).where(named)
        return f"{model}.{column}", partial(self._count, statement, model)

    async def _vectors(self, holding: Holding, table: sa.Table, subject: Subject) -> int:
        """Vectors of the person's rows, and of rows that are gone: nobody knows whose these were."""
        key = holding.table.c[holding.key]
        theirs = sa.select(key).where(holding.of(subject))
        gone = sa.not_(sa.exists().where(key == table.c.row_key))
        left = sa.or_(table.c.row_key.in_(theirs), gone)
        statement = sa.select(sa.func.count()).select_from(table).where(left)
        return await self._count(statement, str(table.name))

    async def _count(self, statement: Any, name: str) -> int:
        async with self._db.unit_of_work(read_only=True):
            await self._db.execute(_SEE_ALL)
            rows = await ask(self._db, statement, f"verify {name}")
        return int(rows[0][0])

    async def _rows(self, statement: Statement, person: Person) -> int:
        async with self._db.unit_of_work(read_only=True):
            await self._db.execute(_SEE_ALL)
            rows = await self._db.fetch(statement, (person.text,))
        return int(rows[0][0])

    async def _key(self, keys: PersonKeys, person: Person) -> int:
        return int(await keys.state(person.text) == "kept")
