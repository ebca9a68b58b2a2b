"""What mixins promise of every row, on SQLAlchemy's way to many rows at once, which knows nothing of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import event

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import ORMExecuteState

    from timber.database.manager import AsyncDatabaseManager
    from timber.models.registry import ModelRegistry


class OrmMixins:
    """Watches every session of a manager: an ``update()`` of a mapped class counts up the versions of its rows and sets
    their times, unless it sets them itself.

    Without it an update with ``expected_version`` would not find that rows have changed, and a change would be lost.
    """

    def __init__(self, db: AsyncDatabaseManager, registry: ModelRegistry) -> None:
        configs = [registry.model_config(name) for name in registry.list_models()]
        self._tables = {c.table: c for c in configs if c.versioned or c.timestamps}
        if self._tables:
            db.moments.session_made.append(self._watch)

    def _watch(self, session: AsyncSession) -> None:
        event.listen(session.sync_session, "do_orm_execute", self._complete)

    def _complete(self, state: ORMExecuteState) -> None:
        if not state.is_update or state.bind_mapper is None or isinstance(state.parameters, list):
            return  # rows given by their keys come with their versions: SQLAlchemy compares them
        table: Any = state.bind_mapper.local_table
        config = self._tables.get(table.name)
        if config is None:
            return
        statement: Any = state.statement
        given = {getattr(column, "name", column) for column in statement._values or ()}  # noqa: SLF001  # nothing public says it
        further: dict[Any, Any] = {}
        if config.versioned and "version" not in given:
            further[table.c.version] = table.c.version + 1
        if config.timestamps and "updated_at" not in given:
            further[table.c.updated_at] = datetime.now(UTC)
        if further:
            state.statement = statement.values(further)
