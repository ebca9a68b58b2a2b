"""Where the cache hangs on the database: what a unit of work has changed is owed before its COMMIT and cleared after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from sqlalchemy import event, inspect

from timber.database.statements import Statement

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import ORMExecuteState, Session

    from timber.cache.coherence.cache import CoherentCache
    from timber.cache.coherence.changes import Changes
    from timber.cache.keys import TagTemplate
    from timber.database.manager import AsyncDatabaseManager
    from timber.database.moments import EndingUnit


class CachedModel:
    """A model whose rows or lists are cached.

    Args:
        name: the model's name.
        key: its key column.
        tags: what its lists hang on.
    """

    def __init__(self, name: str, key: str, tags: Iterable[TagTemplate] = ()) -> None:
        self.name = name
        self.key = key
        self.tags = tuple(tags)

    def tags_of(self, *rows: Mapping[str, Any]) -> list[str]:
        """The tags of rows: of each as it was, and as it is."""
        return list(dict.fromkeys(tag.of(row) for row in rows for tag in self.tags))


class Binding:
    """Hooks a cache into the moments of a database.

    Args:
        models: the cached models by their mapped classes; writes to others cost nothing.
    """

    def __init__(
        self, cache: CoherentCache, db: AsyncDatabaseManager, models: Mapping[type, CachedModel]
    ) -> None:
        self._cache = cache
        self._db = db
        self._models = dict(models)
        self._owing: WeakKeyDictionary[EndingUnit, Changes] = WeakKeyDictionary()
        moments = db.moments
        moments.session_made.append(self._session_made)
        moments.before_commit.append(self._before_commit)
        # First of all: what callbacks read is to be there.
        moments.after_commit.insert(0, self._after_commit)
        moments.after_rollback.append(self._after_rollback)
        cache.in_transaction = self._in_transaction

    def unbind(self) -> None:
        """Take the hooks out again."""
        moments = self._db.moments
        moments.session_made.remove(self._session_made)
        moments.before_commit.remove(self._before_commit)
        moments.after_commit.remove(self._after_commit)
        moments.after_rollback.remove(self._after_rollback)

    def _in_transaction(self) -> bool:
        return self._db.current() is not None

    # Units of work

    async def _before_commit(self, unit: EndingUnit) -> None:
        current = self._db.current()
        if current is not None and current.transaction.session is not None:
            # What the session still holds back would only be written by COMMIT itself, after the owed row.
            await current.session.flush()
        changes = self._cache.changes()
        for change in unit.changes:
            changes.add(change.model, change.ids, change.tags)
        if not changes:
            return
        self._owing[unit] = changes
        owed = self._cache.owed_statement(changes)
        if owed is not None:
            sql, args = owed
            await self._db.execute(Statement(sql, label="insert owed"), args)

    async def _after_commit(self, unit: EndingUnit) -> None:
        changes = self._owing.pop(unit, None)
        if changes is None:
            return
        if unit.outcome == "committed":
            await self._cache.committed(changes)
        else:
            await self._cache.unknown(changes)

    def _after_rollback(self, unit: EndingUnit) -> None:
        self._owing.pop(unit, None)

    # The ORM

    def _session_made(self, session: AsyncSession) -> None:
        event.listen(session.sync_session, "after_flush", self._flushed)
        event.listen(session.sync_session, "do_orm_execute", self._executes)

    def _flushed(self, session: Session, _context: object) -> None:
        for row in (*session.new, *session.dirty, *session.deleted):
            model = self._models.get(type(row))
            if model is None:
                continue
            state: Any = inspect(row)
            now = {name: getattr(row, name) for tag in model.tags for name in tag.columns}
            before = {
                name: history.deleted[0]
                for name in now
                if (history := state.attrs[name].history).deleted
            }
            tags = model.tags_of({**now, **before}, now)
            self._changed(model.name, [getattr(row, model.key)], tags)

    def _executes(self, state: ORMExecuteState) -> None:
        if state.is_select or state.bind_mapper is None:
            return
        model = self._models.get(state.bind_mapper.class_)
        if model is not None:
            # Which rows it will touch is not known here: all of the model.
            self._changed(model.name, (), ())

    def _changed(self, model: str, ids: Iterable[object], tags: Iterable[str]) -> None:
        unit = self._db.current()
        if unit is not None:
            unit.invalidate(model, ids=ids, tags=tags)
