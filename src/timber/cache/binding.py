"""Where the cache hangs on the database: what a unit of work has changed is owed before its COMMIT and cleared after it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from timber.cache.cached_model import cached_models
from timber.cache.model_cache import ModelCache
from timber.cache.orm import OrmChanges
from timber.database.statements import Statement

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from timber.cache.coherence.cache import CoherentCache
    from timber.cache.coherence.changes import Changes
    from timber.database.manager import AsyncDatabaseManager
    from timber.database.moments import EndingUnit
    from timber.models.registry import ModelRegistry


class Binding:
    """Hooks a cache into the moments of a database, and gives it the models there.

    Args:
        registry: its models say what is cached; writes to others cost nothing.
    """

    def __init__(
        self, cache: CoherentCache, db: AsyncDatabaseManager, registry: ModelRegistry
    ) -> None:
        self._cache = cache
        self._db = db
        models = cached_models(registry)
        cache.models = {name: ModelCache(cache, model) for name, model in models.items()}
        classes = {registry.get_model(name): model for name, model in models.items()}
        self._orm = OrmChanges(cache, db, classes)
        self._owing: WeakKeyDictionary[EndingUnit, Changes] = WeakKeyDictionary()
        moments = db.moments
        moments.session_made.append(self._orm.watch)
        moments.before_execute.append(self._orm.executes)
        moments.before_commit.append(self._before_commit)
        # First of all: what callbacks read is to be there.
        moments.after_commit.insert(0, self._after_commit)
        moments.after_rollback.append(self._after_rollback)
        cache.in_transaction = self._in_transaction

    def unbind(self) -> None:
        """Take the hooks out again."""
        moments = self._db.moments
        moments.session_made.remove(self._orm.watch)
        moments.before_execute.remove(self._orm.executes)
        moments.before_commit.remove(self._before_commit)
        moments.after_commit.remove(self._after_commit)
        moments.after_rollback.remove(self._after_rollback)
        self._cache.models = {}

    def _in_transaction(self) -> bool:
        return self._db.current() is not None

    async def _before_commit(self, unit: EndingUnit) -> None:
        current = self._db.current()
        if current is not None and current.transaction.session is not None:
            # What the session still holds back would only be written by COMMIT itself, after the owed row.
            await current.session.flush()
        if not unit.changes:
            return
        changes = self._cache.changes()
        for change in unit.changes:
            add = changes.add_said if change.is_said else changes.add
            add(change.model, change.ids, change.tags)
        self._owing[unit] = changes
        text = self._cache.owed_text(changes)
        if text is None or unit.say_last(text):
            return
        owed = self._cache.owed_statement(changes)
        if owed is not None:
            sql, args = owed
            await self._db.execute(Statement(sql, label="insert owed"), args)

    def _after_commit(self, unit: EndingUnit) -> Awaitable[None] | None:
        changes = self._owing.pop(unit, None)
        if changes is None:
            return None
        if unit.outcome == "committed" and not unit.is_part:
            return self._cache.committed(changes)
        # Who has the whole may commit later than this, or the server that was not heard of.
        return self._cache.unknown(changes)

    def _after_rollback(self, unit: EndingUnit) -> None:
        self._owing.pop(unit, None)
