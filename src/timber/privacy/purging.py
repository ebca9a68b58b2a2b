"""Retention: rows whose time is over go for good, children first, a bounded number in each transaction."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from timber.errors import ConflictError, UsageError, ValidationError
from timber.privacy.asking import ask
from timber.privacy.dependents import Dependents

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.sql.elements import ColumnElement

    from timber.privacy.holdings import Holding
    from timber.privacy.means import Means

_MOST_PASSED: Final = 1000
"""How many rows that cannot be deleted are passed over in one model before it is left for the next time."""


@dataclass(frozen=True, slots=True)
class PurgeProgress:
    """How far a purge has come: the model it is at, and how many rows it has deleted in all."""

    name: str
    rows: int


PurgeTold = Callable[[PurgeProgress], Awaitable[object] | object]
"""What is told how far a purge has come, after each batch."""


@dataclass(frozen=True, slots=True)
class PurgeReport:
    """What a purge has done.

    Attributes:
        deleted: how many rows were deleted, by model or association table.
        left: rows whose time is over and that were not deleted, by model: somebody has locked them, or rows that are to
            stay refer to them.
    """

    deleted: dict[str, int] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many rows were deleted in all."""
        return sum(self.deleted.values())


class Purging:
    """Deletes rows whose time is over."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._db = means.db
        self._models = means.models

    async def purge(
        self, *, batch: int, retention: Mapping[str, timedelta], progress: PurgeTold | None
    ) -> PurgeReport:
        """Delete what has outlived its time, model by model."""
        if self._db.current() is not None:
            raise UsageError("A purge commits in batches: call it outside of any unit of work.")
        now = self._db.clock()
        report = PurgeReport()
        unknown = retention.keys() - {
            name for name, holding in self._models.holdings.items() if holding.config.soft_delete
        }
        if unknown:
            problem = "does not hold personal data that is soft-deleted"
            raise ValidationError.of(f"retention.{min(unknown)}", problem)
        for holding in self._models.order:
            over = self._over(holding, now, retention.get(holding.name))
            if over is None:
                continue
            steps = _Steps(self._means, holding, over, batch)
            async for done in steps.all():
                for name, number in done.items():
                    report.deleted[name] = report.deleted.get(name, 0) + number
                if progress is not None:
                    told = progress(PurgeProgress(holding.name, report.rows))
                    if inspect.isawaitable(told):
                        await told
            left = sa.select(sa.func.count()).select_from(holding.table).where(over)
            waiting = (await ask(self._db, left, f"count {holding.name}"))[0][0]
            if waiting:
                report.left[holding.name] = waiting
        return report

    def _over(
        self, holding: Holding, now: datetime, kept: timedelta | None
    ) -> ColumnElement[bool] | None:
        """Rows whose time is over; None where a model's rows have no such time."""
        table, conditions = holding.table, []
        days = holding.declared.retention_days
        if kept is None and days is not None:
            kept = timedelta(days=days)
        if kept is not None:
            conditions.append(table.c.deleted_at < now - kept)
        if holding.declared.expires is not None:
            conditions.append(table.c[holding.declared.expires] <= now)
        return sa.or_(*conditions) if conditions else None


class _Steps:
    """The transactions that delete the rows of one model."""

    def __init__(
        self, means: Means, holding: Holding, over: ColumnElement[bool], batch: int
    ) -> None:
        self._means = means
        self._db = means.db
        self._models = means.models
        self._holding = holding
        self._over = over
        self._batch = batch
        self._limit = batch
        self._passed: list[Any] = []

    async def all(self) -> AsyncGenerator[dict[str, int]]:
        """What each transaction has deleted, until there is nothing left that can be."""
        while len(self._passed) < _MOST_PASSED:
            try:
                done = await self._db.run(self._step)
            except ConflictError:
                # Something deep below refers to one of them and stays. Find it, and go on with the others.
                if self._limit == 1:
                    await self._pass()
                self._limit = 1 if self._limit > 1 else self._batch
                continue
            if not done:
                return
            yield done

    async def _step(self, _: object) -> dict[str, int]:
        keys = [row[0] for row in await ask(self._db, self._picking(), self._label)]
        dependents = Dependents(self._means, self._batch)
        if keys:
            await dependents.delete(self._holding.name, keys)
        return dependents.done

    async def _pass(self) -> None:
        """Leave the row that stands in the way where it is."""
        self._passed += [row[0] for row in await ask(self._db, self._picking(), self._label)]

    @property
    def _label(self) -> str:
        return f"pick {self._holding.name}"

    def _picking(self) -> sa.Select[Any]:
        """Rows whose time is over, which nobody has locked and nothing that stays refers to."""
        holding = self._holding
        key = holding.table.c[holding.key]
        conditions = [self._over]
        for reference in self._models.references[holding.name]:
            if reference.on_delete in ("no action", "restrict"):
                rows = self._models.table(reference.model).alias("referring")
                referred = holding.table.c[reference.target_column]
                refers = rows.c[reference.column] == referred
                if reference.model == holding.name:
                    refers = sa.and_(refers, rows.c[holding.key] != key)
                conditions.append(sa.not_(sa.exists().where(refers)))
        if self._passed:
            conditions.append(key != sa.all_(sa.literal(self._passed, ARRAY(key.type))))
        return (
            sa.select(key)
            .where(*conditions)
            .order_by(key)
            .limit(self._limit)
            .with_for_update(of=holding.table, skip_locked=True)
        )
