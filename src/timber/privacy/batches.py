"""The steps of an erasure: a bounded number of rows in one transaction, which also notes what it has done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from timber.models.audit_tables import ACTORS
from timber.privacy.asking import ask, tell
from timber.privacy.holdings import Subject
from timber.privacy.vectors import drop_vectors

if TYPE_CHECKING:
    from sqlalchemy.sql.elements import ColumnElement

    from timber.privacy.holdings import Holding
    from timber.privacy.journal import Erasure, Journal
    from timber.privacy.means import Means
    from timber.privacy.people import Person
    from timber.privacy.places import Place
    from timber.privacy.planning import Link, Reference


class Batches:
    """Steps over the rows of one person, each committed by itself.

    Every step says how many rows it has dealt with; none are left for it when it says 0.

    Args:
        size: how many rows a step deals with at most.
    """

    def __init__(
        self, means: Means, journal: Journal, erasure: Erasure, person: Person, size: int
    ) -> None:
        self.erasure = erasure
        self.subject = Subject(person, erasure.token)
        self._means = means
        self._db = means.db
        self._models = means.models
        self._repositories = means.repositories
        self._journal = journal
        self._size = size

    async def _step(self, work: Callable[[], Awaitable[tuple[str, str, int]]]) -> int:
        """One transaction: nobody else works on this erasure meanwhile, and what was done is noted in it."""

        async def body(_: object) -> int:
            if not await self._journal.lock(self.erasure):
                return 0
            name, what, number = await work()
            self.erasure.count(name, what, number)
            if number:
                await self._journal.save(self.erasure)
            return number

        return await self._db.run(body, retry_locks=True)

    async def remove_links(self, link: Link) -> int:
        """Delete rows of an association table that refer to rows which are going to be deleted."""
        holding = self._models.holdings[link.target]

        async def work() -> tuple[str, str, int]:
            columns = list(link.table.primary_key.columns)
            about = _column_of(holding, link.target_column, holding.of(self.subject))
            picked = (
                sa.select(*columns)
                .where(link.table.c[link.column].in_(about))
                .limit(self._size)
                .with_for_update(of=link.table)
            )
            statement = link.table.delete().where(sa.tuple_(*columns).in_(picked))
            number = await tell(self._db, statement, f"erase {link.name}")
            return link.name, "deleted", number

        return await self._step(work)

    async def cut_references(self, reference: Reference) -> int:
        """Empty references of rows that stay to rows which are going to be deleted."""
        holding = self._models.holdings[reference.target]
        referring = self._models.holdings[reference.model]
        rows = referring.table.alias("referring")
        about = _column_of(holding, reference.target_column, holding.of(self.subject))
        still = referring.unfinished(self.subject, rows)
        chosen = sa.and_(
            rows.c[reference.column].in_(about),
            # What is to be erased by its own step keeps the reference that it is found by.
            sa.not_(sa.func.coalesce(still, sa.false())),
        )
        return await self._empty(reference.model, reference.column, rows, chosen)

    async def cut_mentions(self, model: str, column: str) -> int:
        """Take the person's id out of rows that are about somebody else."""
        config = self._models.config(model)
        rows = self._models.table(model).alias("mentioning")
        value = self.subject.person.in_column(config, column)
        if value is None:
            return 0
        chosen = rows.c[column] == sa.literal(value, rows.c[column].type)
        return await self._empty(model, column, rows, chosen)

    async def _empty(self, model: str, column: str, rows: Any, chosen: ColumnElement[bool]) -> int:
        key = self._models.config(model).primary_key
        picked = sa.select(rows.c[key]).where(chosen).limit(self._size).with_for_update(of=rows)

        async def work() -> tuple[str, str, int]:
            keys = [row[0] for row in await ask(self._db, picked, f"pick {model}")]
            number = 0
            if keys:
                repository = self._repositories(model)
                condition = repository.where[key].in_(keys)
                number = await repository.update_where(
                    {column: None}, condition, include_deleted=True
                )
            return model, "emptied", number

        return await self._step(work)

    async def delete(self, holding: Holding) -> int:
        """Delete rows that nothing refers to any more but by references that can be emptied."""

        async def work() -> tuple[str, str, int]:
            keys = await self.lock(holding)
            number = 0
            if keys:
                await self._let_go(holding, keys)
                repository = self._repositories(holding.name)
                condition = repository.where[holding.key].in_(keys)
                number = await repository.delete_where(condition, hard=True)
                await self._forget_values(holding, keys)
            return holding.name, "deleted", number

        return await self._step(work)

    async def anonymise(self, holding: Holding) -> int:
        """Empty what is personal in rows that stay."""

        async def work() -> tuple[str, str, int]:
            keys = await self.lock(holding)
            number = 0
            if keys:
                number = await anonymise(self._means, holding, self.subject, keys)
                await self._forget_values(holding, keys)
            return holding.name, "anonymised", number

        return await self._step(work)

    async def forget_actor(self) -> int:
        """Have the audit forget whose the pseudonyms of the person were."""
        audit = self._means.audit
        if audit is None or not self._models.audited:
            return 0

        async def work() -> tuple[str, str, int]:
            return ACTORS, "emptied", await audit.forget_actor(self.subject.person.text)

        return await self._step(work)

    async def clear(self, place: Place) -> int:
        """Take out what another place keeps of the person."""
        # Outside of the transaction that notes it: it may take its time.
        number = await place.erase(self.subject.person.text)

        async def work() -> tuple[str, str, int]:
            return place.name, "deleted", number

        return await self._step(work)

    async def _forget_values(self, holding: Holding, keys: list[Any]) -> None:
        """Have the audit forget what its digests of these rows were made with: no value can be held against them then."""
        if self._means.audit is not None and self._means.audits(holding.name):
            await self._means.audit.forget_values(holding.name, keys)

    async def lock(self, holding: Holding) -> list[Any]:
        """The keys of rows that an erasure can deal with now, locked so that nothing new comes to refer to them."""
        key = holding.table.c[holding.key]
        free = [sa.not_(sa.exists().where(kept)) for kept in self._kept_back(holding)]
        picked = (
            sa.select(key)
            .where(holding.unfinished(self.subject), *free)
            .limit(self._size)
            .with_for_update(of=holding.table)
        )
        keys = [row[0] for row in await ask(self._db, picked, f"pick {holding.name}")]
        if not keys or not free:
            return keys
        # What came to refer to a row before it was locked is seen by a new statement only.
        among = key == sa.any_(sa.literal(keys, ARRAY(key.type)))
        again = sa.select(key).where(among, *free)
        return [row[0] for row in await ask(self._db, again, f"pick {holding.name} again")]

    def _kept_back(self, holding: Holding) -> list[ColumnElement[bool]]:
        """What has to be gone or emptied before a row of the holding can be."""
        kept = []
        for child, way in self._models.ways_to(holding.name):
            rows = child.table.alias("child")
            referred = holding.table.c[way.target_column]
            kept.append(child.keeps_back(self.subject, way.column, referred, rows))
        if not holding.stays:
            for reference in self._models.blocking(holding.name):
                rows = self._models.table(reference.model).alias("referring")
                referred = holding.table.c[reference.target_column]
                refers = rows.c[reference.column] == referred
                if reference.model == holding.name:
                    own = rows.c[holding.key] != holding.table.c[holding.key]
                    refers = sa.and_(refers, own)
                kept.append(refers)
        return kept

    async def _let_go(self, holding: Holding, keys: list[Any]) -> None:
        """Take away what has come to refer to these rows since the steps before."""
        among = holding.table.c[holding.key] == sa.any_(
            sa.literal(keys, ARRAY(holding.table.c[holding.key].type))
        )
        for link in self._models.links[holding.name]:
            referred = _column_of(holding, link.target_column, among)
            statement = link.table.delete().where(link.table.c[link.column].in_(referred))
            await tell(self._db, statement, f"erase {link.name}")
        for reference in self._models.references[holding.name]:
            if not reference.nullable:
                continue
            referred = _column_of(holding, reference.target_column, among)
            repository = self._repositories(reference.model)
            column = self._models.table(reference.model).c[reference.column]
            await repository.update_where(
                {reference.column: None}, column.in_(referred), include_deleted=True
            )


def _column_of(holding: Holding, column: str, condition: ColumnElement[bool]) -> sa.Select[Any]:
    """A column of a holding's rows as a subquery of its own, also where the statement around it has the same table."""
    return sa.select(holding.table.c[column]).where(condition).correlate(None)


async def anonymise(means: Means, holding: Holding, subject: Subject, keys: list[Any]) -> int:
    """Empty what is personal in these rows; how many they were."""
    repository = means.repositories(holding.name)
    condition = repository.where[holding.key].in_(keys)
    number = 0
    for values in holding.changes(subject, repository.source.kept):
        number = await repository.update_where(values, condition, include_deleted=True)
    await drop_vectors(means, holding, keys)
    return number
