"""Reads a catalog from the database."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from timber.database.migrations.catalog import (
    Catalog,
    Column,
    Constraint,
    Expression,
    Index,
    IndexKey,
    Table,
    settled,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy.engine import Connection
    from sqlalchemy.types import TypeEngine

_NOT_OF_AN_EXTENSION = """NOT EXISTS (
  SELECT FROM pg_depend e WHERE e.classid = '{catalog}'::regclass AND e.objid = {oid} AND e.deptype = 'e')"""

_TABLES = f"""
SELECT c.oid, n.nspname AS schema, c.relname AS name, obj_description(c.oid, 'pg_class') AS comment,
       coalesce(c.reloptions, '{{}}') || ARRAY(SELECT 'toast.' || o FROM unnest(t.reloptions) o) AS options
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_class t ON t.oid = c.reltoastrelid
 WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname = ANY(:schemas)
   AND {_NOT_OF_AN_EXTENSION.format(catalog="pg_class", oid="c.oid")}
 ORDER BY c.relname"""  # noqa: S608 - fixed text

_COLUMNS = """
SELECT a.attrelid AS of, a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type, NOT a.attnotnull AS nullable,
       a.attidentity::text AS identity, a.attgenerated::text AS generated, pg_get_expr(d.adbin, d.adrelid) AS expression,
       CASE WHEN a.attcollation <> t.typcollation THEN l.collname END AS collation,
       col_description(a.attrelid, a.attnum) AS comment,
       EXISTS (SELECT FROM pg_depend s JOIN pg_class q ON q.oid = s.objid AND q.relkind = 'S'
                WHERE s.classid = 'pg_class'::regclass AND s.refclassid = 'pg_class'::regclass
                  AND s.refobjid = a.attrelid AND s.refobjsubid = a.attnum AND s.deptype = 'a') AS serial,
       ARRAY(SELECT u.attname::text FROM pg_depend g
               JOIN pg_attribute u ON u.attrelid = g.refobjid AND u.attnum = g.refobjsubid
              WHERE g.classid = 'pg_attrdef'::regclass AND g.objid = d.oid AND g.refclassid = 'pg_class'::regclass
                AND g.refobjid = a.attrelid AND g.refobjsubid NOT IN (0, a.attnum)) AS uses
  FROM pg_attribute a
  JOIN pg_type t ON t.oid = a.atttypid
  LEFT JOIN pg_collation l ON l.oid = a.attcollation
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE a.attrelid = ANY(CAST(:tables AS oid[])) AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attrelid, a.attnum"""

_CONSTRAINTS = """
SELECT c.conrelid AS of, c.conname AS name, c.contype::text AS kind, c.convalidated AS valid,
       pg_get_constraintdef(c.oid) AS definition, pg_get_expr(c.conbin, c.conrelid) AS "check",
       c.confdeltype::text AS on_delete, c.confupdtype::text AS on_update,
       ARRAY(SELECT a.attname::text FROM unnest(c.conkey) WITH ORDINALITY k(number, place)
               JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.number ORDER BY k.place) AS columns,
       ARRAY(SELECT a.attname::text FROM unnest(c.confkey) WITH ORDINALITY k(number, place)
               JOIN pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = k.number ORDER BY k.place) AS target_columns,
       f.relname AS target, n.nspname AS target_schema,
       NOT (c.condeferrable OR c.connoinherit AND c.contype = 'c' OR c.contype = 'x' OR c.confmatchtype = 'f'
            OR coalesce(i.indnullsnotdistinct OR i.indnatts > i.indnkeyatts, false) AND c.contype IN ('p', 'u')) AS plain
  FROM pg_constraint c
  LEFT JOIN pg_class f ON f.oid = c.confrelid
  LEFT JOIN pg_namespace n ON n.oid = f.relnamespace
  LEFT JOIN pg_index i ON i.indexrelid = c.conindid
 WHERE c.conrelid = ANY(CAST(:tables AS oid[])) AND c.contype IN ('p', 'u', 'f', 'c', 'x') AND c.conparentid = 0
 ORDER BY c.conname"""

_INDEXES = """
SELECT i.indrelid AS of, c.relname AS name, i.indisunique AS unique, m.amname AS method, i.indisvalid AS valid,
       i.indnullsnotdistinct AS nulls_not_distinct, pg_get_expr(i.indpred, i.indrelid) AS where,
       coalesce(c.reloptions, '{}') AS options,
       ARRAY(SELECT pg_get_indexdef(i.indexrelid, k, false) FROM generate_series(1, i.indnatts) k ORDER BY k) AS keys,
       i.indnkeyatts AS searched,
       ARRAY(SELECT i.indkey[k] <> 0 FROM generate_series(0, i.indnkeyatts - 1) k ORDER BY k) AS plain,
       ARRAY(SELECT i.indoption[k]::integer FROM generate_series(0, i.indnkeyatts - 1) k ORDER BY k) AS orders,
       ARRAY(SELECT CASE WHEN NOT o.opcdefault THEN o.opcname::text END FROM generate_series(0, i.indnkeyatts - 1) k
               JOIN pg_opclass o ON o.oid = i.indclass[k] ORDER BY k) AS operators,
       ARRAY(SELECT l.collname::text FROM generate_series(0, i.indnkeyatts - 1) k
               LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k] AND i.indkey[k] <> 0
               LEFT JOIN pg_collation l ON l.oid = i.indcollation[k] AND l.oid <> a.attcollation ORDER BY k) AS collations,
       ARRAY(SELECT DISTINCT a.attname::text FROM pg_depend d
               JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
              WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid AND d.refclassid = 'pg_class'::regclass
                AND d.refobjid = i.indrelid AND d.refobjsubid > 0) AS uses
  FROM pg_index i
  JOIN pg_class c ON c.oid = i.indexrelid
  JOIN pg_am m ON m.oid = c.relam
 WHERE i.indrelid = ANY(CAST(:tables AS oid[]))
   AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x'))
 ORDER BY c.relname"""

_TRIGGERS = """
SELECT tgrelid AS of, tgname AS name, pg_get_triggerdef(oid) AS definition
  FROM pg_trigger WHERE tgrelid = ANY(CAST(:tables AS oid[])) AND NOT tgisinternal ORDER BY tgname"""

_FUNCTIONS = f"""
SELECT n.nspname AS schema, p.proname AS name, pg_get_function_identity_arguments(p.oid) AS arguments,
       pg_get_functiondef(p.oid) AS definition
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE n.nspname = ANY(:schemas) AND p.prokind IN ('f', 'p')
   AND {_NOT_OF_AN_EXTENSION.format(catalog="pg_proc", oid="p.oid")}
 ORDER BY p.proname"""  # noqa: S608 - fixed text

_ENUMS = f"""
SELECT n.nspname AS schema, t.typname AS name, array_agg(e.enumlabel::text ORDER BY e.enumsortorder) AS labels
  FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace JOIN pg_enum e ON e.enumtypid = t.oid
 WHERE n.nspname = ANY(:schemas) AND {_NOT_OF_AN_EXTENSION.format(catalog="pg_type", oid="t.oid")}
 GROUP BY n.nspname, t.typname ORDER BY t.typname"""  # noqa: S608 - fixed text

_ACTIONS = {"c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT", "r": "RESTRICT"}


def read_catalog(
    connection: Connection,
    schemas: Mapping[str, str | None],
    *,
    leave_out: Callable[[str], bool] = lambda _: False,
) -> Catalog:
    """Everything in some schemas, except what an extension has brought.

    The search path must begin with the default one of them, so that PostgreSQL shows its names without the schema.

    Args:
        schemas: their names in the database and what to call them; None for the default one.
        leave_out: whether a table is none of our business.
    """
    reader = _Reader(connection, schemas)
    return Catalog(
        tables=reader.tables(leave_out),
        functions={
            f"{reader.name(row)}({row.arguments})": reader.unqualified(row.definition).strip()
            for row in reader.rows(_FUNCTIONS, schemas=list(schemas))
        },
        enums={
            reader.name(row): tuple(row.labels)
            for row in reader.rows(_ENUMS, schemas=list(schemas))
        },
        extensions=frozenset(
            row.extname for row in reader.rows("SELECT extname FROM pg_extension")
        ),
    )


class _Reader:
    def __init__(self, connection: Connection, schemas: Mapping[str, str | None]) -> None:
        self._connection = connection
        self._schemas = schemas

    def rows(self, sql: str, **parameters: Any) -> list[Any]:
        return list(self._connection.execute(_QUERIES[sql], parameters))

    def name(self, row: Any) -> str:
        return self._named(row.schema, row.name)

    def _named(self, schema: str, name: str) -> str:
        shown = self._schemas.get(schema, schema)
        return f"{shown}.{name}" if shown else name

    def unqualified(self, text: str) -> str:
        """The text with each schema called as it is to be called."""
        for schema, shown in self._schemas.items():
            text = re.sub(
                rf'(?<![\w."])"?{re.escape(schema)}"?\.', f"{shown}." if shown else "", text
            )
        return text

    def _expression(self, text: str | None) -> Expression | None:
        return None if text is None else Expression.of(self.unqualified(text))

    def tables(self, leave_out: Callable[[str], bool]) -> dict[str, Table]:
        found = {
            row.oid: (self.name(row), row.comment, tuple(row.options))
            for row in self.rows(_TABLES, schemas=list(self._schemas))
            if not leave_out(self.name(row))
        }
        parts: dict[str, defaultdict[int, dict[str, Any]]] = {}
        for part, (sql, make) in self._parts().items():
            parts[part] = defaultdict(dict)
            for row in self.rows(sql, tables=list(found)):
                parts[part][row.of][row.name] = make(row)
        return {
            name: Table(
                name, comment=comment, options=options, **{part: parts[part][oid] for part in parts}
            )
            for oid, (name, comment, options) in found.items()
        }

    def _parts(self) -> dict[str, tuple[str, Callable[[Any], Any]]]:
        return {
            "columns": (_COLUMNS, self._column),
            "constraints": (_CONSTRAINTS, self._constraint),
            "indexes": (_INDEXES, self._index),
            "triggers": (_TRIGGERS, lambda row: self.unqualified(row.definition)),
        }

    def _column(self, row: Any) -> Column:
        expression = self._expression(row.expression)
        return Column(
            name=row.name,
            type=self.unqualified(row.type),
            nullable=row.nullable,
            default=None if row.generated else expression,
            generated=expression if row.generated else None,
            identity=row.identity,
            collation=row.collation,
            comment=row.comment,
            serial=row.serial and not row.identity,
            uses=tuple(row.uses) if row.generated else (),
        )

    def _constraint(self, row: Any) -> Constraint:
        definition = self.unqualified(row.definition).removesuffix(" NOT VALID")
        return Constraint(
            name=row.name,
            kind=row.kind,
            definition=settled(definition),
            valid=row.valid,
            columns=tuple(row.columns),
            check=self._expression(row.check),
            target=self._named(row.target_schema, row.target) if row.target else None,
            target_columns=tuple(row.target_columns),
            on_delete=_ACTIONS.get(row.on_delete),
            on_update=_ACTIONS.get(row.on_update),
            plain=row.plain,
        )

    def _index(self, row: Any) -> Index:
        keys = [
            IndexKey(
                expression=Expression.of(self.unqualified(text)),
                is_column=plain,
                operators=operators,
                collation=collation,
                descending=bool(order & 1),
                nulls_first=bool(order & 2),
            )
            for text, plain, operators, collation, order in zip(
                row.keys[: row.searched],
                row.plain,
                row.operators,
                row.collations,
                row.orders,
                strict=True,
            )
        ]
        return Index(
            name=row.name,
            unique=row.unique,
            method=row.method,
            keys=tuple(keys),
            include=tuple(row.keys[row.searched :]),
            where=self._expression(row.where),
            options=frozenset(row.options),
            options_in_order=tuple(row.options),
            nulls_not_distinct=row.nulls_not_distinct,
            valid=row.valid,
            uses=frozenset(row.uses),
        )


def _query(sql: str) -> sa.TextClause:
    types: dict[str, TypeEngine[Any]] = {
        "schemas": sa.ARRAY(sa.Text),
        "tables": sa.ARRAY(sa.BigInteger),
    }
    used = [name for name in types if f":{name}" in sql]
    return sa.text(sql).bindparams(*(sa.bindparam(name, type_=types[name]) for name in used))


_QUERIES = {
    sql: _query(sql)
    for sql in (
        _TABLES,
        _COLUMNS,
        _CONSTRAINTS,
        _INDEXES,
        _TRIGGERS,
        _FUNCTIONS,
        _ENUMS,
        "SELECT extname FROM pg_extension",
    )
}
