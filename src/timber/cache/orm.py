"""What SQLAlchemy's sessions and statements change of cached models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy import event, inspect
from sqlalchemy.util import await_only

from timber.cache.coherence.owing import new_owed_id
from timber.database.clauses import parts_of
from timber.database.levels import Change
from timber.database.sessions import TRANSACTION, UnitOfWorkSession
from timber.models.owed_table import owed_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import ORMExecuteState, Session, SessionTransaction
    from sqlalchemy.orm.unitofwork import UOWTransaction

    from timber.cache.cached_model import CachedModel
    from timber.cache.coherence.cache import CoherentCache
    from timber.cache.coherence.changes import Changes
    from timber.database.manager import AsyncDatabaseManager

_CHANGES: Final = "timber_changes"
_OWED: Final = owed_table(sa.MetaData())


class OrmChanges:
    """Watches every session of a manager.

    Those of a unit of work tell it. The others begin and commit by themselves: what they change is owed and cleared around
    their own COMMIT.

    Args:
        models: by their mapped classes.
    """

    def __init__(
        self,
        cache: CoherentCache,
        db: AsyncDatabaseManager,
        models: Mapping[type[Any], CachedModel],
    ) -> None:
        self._cache = cache
        self._db = db
        self._models = dict(models)
        self._tables = {model.config.table: model for model in models.values()}
        self._made: WeakKeyDictionary[Session, UnitOfWorkSession] = WeakKeyDictionary()
        self._sessions: WeakKeyDictionary[sa.Connection, Session] = WeakKeyDictionary()

    def watch(self, made: AsyncSession) -> None:
        """Listen to a session that has been made."""
        session = made.sync_session
        if isinstance(made, UnitOfWorkSession):
            self._made[session] = made
        event.listen(session, "after_begin", self._begins)
        event.listen(session, "after_flush", self._flushed)
        event.listen(session, "do_orm_execute", self._executes)
        if TRANSACTION not in session.info:
            event.listen(session, "before_commit", self._before_commit)
            event.listen(session, "after_commit", self._after_commit)
            event.listen(session, "after_transaction_end", self._after_end)

    # What is written

    def _begins(
        self, session: Session, _transaction: SessionTransaction, connection: sa.Connection
    ) -> None:
        self._sessions[connection] = session

    def _flushed(self, session: Session, context: UOWTransaction) -> None:
        for row in (*session.new, *session.dirty):
            self._tell_row(session, row)
        # Orphans are deleted without being among those that the session says it deletes.
        for row in [state.obj() for state, (gone, _) in context.states.items() if gone]:
            model = self._tell_row(session, row)
            if model is not None:
                self._tell_all(session, model.taken)

    def _executes(self, state: ORMExecuteState) -> None:
        if not state.is_select and state.bind_mapper is not None:
            self._tell_whole(state.session, self._model_of(state.bind_mapper.class_))

    def executes(self, connection: sa.Connection, clause: Any) -> None:
        """See a statement that goes past the ORM's own ways."""
        if not isinstance(clause, sa.ClauseElement):
            return
        session = self._sessions.get(connection)
        if session is not None and session._flushing:  # noqa: SLF001  # nothing public says it
            return  # row by row, after the flush
        for part in parts_of(clause):
            if isinstance(part, sa.Insert | sa.Update | sa.Delete):
                # Which rows it will touch is not known here.
                self._tell_whole(session, self._tables.get(getattr(part.table, "name", "")))

    def _model_of(self, cls: type[Any]) -> CachedModel | None:
        return next((self._models[c] for c in cls.__mro__ if c in self._models), None)

    def _tell_row(self, session: Session, row: object) -> CachedModel | None:
        model = self._model_of(type(row))
        if model is None:
            return None
        state: Any = inspect(row)
        columns = state.mapper.local_table.c
        now: dict[str, Any] = {}
        before: dict[str, Any] = {}
        wanted = {model.key, *model.tag_columns}
        is_new = row in session.new
        for name in wanted:
            attribute = state.mapper.get_property_by_column(columns[name]).key
            if attribute in state.dict:
                history = state.attrs[attribute].history
                if history.added and not history.deleted and not is_new:
                    continue  # what it was before had not been read
                now[name] = state.dict[attribute]
                before[name] = history.deleted[0] if history.deleted else now[name]
        changed = []
        for name in model.followed:
            attribute = state.mapper.get_property_by_column(columns[name]).key
            history = state.attrs[attribute].history
            if history.deleted or (history.added and not is_new):
                changed.append(name)
        self._tell_all(session, model.followers(changed))
        if len(now) < len(wanted):
            self._tell_all(session, [model.name])  # PostgreSQL made a part of it that was not read
        elif model.is_cached:
            self._tell(session, model.name, [now[model.key]], model.tags_of(before, now))
        return model

    def _tell_whole(self, session: Session | None, model: CachedModel | None) -> None:
        if model is not None:
            own = [model.name] if model.is_cached else []
            followers = {name for column in model.followed for name in model.followers([column])}
            self._tell_all(session, [*own, *sorted(followers)])

    def _tell_all(self, session: Session | None, models: Iterable[str]) -> None:
        for name in models:
            self._tell(session, name, (), ())

    def _tell(
        self, session: Session | None, model: str, ids: Iterable[object], tags: Iterable[str]
    ) -> None:
        if session is not None and TRANSACTION not in session.info:
            self._changes_of(session).add(model, ids, tags)
            return
        made = self._made.get(session) if session is not None else None
        # Not the unit of work of the moment: an independent one may be open inside that of the session.
        noting = made if made is not None else self._db.current()
        if noting is not None:
            noting.note_change(Change(model, tuple(ids), tuple(tags)))

    # Sessions that commit by themselves

    def _changes_of(self, session: Session) -> Changes:
        changes: Changes = session.info.setdefault(_CHANGES, self._cache.changes())
        return changes

    def _before_commit(self, session: Session) -> None:
        if session.in_nested_transaction():
            return  # a savepoint is released; if it was rolled back instead, more is cleared than need be
        session.flush()
        changes = self._changes_of(session)
        if changes and self._cache.owing is not None:
            changes.owed = new_owed_id()
            owed = sa.insert(_OWED).values(id=changes.owed, names=list(changes.names))
            session.connection().execute(owed)

    def _after_commit(self, session: Session) -> None:
        if not session.in_nested_transaction():
            changes = session.info.pop(_CHANGES, None)
            if changes:
                await_only(self._cache.committed(changes))

    def _after_end(self, session: Session, transaction: SessionTransaction) -> None:
        changes = session.info.pop(_CHANGES, None) if transaction.parent is None else None
        if changes and changes.owed is not None:
            self._cache.overdue(changes)  # COMMIT was tried, and it is not known how it ended
