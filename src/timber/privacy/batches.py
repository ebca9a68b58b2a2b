"""The steps of an erasure: a bounded number of rows in one transaction, which also notes what it has done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from timber.models.audit_tables import ACTORS
from timber.privacy.asking import Question, ask, tell
from timber.privacy.holdings import Subject
from timber.privacy.vectors import drop_vectors

if TYPE_CHECKING:
    from sqlalchemy.sql.elements import ColumnElement

    from timber.database.manager import AsyncDatabaseManager
    from timber.privacy.holdings import Holding
    from timber.privacy.journal import Erasure, Journal
    from timber.privacy.means import Means
    from timber.privacy.people import Person
    from timber.privacy.places import Place
    from timber.privacy.planning import Link, Reference


class Pick:
    """Some rows to deal with at once: whether there are any, and their keys, locked.

    Args:
        rows: the statement for the keys.
        locked: the table, or what it is called there.
    """

    def __init__(
        self, db: AsyncDatabaseManager, rows: sa.Select[Any], locked: Any, size: int, name: str
    ) -> None:
        self.picked: sa.Select[Any] = rows.limit(size).with_for_update(of=locked)
        self._finds = Question(db, sa.select(sa.exists(rows)), f"look for {name}")
        self._keys = Question(db, self.picked, f"pick {name}")

    async def finds(self) -> bool:
        """Whether there are any."""
        return bool((await self._finds.rows())[0][0])

    async def keys(self) -> list[Any]:
        """The first column of some of them, which are locked until the transaction ends."""
        return [row[0] for row in await self._keys.rows()]


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
        self.subject: Subject = Subject(person, erasure.token)
        self._means = means
        self._db = means.db
        self._models = means.models
        self._repositories = means.repositories
        self._journal = journal
        self._size = size
        self._picks: dict[Any, Pick] = {}

    async def _step(self, name: str, what: str, work: Callable[[], Awaitable[int]]) -> int:
        """One transaction: nobody else works on this erasure meanwhile, and what was done is noted in it."""

        async def body(_: object) -> int:
            if not await self._journal.lock(self.erasure):
                return 0
            number = await work()
            self.erasure.count(name, what, number)
            if number:
                await self._journal.save(self.erasure)
            return number

        return await self._db.run(body, retry_locks=True)

    async def _over(
        self, name: str, what: str, pick: Pick, work: Callable[[list[Any]], Awaitable[int]]
    ) -> int:
        """A step over rows; without a transaction where there are none."""
        if not await pick.finds():
            return 0

        async def with_keys() -> int:
            keys = await pick.keys()
            return await work(keys) if keys else 0

        return await self._step(name, what, with_keys)

    async def remove_links(self, link: Link) -> int:
        """Delete rows of an association table that refer to rows which are going to be deleted."""
        columns = list(link.table.primary_key.columns)
        place = link.name, link.column
        if place not in self._picks:
            holding = self._models.holdings[link.target]
            about = _column_of(holding, link.target_column, holding.of(self.subject))
            rows = sa.select(*columns).where(link.table.c[link.column].in_(about))
            self._picks[place] = Pick(self._db, rows, link.table, self._size, link.name)
        pick = self._picks[place]

        async def work(_: list[Any]) -> int:
            chosen = sa.tuple_(*columns).in_(pick.picked)
            return await tell(self._db, link.table.delete().where(chosen), f"erase {link.name}")

        return await self._over(link.name, "deleted", pick, work)

    async def cut_references(self, reference: Reference) -> int:
        """Empty references of rows that stay to rows which are going to be deleted."""
        place = reference.model, reference.column, reference.target
        if place not in self._picks:
            holding = self._models.holdings[reference.target]
            referring = self._models.holdings[reference.model]
            rows = referring.table.alias("referring")
            about = _column_of(holding, reference.target_column, holding.of(self.subject))
            # What is to be erased by its own step keeps the reference that it is found by.
            own = sa.func.coalesce(referring.unfinished(self.subject, rows), sa.false())
            chosen = sa.and_(rows.c[reference.column].in_(about), sa.not_(own))
            self._picks[place] = self._pick(reference.model, rows, chosen)
        return await self._empty(reference.model, reference.column, self._picks[place])

    async def cut_mentions(self, model: str, column: str) -> int:
        """Take the person's id out of rows that are about somebody else."""
        value = self.subject.person.in_column(self._models.config(model), column)
        if value is None:
            return 0
        if (model, column) not in self._picks:
            rows = self._models.table(model).alias("mentioning")
            chosen = rows.c[column] == sa.literal(value, rows.c[column].type)
            self._picks[model, column] = self._pick(model, rows, chosen)
        return await self._empty(model, column, self._picks[model, column])

    def _pick(self, model: str, rows: Any, chosen: ColumnElement[bool]) -> Pick:
        key = rows.c[self._models.config(model).primary_key]
        return Pick(self._db, sa.select(key).where(chosen), rows, self._size, model)

    async def _empty(self, model: str, column: str, pick: Pick) -> int:
        async def work(keys: list[Any]) -> int:
            repository = self._repositories(model)
            condition = repository.where[self._models.config(model).primary_key].in_(keys)
            return await repository.update_where({column: None}, condition, include_deleted=True)

        return await self._over(model, "emptied", pick, work)

    async def delete(self, holding: Holding) -> int:
        """Delete rows that nothing refers to any more but by references that can be emptied."""

        async def work(keys: list[Any]) -> int:
            keys = await self._still_free(holding, keys)
            if not keys:
                return 0
            await self._let_go(holding, keys)
            repository = self._repositories(holding.name)
            condition = repository.where[holding.key].in_(keys)
            number = await repository.delete_where(condition, hard=True)
            await self._forget_values(holding, keys)
            return number

        return await self._over(holding.name, "deleted", self._unfinished(holding), work)

    async def anonymise(self, holding: Holding) -> int:
        """Empty what is personal in rows that stay."""

        async def work(keys: list[Any]) -> int:
            keys = await self._still_free(holding, keys)
            if not keys:
                return 0
            number = await anonymise(self._means, holding, self.subject, keys)
            await self._forget_values(holding, keys)
            return number

        return await self._over(holding.name, "anonymised", self._unfinished(holding), work)

    async def forget_actor(self) -> int:
        """Have the audit forget whose the pseudonyms of the person were."""
        audit = self._means.audit
        if audit is None or not self._models.audited:
            return 0

        return await self._step(
            ACTORS, "emptied", lambda: audit.forget_actor(self.subject.person.text)
        )

    async def clear(self, place: Place) -> int:
        """Take out what another place keeps of the person."""
        # Outside of the transaction that notes it: it may take its time.
        number = await place.erase(self.subject.person.text)

        async def noted() -> int:
            return number

        return await self._step(place.name, "deleted", noted) if number else 0

    async def _forget_values(self, holding: Holding, keys: list[Any]) -> None:
        """Have the audit forget what its digests of these rows were made with: no value can be held against them then."""
        if self._means.audit is not None and self._means.audits(holding.name):
            await self._means.audit.forget_values(holding.name, keys)

    def _unfinished(self, holding: Holding) -> Pick:
        """Rows that can be dealt with now. Locked, nothing new can come to refer to them."""
        if holding.name not in self._picks:
            free = [sa.not_(sa.exists().where(kept)) for kept in self._kept_back(holding)]
            chosen = sa.and_(holding.unfinished(self.subject), *free)
            self._picks[holding.name] = self._pick(holding.name, holding.table, chosen)
        return self._picks[holding.name]

    async def _still_free(self, holding: Holding, keys: list[Any]) -> list[Any]:
        """Those of these rows that nothing keeps back; what came to refer to one just before it was locked is seen now."""
        free = [sa.not_(sa.exists().where(kept)) for kept in self._kept_back(holding)]
        if not free:
            return keys
        key = holding.table.c[holding.key]
        among = key == sa.any_(sa.literal(keys, ARRAY(key.type)))
        rows = await ask(self._db, sa.select(key).where(among, *free), f"pick {holding.name}")
        return [row[0] for row in rows]

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
