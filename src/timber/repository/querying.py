"""What all verbs of a repository share: filters, statements by shape, DTOs of records."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import sqlalchemy as sa
from pydantic import BaseModel

from timber.database.statements import StatementCache, compile_statement, parameter
from timber.errors import ValidationError
from timber.repository.conditions import Binder, Comparison, Condition, as_condition
from timber.repository.plans import Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from sqlalchemy.sql.elements import ColumnElement

    from timber.database.manager import AsyncDatabaseManager
    from timber.database.statements import Statement
    from timber.repository.cursors import Order
    from timber.repository.source import Source

D = TypeVar("D", bound=BaseModel)
E = TypeVar("E", bound=BaseModel)

MAX_LIMIT = 1000
MAX_PER_PAGE = 200


class Filters:
    """Conditions with their shape, and values under the names of their parameters."""

    __slots__ = ("_conditions", "_source", "fixed", "shape", "values")

    def __init__(self, source: Source, conditions: list[Condition], binder: Binder) -> None:
        self._source = source
        self._conditions = conditions
        self.shape: Hashable = tuple(condition.collect(source, binder) for condition in conditions)
        self.values = binder.values
        self.fixed = binder.fixed
        """Whether the shape tells all; a caller's own SQL expression is compiled anew each time."""

    def build(self) -> list[ColumnElement[Any]]:
        """The conditions in SQL."""
        numbers = itertools.count()
        return [
            condition.build(self._source, lambda: f"p{next(numbers)}")
            for condition in self._conditions
        ]


class Querying(Generic[D]):
    """The inside of a repository. Statements are compiled once for each shape of call."""

    source: Source
    db: AsyncDatabaseManager
    dto: type[D]
    _statements: StatementCache
    _plans: dict[type[BaseModel], Plan[Any]]
    model: type[Any]

    def _owner(self, owner: str) -> Any:
        return self.source.check(self.source.owner_column(), owner)

    def _filters(
        self,
        filters: tuple[object, ...],
        equals: dict[str, object],
        owner: str | None,
        include_deleted: bool,
    ) -> Filters:
        conditions = [as_condition(condition) for condition in filters]
        conditions += [Comparison(name, "eq", value) for name, value in equals.items()]
        if owner is not None:
            conditions.append(Comparison(self.source.owner_column(), "eq", owner))
        if self.source.config.soft_delete and not include_deleted:
            conditions.append(Comparison("deleted_at", "is_null"))
        return Filters(self.source, conditions, Binder())

    def _plan(self, dto: type[E]) -> Plan[E]:
        """How a DTO is read."""
        plan = self._plans.get(dto)
        if plan is None:
            plan = self._plans[dto] = Plan(self.model, dto, self.db.dialect)
        return plan

    def _selected(self, dto: type[BaseModel]) -> list[sa.ColumnElement[Any]]:
        """The columns of a DTO, to select or return."""
        return [self.source.table.c[name] for name in self._plan(dto).columns]

    async def _load(self, dto: type[E], rows: list[Any]) -> list[E]:
        """DTOs of rows, with what is nested in them."""
        plan = self._plan(dto)
        return await plan.load(self.db, rows) if plan.branches else plan.read(rows)

    def _statement(
        self, shape: Hashable, build: Callable[[], Statement], *, fixed: bool = True
    ) -> Statement:
        return self._statements.get(shape, build) if fixed else build()

    def _compile(self, statement: Any, verb: str) -> Statement:
        expand = _has_unfixed_text(statement)
        return compile_statement(
            statement, self.db.dialect, label=f"{verb} {self.source.name}", expand=expand
        )

    def _by_key(
        self, dto: type[BaseModel], owned: bool, include_deleted: bool, *, lock: bool
    ) -> Statement:
        def build() -> Statement:
            statement = sa.select(*self._selected(dto)).where(
                *self._this_row(owned, include_deleted)
            )
            if lock:
                statement = statement.with_for_update()
            return self._compile(statement, "for_update" if lock else "get")

        return self._statement(("get", dto, owned, include_deleted, lock), build)

    async def _get(
        self, id: object, owner: str | None, include_deleted: bool, dto: type[E], fresh: bool
    ) -> E | None:
        key = self.source.check_key(id)
        statement = self._by_key(dto, owner is not None, include_deleted, lock=False)
        rows = await self.db.fetch(statement, [key] if owner is None else [key, self._owner(owner)])
        return (await self._load(dto, rows))[0] if rows else None

    def _selecting(
        self,
        verb: str,
        dto: type[BaseModel],
        filters: Filters,
        order: Order | None,
        *,
        limited: bool,
        skipped: bool,
    ) -> Statement:
        def build() -> Statement:
            statement = sa.select(*self._selected(dto)).where(*filters.build())
            if order is not None:
                statement = statement.order_by(*order.clauses(self.source))
            if limited:
                statement = statement.limit(parameter("limit", sa.BigInteger))
            if skipped:
                statement = statement.offset(parameter("offset", sa.BigInteger))
            return self._compile(statement, verb)

        return self._statement(
            (verb, dto, filters.shape, order, limited, skipped), build, fixed=filters.fixed
        )

    async def _select(
        self,
        verb: str,
        dto: type[BaseModel],
        filters: Filters,
        order: Order | None,
        limit: int | None = None,
        offset: int | None = None,
    ) -> list[Any]:
        statement = self._selecting(
            verb, dto, filters, order, limited=limit is not None, skipped=offset is not None
        )
        values = {**filters.values, "limit": limit, "offset": offset}
        return await self.db.fetch(statement, statement.bind(values))

    def _bind(self, statement: Statement, values: Mapping[str, Any], prefix: str = "") -> list[Any]:
        """The arguments; a JSON value that cannot be encoded is named by its column."""
        try:
            return statement.bind(values)
        except ValidationError as error:
            row = {name.removeprefix(prefix): value for name, value in values.items()}
            raise self.source.name_json_problem(row, error) from None

    def _this_row(self, owned: bool, include_deleted: bool) -> list[ColumnElement[Any]]:
        """The conditions for the row with the parameter ``key``, and ``owner`` if it is owned."""
        table = self.source.table
        key = table.c[self.source.key]
        conditions: list[ColumnElement[Any]] = [key == parameter("key", key.type)]
        if owned:
            owner = table.c[self.source.owner_column()]
            conditions.append(owner == parameter("owner", owner.type))
        if self.source.config.soft_delete and not include_deleted:
            conditions.append(table.c.deleted_at.is_(None))
        return conditions


def _has_unfixed_text(statement: Any) -> bool:
    """Whether a caller's own expression has parameters, such as of IN, that are written out for each execution."""
    return any(
        isinstance(element, sa.BindParameter) and (element.expanding or element.literal_execute)
        for element in sa.sql.visitors.iterate(statement)
    )
