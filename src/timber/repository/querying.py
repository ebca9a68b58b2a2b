"""What all verbs of a repository share: statements by shape, and DTOs of records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError

from timber.database.outcome import note_outcome
from timber.database.statements import compile_statement, parameter
from timber.errors import ConfigurationError, NotFoundError, ServiceError, ValidationError
from timber.repository.filters import Filters
from timber.repository.plans import Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

    from sqlalchemy.sql.elements import ColumnElement

    from timber.cache.model_cache import ModelCache
    from timber.database.manager import AsyncDatabaseManager
    from timber.database.statements import Statement, StatementCache
    from timber.features.orchestrator import FeatureOrchestrator
    from timber.repository.ordering import Order
    from timber.repository.plans import FeaturesOf
    from timber.repository.rows import Rows
    from timber.repository.source import Source

D = TypeVar("D", bound=BaseModel)
E = TypeVar("E", bound=BaseModel)

MAX_LIMIT = 1000
MAX_PER_PAGE = 200


class Querying(Generic[D]):
    """The inside of a repository. Statements are compiled once for each shape of call."""

    source: Source
    db: AsyncDatabaseManager
    dto: type[D]
    model: type[Any]
    _rows: Rows
    _statements: StatementCache
    _plans: dict[type[BaseModel], Plan[Any]]
    _features: FeatureOrchestrator | None
    _features_of: FeaturesOf
    _cache: ModelCache | None

    def _dto_of(self, into: object) -> type[Any]:
        """The DTO that a call asks for.

        Raises:
            ConfigurationError: it is no DTO.
        """
        if into is None:
            return self.dto
        if not (isinstance(into, type) and issubclass(into, BaseModel)):
            raise ConfigurationError("`into` takes a DTO: a class made of pydantic's BaseModel.")
        return into

    def _plan(self, dto: type[E]) -> Plan[E]:
        """How a DTO is read."""
        plan = self._plans.get(dto)
        if plan is None:
            plan = Plan(self.model, dto, self.db.dialect, self._features_of)
            self._plans[dto] = plan
        return plan

    def _selected(self, dto: type[BaseModel], *more: str) -> list[sa.ColumnElement[Any]]:
        """The columns of a DTO, to select or return, and any others behind them."""
        wanted = dict.fromkeys((*self._plan(dto).columns, *more))
        return [self.source.table.c[name] for name in wanted]

    def _columns(self, names: Iterable[str]) -> list[sa.ColumnElement[Any]]:
        return [self.source.table.c[name] for name in names]

    async def _load(self, dto: type[E], rows: Sequence[Any]) -> list[E]:
        """DTOs of rows, with what is nested in them."""
        plan = self._plan(dto)
        return plan.read(rows) if plan.is_plain else await plan.load(self.db, rows)

    async def _load_written(self, rows: Sequence[Any]) -> list[D]:
        """DTOs of rows just written. Whoever hears that one of them does not fit hears, too, that it was written; a unit of
        work is not committed with it.
        """
        try:
            return await self._load(self.dto, rows)
        except ServiceError as error:
            unit = self.db.current()
            if unit is None:
                note_outcome(error, "committed")
            else:
                unit.doom(error)
            raise

    def _filters(
        self,
        filters: tuple[object, ...],
        equals: Mapping[str, object],
        owner: str | None,
        include_deleted: bool,  # noqa: FBT001  # handed on as it came
    ) -> Filters:
        """The filters of a call.

        Raises:
            ValidationError: a name or value does not fit the model.
        """
        return Filters(self.source, filters, equals, owner=owner, include_deleted=include_deleted)

    # Statements

    def _compile(self, statement: Any, verb: str) -> Statement:
        return compile_statement(
            statement,
            self.db.dialect,
            label=f"{verb} {self.source.name}",
            expand=_has_unfixed_text(statement),
        )

    def _statement(
        self, shape: Hashable, build: Callable[[], Statement], *, fixed: bool = True
    ) -> Statement:
        """The statement of a shape; one with a caller's own SQL expression is compiled for this call alone."""
        if fixed:
            return self._statements.get(shape, build)
        try:
            return build()
        except SQLAlchemyError as error:
            raise ValidationError.of(
                "filters", f"SQLAlchemy cannot compile an expression ({type(error).__name__})"
            ) from error

    def _filtered(
        self, filters: Filters, shape: Hashable, build: Callable[[], Any], verb: str
    ) -> Statement:
        """The statement of a verb with these filters."""
        return self._statement(
            (verb, shape, filters.shape),
            lambda: self._compile(build(), verb),
            fixed=filters.fixed,
        )

    def _by_key(
        self, dto: type[BaseModel], *, owned: bool, live: bool, lock: bool = False
    ) -> Statement:
        """The row of a DTO by its key."""

        def build() -> Statement:
            statement = sa.select(*self._selected(dto)).where(*self._this_row(owned, live))
            if lock:
                statement = statement.with_for_update(of=self.source.table)
            return self._compile(statement, "for_update" if lock else "get")

        return self._statement(("get", dto, owned, live, lock), build)

    def _this_row(self, owned: bool, live: bool) -> list[ColumnElement[Any]]:  # noqa: FBT001  # two halves of a wall
        """The conditions for the row with the parameter ``key``, and ``owner`` if it is owned."""
        table = self.source.table
        key = table.c[self.source.key]
        conditions: list[ColumnElement[Any]] = [key == parameter("key", key.type)]
        if owned:
            owner = table.c[self.source.owner_column()]
            conditions.append(owner == parameter("owner", owner.type))
        if live:
            conditions.append(table.c.deleted_at.is_(None))
        return conditions

    def _this(self, key: Any, owner: object) -> dict[str, Any]:
        """The values of :meth:`_this_row`."""
        if owner is None:
            return {"key": key}
        return {"key": key, "owner": self.source.check_owner(owner)}

    def _selecting(
        self,
        verb: str,
        dto: type[BaseModel],
        filters: Filters,
        order: Order | None,
        *,
        limited: bool = False,
        skipped: bool = False,
        more: tuple[str, ...] = (),
    ) -> Statement:
        def build() -> Any:
            statement = sa.select(*self._selected(dto, *more)).where(*filters.build())
            if order is not None:
                statement = statement.order_by(*order.clauses(self.source))
            if limited:
                statement = statement.limit(parameter("limit", sa.BigInteger))
            if skipped:
                statement = statement.offset(parameter("offset", sa.BigInteger))
            return statement

        return self._filtered(filters, (dto, order, limited, skipped, more), build, verb)

    def _bind(self, statement: Statement, values: Mapping[str, Any], prefix: str = "") -> list[Any]:
        """The arguments; a JSON value that cannot be encoded is named by its column."""
        try:
            return statement.bind(values)
        except ValidationError as error:
            named = {name.removeprefix(prefix): value for name, value in values.items()}
            raise self._rows.name_json_problem(named, error) from None

    # One row

    async def _get(
        self, id: object, owner: str | None, dto: type[E], *, live: bool, lock: bool = False
    ) -> E | None:
        key = self.source.check_key(id)
        statement = self._by_key(dto, owned=owner is not None, live=live, lock=lock)
        args = [key] if owner is None else [key, self.source.check_owner(owner)]
        rows = await self.db.fetch(statement, args)
        return (await self._load(dto, rows))[0] if rows else None

    def _not_found(self) -> NotFoundError:
        return NotFoundError(model=self.source.name)


def _has_unfixed_text(statement: Any) -> bool:
    """Whether a caller's own expression has parameters, such as of IN, that are written out for each execution."""
    # Each element once: what several parts of a statement refer to would be gone through as often as there are ways to it.
    pending: list[Any] = [statement]
    seen: dict[int, Any] = {}
    while pending:
        element = pending.pop()
        if id(element) in seen:
            continue
        seen[id(element)] = element
        if isinstance(element, sa.BindParameter) and (element.expanding or element.literal_execute):
            return True
        pending += element.get_children()
    return False
