"""Has PostgreSQL explain what a repository would send, or an SQL text."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from timber.cli.reaching import reached
from timber.database.errors import FOREIGN
from timber.database.manager import AsyncDatabaseManager
from timber.database.monitoring import Plan
from timber.database.plans import generic_plan, plan_of
from timber.database.statements import Statement
from timber.errors import UsageError, ValidationError
from timber.features.built_in import features_of
from timber.models.registry import ModelRegistry
from timber.repository import Field, Repository

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from timber.repository import Condition
    from timber.settings import TimberSettings

_CONDITION = re.compile(
    r"(?P<field>\w+)(?P<path>(?:\.\w+)*)(?P<sign>!=|>=|<=|=|>|<|~)(?P<value>.*)", re.DOTALL
)
_PLACEHOLDER = re.compile(r"\$\d")
_NO_SCANS = Statement("SET LOCAL enable_seqscan = off", label="explain")
_SIZES = Statement(
    """
    SELECT c.relname AS name,
           CASE WHEN c.reltuples > 0 THEN c.reltuples::bigint ELSE coalesce(s.n_live_tup, 0) END AS rows
    FROM pg_class c LEFT JOIN pg_stat_user_tables s ON s.relid = c.oid
    WHERE c.relname = ANY($1::text[]) AND pg_table_is_visible(c.oid)
    """,
    label="explain",
)


@dataclass(frozen=True, slots=True)
class Query:
    """What a repository is asked for, as typed.

    Attributes:
        model: the name of the model.
        conditions: ``status=active``, ``amount>=10``, ``title~gold`` (contains, in any case), ``metadata.symbol=AAPL``.
        order_by: names of columns, ``-`` for descending.
        search: words to search for, instead of listing.
    """

    model: str
    conditions: tuple[str, ...] = ()
    order_by: tuple[str, ...] = ()
    limit: int = 100
    owner: str | None = None
    search: str | None = None


@dataclass(frozen=True, slots=True)
class Manner:
    """How to explain.

    Attributes:
        analyze: run it too, for real times and numbers; what it wrote is rolled back.
        as_if_large: which index would serve if the tables were too large to be read whole.
    """

    analyze: bool = False
    as_if_large: bool = False


@dataclass(frozen=True, slots=True)
class Explained:
    """A plan, the text it is of, and how many rows the tables in it have."""

    sql: str
    plan: Plan
    rows: dict[str, int]


async def explain_query(settings: TimberSettings, query: Query, manner: Manner) -> Explained:
    """How the rows are found that a repository would give.

    Raises:
        ConfigurationError: there is no such model.
        ValidationError: a condition, column or limit does not fit it.
    """
    registry = ModelRegistry(
        dirs=settings.model_config_dirs, search_language=settings.search_language
    )
    model = registry.get_model(query.model)
    async with reached(settings, _Catching) as db:
        features = features_of(settings)
        rows: Repository[Any] = Repository(
            db, model, registry.read_dto(query.model), features=features
        )
        filters = [_condition(rows, text) for text in query.conditions]
        with suppress(_Caught):
            if query.search is not None:
                await rows.search(query.search, *filters, limit=query.limit, owner=query.owner)
            else:
                await rows.find(
                    *filters,
                    order_by=query.order_by or None,
                    limit=query.limit,
                    owner=query.owner,
                )
        assert isinstance(db, _Catching)
        if db.caught is None:
            raise UsageError("Nothing would be sent for this: there is nothing to explain.")
        return await _explain(db, *db.caught, manner)


async def explain_sql(settings: TimberSettings, sql: str, manner: Manner) -> Explained:
    """How the rows of an SQL text are found. Where it has parameters, ``$1``, it is planned for values unknown.

    Raises:
        UsageError: PostgreSQL does not understand it, or it has parameters and is to be run.
    """
    sql = sql.strip().removesuffix(";")
    has_parameters = _PLACEHOLDER.search(sql) is not None
    if has_parameters and manner.analyze:
        raise UsageError("It cannot be run without values: write them in the place of $1.")
    async with reached(settings) as db:
        try:
            async with db.engine.connect() as connection:
                driver = (await connection.get_raw_connection()).driver_connection
                scans = not manner.as_if_large
                if has_parameters:
                    plan = await generic_plan(driver, sql, with_scans=scans)
                else:
                    plan = await plan_of(driver, sql, analyze=manner.analyze, with_scans=scans)
        except FOREIGN as error:
            # PostgreSQL's own words, without those about a row that --analyze tried to write.
            said = str(error).partition("\n")[0].removesuffix(".")
            raise UsageError(f"PostgreSQL cannot explain it: {said}.") from error
        return Explained(sql, plan, await _rows_of(db, plan))


async def _explain(
    db: AsyncDatabaseManager, statement: Statement, args: Sequence[object], manner: Manner
) -> Explained:
    words = "FORMAT JSON, ANALYZE, BUFFERS" if manner.analyze else "FORMAT JSON"
    explaining = Statement(f"EXPLAIN ({words}) {statement.sql}", label="explain")
    answer: Any = None
    with suppress(_Undone):
        async with db.unit_of_work():
            if manner.as_if_large:
                await db.execute(_NO_SCANS)
            [[answer]] = await AsyncDatabaseManager.fetch(db, explaining, args)
            raise _Undone
    plan = Plan.parse(answer)
    return Explained(statement.sql, plan, await _rows_of(db, plan))


async def _rows_of(db: AsyncDatabaseManager, plan: Plan) -> dict[str, int]:
    names = sorted({node["Relation Name"] for node in plan.nodes() if "Relation Name" in node})
    sizes = await AsyncDatabaseManager.fetch(db, _SIZES, [names])
    return {row["name"]: row["rows"] for row in sizes}


def _condition(rows: Repository[Any], text: str) -> Condition:
    """The condition that somebody typed."""
    parts = _CONDITION.fullmatch(text)
    if parts is None:
        raise ValidationError.of("condition", f"{text!r} does not read like status=active")
    field: Field = rows.where[parts["field"]]
    for key in parts["path"].split(".")[1:]:
        field = field[key]
    value, sign = parts["value"], parts["sign"]
    if sign == "~":
        return field.ilike(f"%{value}%")
    return _SIGNS[sign](field, _value(rows, parts["field"], value, of_json=bool(parts["path"])))


def _value(rows: Repository[Any], name: str, text: str, *, of_json: bool) -> object:
    """What a column takes for a text; JSON where it is JSON, such as ``3`` or ``null``, else the text."""
    with suppress(orjson.JSONDecodeError):
        value: object = orjson.loads(text)
        if of_json or value is None:
            return value
        with suppress(ValidationError):
            rows.source.check(name, value)
            return value
    return text


_SIGNS: Final[dict[str, Callable[[Field, object], Condition]]] = {
    "=": Field.eq,
    "!=": Field.__ne__,
    ">=": Field.__ge__,
    "<=": Field.__le__,
    ">": Field.__gt__,
    "<": Field.__lt__,
}


class _Catching(AsyncDatabaseManager):
    """Keeps the first statement that a repository would send, and sends none."""

    caught: tuple[Statement, Sequence[object]] | None = None

    async def fetch(self, statement: Statement, args: Sequence[object] = ()) -> list[Any]:
        self.caught = (statement, args)
        raise _Caught


class _Caught(Exception):  # noqa: N818  # a signal, not an error
    pass


class _Undone(Exception):  # noqa: N818  # a signal, not an error: it rolls back what ANALYZE wrote
    pass
