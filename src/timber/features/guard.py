"""Ways past the repository: refused for models whose features would not see what happens there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import event, inspect

from timber.database.clauses import parts_of
from timber.errors import FeatureBypassedError
from timber.features.providers import row_features
from timber.models.stored import is_encrypted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import Session

    from timber.database.manager import AsyncDatabaseManager
    from timber.models.config import ModelConfig
    from timber.models.registry import ModelRegistry


class FeatureGuard:
    """Watches every session and connection of a manager: ORM writes to models with row features, and reads of their
    encrypted columns, are refused, whether they go through a session or are statements of Core.

    SQL as text is not looked into: who writes it says what it changed with ``uow.invalidate``.
    """

    def __init__(self, db: AsyncDatabaseManager, registry: ModelRegistry) -> None:
        models = [registry.model_config(name) for name in registry.list_models()]
        self._tables = {config.table: config for config in models if row_features(config)}
        if self._tables:
            db.moments.session_made.append(self._watch)
            db.moments.before_execute.append(self._check)

    def _watch(self, session: AsyncSession) -> None:
        event.listen(session.sync_session, "before_flush", self._check_flush)

    def _check_flush(self, session: Session, _context: object, _instances: object) -> None:
        for row in (*session.new, *session.dirty, *session.deleted):
            table = inspect(type(row)).local_table
            config = self._tables.get(getattr(table, "name", ""))
            if config is not None and (row not in session.dirty or session.is_modified(row)):
                raise _refusal(config, "writes through an ORM session")

    def _check(self, _connection: object, clause: Any) -> None:
        if not isinstance(clause, sa.ClauseElement):
            return
        for element in parts_of(clause):
            if isinstance(element, sa.Insert | sa.Update | sa.Delete):
                config = self._tables.get(getattr(element.table, "name", ""))
                if config is not None:
                    raise _refusal(config, "writes with SQLAlchemy statements")
                columns: Iterable[Any] = element.exported_columns
            elif isinstance(element, sa.Select):
                columns = element.selected_columns
            else:
                columns = (element,)
            for column in columns:
                if isinstance(column, sa.ColumnElement):
                    self._check_column(column)

    def _check_column(self, column: sa.ColumnElement[Any]) -> None:
        for base in column.base_columns:
            table = getattr(base, "table", None)
            config = self._tables.get(getattr(table, "name", None) or "")
            name = getattr(base, "name", None)
            if config is not None and name is not None and is_encrypted(config, name):
                raise _refusal(config, f"reads of {name}, which is encrypted,")


def _refusal(config: ModelConfig, what: str) -> FeatureBypassedError:
    features = ", ".join(row_features(config))
    return FeatureBypassedError(
        f"{what[0].upper()}{what[1:]} go past what {config.name} declares ({features}). Use the repository: insert(), update(), "
        "upsert(), update_where(), delete() and get() of timber.repository() or of the model's service see every row."
    )
