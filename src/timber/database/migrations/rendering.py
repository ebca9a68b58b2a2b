"""Catalog objects as the Python that a migration file contains."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from sqlalchemy.dialects.postgresql import asyncpg

if TYPE_CHECKING:
    from timber.database.migrations.catalog import (
        Column,
        Constraint,
        Expression,
        Index,
        IndexKey,
        Table,
    )

WIDTH: Final = 96  # within upgrade(), whose body is indented by four

_DIALECT: Final = asyncpg.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's own
_ESCAPE: Final = "\0"  # until all are in their places; PostgreSQL knows no such character
_TYPES: Final = {
    "uuid": "sa.Uuid()",
    "text": "sa.Text()",
    "character varying": "sa.String()",
    "integer": "sa.Integer()",
    "bigint": "sa.BigInteger()",
    "smallint": "sa.SmallInteger()",
    "double precision": "sa.Double()",
    "real": "sa.REAL()",
    "numeric": "sa.Numeric()",
    "boolean": "sa.Boolean()",
    "date": "sa.Date()",
    "time without time zone": "sa.Time()",
    "timestamp with time zone": "sa.DateTime(timezone=True)",
    "timestamp without time zone": "sa.DateTime()",
    "interval": "postgresql.INTERVAL()",
    "json": "postgresql.JSON()",
    "jsonb": "postgresql.JSONB()",
    "bytea": "sa.LargeBinary()",
    "tsvector": "postgresql.TSVECTOR()",
}
_SERIAL: Final = {"smallint": "SMALLSERIAL", "integer": "SERIAL", "bigint": "BIGSERIAL"}


def call(function: str, *arguments: str) -> str:
    """A call, on one line if it fits there."""
    line = f"{function}({', '.join(arguments)})"
    if len(line) <= WIDTH and "\n" not in line:
        return line
    if len(arguments) == 1 and arguments[0].startswith('"""'):
        return line
    inside = "\n".join(indented(f"{argument},") for argument in arguments)
    return f"{function}(\n{inside}\n)"


def indented(code: str) -> str:
    """The code four further in, except the inside of texts of several lines."""
    lines, inside = [], False
    for line in code.split("\n"):
        lines.append(line if inside or not line else f"    {line}")
        inside ^= line.count('"""') % 2 == 1
    return "\n".join(lines)


def literal(text: str) -> str:
    """A Python string with double quotes."""
    return json.dumps(text, ensure_ascii=False)


def sql(text: str) -> str:
    """SQL as a Python string that SQLAlchemy's text() takes as it is: a colon before a word is no parameter."""
    text = re.sub(r"(?<![:\w\\]):(?=\w+(?![:\w]))", f"{_ESCAPE}:", text)
    # Its own backslash before a colon stays: looked for last, since it may be one only with what stands behind it now.
    text = re.sub(r"\\(:\w*)(?![:\w])", r"\\\\\1", text).replace(_ESCAPE, "\\")
    if "\n" not in text:
        return literal(text)
    escaped = text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    return f'"""\n{escaped}\n"""'


def execute(statement: str) -> str:
    """Run a statement."""
    return call("op.execute", sql(statement))


def quoted(name: str) -> str:
    """A name in SQL, with its schema if it has one."""
    return ".".join(_DIALECT.identifier_preparer.quote(part) for part in name.split("."))


def type_code(column: Column) -> str:
    """The type of a column."""
    if column.collation is not None:
        return f"SQLType({literal(f'{column.type} COLLATE {quoted(column.collation)}')})"
    if column.serial and column.type in _SERIAL:
        return f"SQLType({literal(_SERIAL[column.type])})"
    return _type(column.type)


def _type(name: str) -> str:
    if name.endswith("[]"):
        return f"postgresql.ARRAY({_type(name[:-2])})"
    if match := re.fullmatch(r"character varying\((\d+)\)", name):
        return f"sa.String({match[1]})"
    if match := re.fullmatch(r"numeric\((\d+),(\d+)\)", name):
        return f"sa.Numeric({match[1]}, {match[2]})"
    return _TYPES.get(name) or f"SQLType({literal(name)})"


def text(expression: Expression) -> str:
    """An expression."""
    return f"sa.text({sql(expression.written)})"


def column_code(column: Column) -> str:
    """A column, for create_table and add_column."""
    arguments = [literal(column.name), type_code(column)]
    if column.generated is not None:
        arguments.append(f"sa.Computed({sql(column.generated.written)}, persisted=True)")
    if column.identity:
        arguments.append(f"sa.Identity(always={column.identity == 'a'})")
    elif type_code(column) in ("sa.Integer()", "sa.BigInteger()", "sa.SmallInteger()"):
        arguments.append("autoincrement=False")
    arguments.append(f"nullable={column.nullable}")
    if column.default is not None and not column.serial:
        arguments.append(f"server_default={text(column.default)}")
    if column.comment is not None:
        arguments.append(f"comment={literal(column.comment)}")
    return call("sa.Column", *arguments)


def _names(columns: tuple[str, ...]) -> str:
    return f"[{', '.join(map(literal, columns))}]"


def constraint_code(constraint: Constraint) -> str:
    """A constraint, for create_table; only of one that is plain."""
    name = f"name={_constraint_name(constraint)}"
    if constraint.kind == "c" and constraint.check is not None:
        return call("sa.CheckConstraint", sql(constraint.check.written), name)
    if constraint.kind == "f":
        target = [f"{constraint.target}.{column}" for column in constraint.target_columns]
        arguments = [_names(constraint.columns), _names(tuple(target)), name]
        return call("sa.ForeignKeyConstraint", *arguments, *_actions(constraint))
    kind = "PrimaryKeyConstraint" if constraint.kind == "p" else "UniqueConstraint"
    return call(f"sa.{kind}", *map(literal, constraint.columns), name)


def _constraint_name(constraint: Constraint) -> str:
    # The naming convention would be applied to a check's name again without op.f().
    return (
        f"op.f({literal(constraint.name)})" if constraint.kind == "c" else literal(constraint.name)
    )


def _actions(constraint: Constraint) -> list[str]:
    return [
        f"{key}={literal(action)}"
        for key, action in (("ondelete", constraint.on_delete), ("onupdate", constraint.on_update))
        if action is not None
    ]


def schema_argument(table: Table, key: str = "schema") -> list[str]:
    """The schema of a table, as an argument where it has one."""
    return [f"{key}={literal(table.schema)}"] if table.schema else []


def storage_argument(options: tuple[str, ...]) -> list[str]:
    """Storage parameters, as an argument where there are any."""
    pairs = [option.partition("=") for option in options]
    shown = ", ".join(f"{literal(key)}: {literal(value)}" for key, _, value in pairs)
    return [f"postgresql_with={{{shown}}}"] if pairs else []


def create_constraint(table: Table, constraint: Constraint) -> str:
    """Add a constraint to a table that is there."""
    pending = ["postgresql_not_valid=True"] if not constraint.valid else []
    name, of = _constraint_name(constraint), literal(table.bare_name)
    if not constraint.plain:
        ending = "" if constraint.valid else " NOT VALID"
        added = f"ADD CONSTRAINT {quoted(constraint.name)} {constraint.definition}{ending}"
        return execute(f"ALTER TABLE {quoted(table.name)} {added}")
    if constraint.kind == "c" and constraint.check is not None:
        condition = sql(constraint.check.written)
        arguments = [name, of, condition, *schema_argument(table), *pending]
        return call("op.create_check_constraint", *arguments)
    if constraint.kind == "f":
        schema, _, target = (constraint.target or "").rpartition(".")
        columns = [_names(constraint.columns), _names(constraint.target_columns)]
        referent = [f"referent_schema={literal(schema)}"] if schema else []
        rest = [
            *_actions(constraint),
            *schema_argument(table, "source_schema"),
            *referent,
            *pending,
        ]
        return call("op.create_foreign_key", name, of, literal(target), *columns, *rest)
    kind = "primary_key" if constraint.kind == "p" else "unique_constraint"
    return call(f"op.create_{kind}", name, of, _names(constraint.columns), *schema_argument(table))


def create_index(table: Table, index: Index, *, concurrently: bool = False) -> str:
    """Create an index."""
    arguments = [
        literal(index.name),
        literal(table.bare_name),
        f"[{', '.join(_key(key) for key in index.keys)}]",
    ]
    if index.unique:
        arguments.append("unique=True")
    if index.method != "btree":
        arguments.append(f"postgresql_using={literal(index.method)}")
    if index.include:
        arguments.append(f"postgresql_include={_names(index.include)}")
    if index.where is not None:
        arguments.append(f"postgresql_where={text(index.where)}")
    arguments += storage_argument(index.options_in_order)
    if index.nulls_not_distinct:
        arguments.append("postgresql_nulls_not_distinct=True")
    if concurrently:
        arguments += ["postgresql_concurrently=True", "if_not_exists=True"]
    return call("op.create_index", *arguments, *schema_argument(table))


def _key(key: IndexKey) -> str:
    words = [key.expression.written]
    if key.collation is not None:
        words.append(f"COLLATE {quoted(key.collation)}")
    if key.operators is not None:
        words.append(key.operators)
    if key.descending:
        words.append("DESC")
    if key.nulls_first != key.descending:  # else it is where PostgreSQL puts them anyway
        words.append("NULLS FIRST" if key.nulls_first else "NULLS LAST")
    if len(words) == 1 and key.is_column:
        return literal(words[0].strip('"').replace('""', '"'))
    return f"sa.text({sql(' '.join(words))})"
