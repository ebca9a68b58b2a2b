"""What there is of a person, by model, and what an erasure would do with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from timber.privacy.asking import ask
from timber.privacy.holdings import Subject

if TYPE_CHECKING:
    from datetime import datetime

    from timber.database.manager import AsyncDatabaseManager
    from timber.models.config import ModelConfig
    from timber.privacy.holdings import Holding
    from timber.privacy.means import Means
    from timber.privacy.people import Person


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """The rows of one model that are about a person.

    Attributes:
        rows: how many there are, soft-deleted ones included.
        deleted: how many of them are soft-deleted.
        oldest: when the oldest was made, where the model knows.
        on_erasure: ``delete``, ``anonymise`` or ``destroy_key``.
        columns: what is emptied in rows that stay.
        route: how a row leads to its person.
    """

    model: str
    rows: int
    deleted: int
    oldest: datetime | None
    newest: datetime | None
    on_erasure: str
    columns: tuple[str, ...]
    route: str


@dataclass(frozen=True, slots=True)
class UserDataSummary:
    """What there is of a person.

    Attributes:
        undeclared: models that may hold personal data and do not say so, each with the reason.
    """

    models: tuple[ModelSummary, ...]
    undeclared: dict[str, str]

    @property
    def rows(self) -> int:
        """How many rows there are in all."""
        return sum(model.rows for model in self.models)


async def summarise(means: Means, person: Person) -> UserDataSummary:
    """Count what there is of a person."""
    summaries = [
        await _summary(means.db, means.models.holdings[name], Subject(person))
        for name in sorted(means.models.holdings)
    ]
    return UserDataSummary(tuple(summaries), dict(means.models.undeclared))


async def _summary(db: AsyncDatabaseManager, holding: Holding, subject: Subject) -> ModelSummary:
    table = holding.table
    made = made_at(holding.config)
    deleted = table.c.deleted_at if holding.config.soft_delete else sa.null()
    moment: Any = (
        table.c[made] if made is not None else sa.cast(sa.null(), sa.DateTime(timezone=True))
    )
    statement = (
        sa.select(sa.func.count(), sa.func.count(deleted), sa.func.min(moment), sa.func.max(moment))
        .select_from(table)
        .where(holding.of(subject))
    )
    rows, gone, oldest, newest = (await ask(db, statement, f"summary {holding.name}"))[0]
    columns = list(holding.neutral)
    if holding.stays and holding.person is not None:
        columns.insert(0, holding.person)
    return ModelSummary(
        holding.name,
        rows,
        gone,
        oldest,
        newest,
        holding.declared.on_erasure,
        tuple(columns),
        holding.route,
    )


def made_at(config: ModelConfig) -> str | None:
    """The column that tells when a row was made, if one does."""
    if config.timestamps:
        return "created_at"
    return next(
        (
            column.name
            for column in config.columns
            if column.type.kind == "DateTime"
            and column.default is not None
            and column.default.kind == "now"
        ),
        None,
    )
