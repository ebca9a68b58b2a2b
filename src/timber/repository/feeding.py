"""Reading the rows of a feed in the order in which they can be seen: what has been committed since a position."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.dialects.postgresql import ARRAY

from timber.database.statements import parameter
from timber.errors import UsageError, ValidationError
from timber.models.feed_ddl import feed_by, feed_channel, feed_key
from timber.repository.positions import Position, Snapshot
from timber.repository.querying import Querying
from timber.repository.subscriptions import Batch, Feed, Subscription

if TYPE_CHECKING:
    from timber.database.statements import Statement

D = TypeVar("D", bound=BaseModel)

BATCH: Final = 100
"""How many rows a subscription reads at once."""

_SNAPSHOT = "_feed_snapshot"
_XID = "_feed_xid"


class Feeding(Querying[D]):
    """Tells of new rows as they are committed."""

    def subscribe(self, whose: object, *, after: str | None = None) -> Subscription[D]:
        """The rows of one owner as they are committed, by whichever process: ``async with`` it, and iterate.

        Args:
            whose: a value of the column that the model's feed goes by.
            after: the cursor of an earlier subscription, to go on behind it; else only what is committed from now on.

        Raises:
            UsageError: the model declares no feed.
            ValidationError: the cursor is damaged, or belongs to another feed or owner.
        """
        config = self.source.config
        by = feed_by(config)
        if by is None:
            raise UsageError(
                f"{self.source.name} declares no feed: add `feed: true` to its features."
            )
        value = self.source.check(by, whose)
        name = hashlib.blake2b(f"{config.table}:{by}:{value}".encode(), digest_size=8).hexdigest()
        feed: Feed[D] = Feed(
            name,
            check_key=self.source.check_key,
            watch=partial(self.db.listener.watch, feed_channel(config), feed_key(value)),
            start=partial(self._begin_feed, by, value),
            read=partial(self._read_feed, by, value),
        )
        return Subscription(feed, after)

    async def _begin_feed(self, by: str, whose: Any) -> Position:
        """Where a reader begins who wants only what is committed from now on."""
        self._refuse_unit_of_work()
        statement = self._beginning(by)
        row = (await self.db.fetch(statement, statement.bind({"whose": whose})))[0]
        return Position.at(Snapshot.parse(row[_SNAPSHOT]), row[_XID])

    async def _read_feed(self, by: str, whose: Any, position: Position) -> Batch[D]:
        """What has been committed since a position."""
        self._refuse_unit_of_work()
        if position.partly is not None:
            return await self._read_rest(by, whose, position, position.partly)
        statement = self._new_rows(by)
        values = {"whose": whose, "end": position.end, "open": sorted(position.open)}
        records = await self.db.fetch(statement, statement.bind({**values, "limit": BATCH}))
        snapshot = Snapshot.parse(records[0][_SNAPSHOT])
        if snapshot.end < position.end:
            raise ValidationError.of(
                "after",
                "is ahead of this database: it belongs to another one, or this one was restored",
            )
        if records[0][_XID] is None:
            records = []
        full = len(records) == BATCH
        key = self.source.key
        found = [(record[_XID], record[key]) for record in records]
        behind = position.behind_each(found, snapshot, full=full)
        rows = await self._load(self.dto, records)
        return Batch(list(zip(rows, behind, strict=False)), behind[-1], more=full)

    async def _read_rest(
        self, by: str, whose: Any, position: Position, partly: tuple[int, Any]
    ) -> Batch[D]:
        """What is left of a transaction that has been read partly; it is committed, so that no more will come."""
        statement = self._further_rows(by)
        values = {"whose": whose, "xid": partly[0], "key": partly[1], "limit": BATCH}
        records = await self.db.fetch(statement, statement.bind(values))
        keys = [record[self.source.key] for record in records]
        behind = position.rest_behind_each(keys, full=len(records) == BATCH)
        rows = await self._load(self.dto, records)
        return Batch(list(zip(rows, behind, strict=False)), behind[-1], more=True)

    def _refuse_unit_of_work(self) -> None:
        if self.db.current() is not None:
            raise UsageError(
                "A subscription gives what others commit, and waits for it; a unit of work would be held open all the "
                "while. Subscribe outside of it."
            )

    # Statements

    def _beginning(self, by: str) -> Statement:
        def build() -> Statement:
            table = self.source.table
            now, xid = _now(), self._xid()
            latest = (
                sa.select(sa.func.max(xid))
                .where(self._whose(by), xid < now.c.end)
                .correlate(now)
                .scalar_subquery()
            )
            statement = sa.select(now.c.snapshot.label(_SNAPSHOT), latest.label(_XID))
            return self._compile(statement.select_from(now), f"feed of {table.name}")

        return self._statement(("feed", "begin", by), build)

    def _new_rows(self, by: str) -> Statement:
        def build() -> Statement:
            now, xid, key = _now(), self._xid(), self.source.table.c[self.source.key]
            chosen = (*self._selected(self.dto, key.name), xid.label(_XID))

            def rows(*conditions: Any) -> Any:
                # Ids of a database that this one was restored from may lie ahead of it.
                found = sa.select(*chosen).where(self._whose(by), *conditions, xid < now.c.end)
                return found.correlate(now).order_by(xid, key).limit(limit)

            # Each half comes from the index in its order, however far behind the reader is.
            limit = parameter("limit", sa.BigInteger())
            late = rows(xid >= parameter("end", sa.BigInteger()))
            early = rows(xid == sa.any_(parameter("open", ARRAY(sa.BigInteger()))))
            both = sa.union_all(late, early)
            added = (
                both.order_by(both.selected_columns[_XID], both.selected_columns[key.name])
                .limit(limit)
                .lateral("added")
            )
            # One row at least, so that the snapshot comes also when nothing is new.
            statement = (
                sa.select(*added.c, now.c.snapshot.label(_SNAPSHOT))
                .select_from(now.outerjoin(added, sa.true()))
                .order_by(added.c[_XID], added.c[key.name])
            )
            return self._compile(statement, "feed")

        return self._statement(("feed", "new", by), build)

    def _further_rows(self, by: str) -> Statement:
        def build() -> Statement:
            key = self.source.table.c[self.source.key]
            statement = (
                sa.select(*self._selected(self.dto, key.name))
                .where(
                    self._whose(by),
                    self._xid() == parameter("xid", sa.BigInteger()),
                    key > parameter("key", key.type),
                )
                .order_by(key)
                .limit(parameter("limit", sa.BigInteger()))
            )
            return self._compile(statement, "feed")

        return self._statement(("feed", "rest", by), build)

    def _whose(self, by: str) -> Any:
        column = self.source.table.c[by]
        return column == parameter("whose", column.type)

    def _xid(self) -> Any:
        feed = self.source.config.features.feed
        assert feed is not None
        return self.source.table.c[feed.column]


def _now() -> Any:
    snapshot = sa.func.pg_current_snapshot()
    end = sa.cast(sa.func.pg_snapshot_xmax(snapshot), sa.Text)
    return sa.select(
        sa.cast(snapshot, sa.Text).label("snapshot"), sa.cast(end, sa.BigInteger).label("end")
    ).subquery("now")
