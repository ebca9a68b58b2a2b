"""Rows of tables in memory, with the constraints that their models declare."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import orjson
import sqlalchemy as sa

from timber.dto import encode_json
from timber.errors import ConflictError, UsageError

if TYPE_CHECKING:
    from timber.models.config import ColumnConfig, ModelConfig
    from timber.models.registry import ModelRegistry

Row = dict[str, Any]

_LIVE: Final = "deleted_at IS NULL"
_PATH_TEXT: Final = re.compile(r"\(?(\w+)\s*->>\s*'([^']*)'\)?")


def as_stored_json(value: Any) -> Any:
    """A JSON value as it comes back from a table: plain, and nobody else's."""
    return orjson.loads(encode_json(value))


class Table:
    """The rows of one model, by their keys."""

    def __init__(self, config: ModelConfig, table: sa.Table) -> None:
        self.config = config
        self.table = table
        self.rows: dict[Any, Row] = {}
        self._numbers = 0

    def stored(self, given: Row) -> Row:
        """A row as it comes back from PostgreSQL, with what PostgreSQL makes of its own.

        Raises:
            UsageError: a column is left out whose default only PostgreSQL can make.
        """
        row: Row = {}
        for column in self.config.columns:
            if column.name in given:
                row[column.name] = _as_stored(column, given[column.name])
            elif column.identity:
                self._numbers += 1
                row[column.name] = self._numbers
            elif column.server_default is not None:
                row[column.name] = _server_default(self.config, column)
            else:
                row[column.name] = None
        for column in self.config.columns:
            if column.generated is not None:
                row[column.name] = _generated(column, row)
        return row

    def changed(self, row: Row, changes: Row) -> Row:
        """The row with other values in some columns."""
        new = dict(row)
        for name, value in changes.items():
            new[name] = _as_stored(self.config.column(name), value)
        for column in self.config.columns:
            if column.generated is not None:
                new[column.name] = _generated(column, new)
        return new

    def check_unique(self, new: Row, *, replacing: Any = None) -> None:
        """Refuse a row that is equal to another one where no two may be.

        Raises:
            ConflictError: naming the constraint.
        """
        for name, columns, live_only in self._unique():
            values = [new[column] for column in columns]
            if None in values or (live_only and new.get("deleted_at") is not None):
                continue
            for key, row in self.rows.items():
                if key == replacing or (live_only and row.get("deleted_at") is not None):
                    continue
                if [row[column] for column in columns] == values:
                    raise ConflictError(
                        f"A row with this key exists already (constraint {name!r}).",
                        constraint=name,
                        table=self.table.name,
                        sqlstate="23505",
                    )

    def _unique(self) -> Iterator[tuple[str, list[str], bool]]:
        for constraint in (self.table.primary_key, *self.table.constraints):
            if isinstance(constraint, sa.PrimaryKeyConstraint | sa.UniqueConstraint):
                yield _name_of(constraint), [c.name for c in constraint.columns], False
        for index in self.table.indexes:
            where = index.dialect_options["postgresql"]["where"]
            plain = all(isinstance(getattr(e, "element", e), sa.Column) for e in index.expressions)
            if index.unique and plain and (where is None or str(where) == _LIVE):
                yield _name_of(index), [c.name for c in index.columns], where is not None


def _name_of(part: sa.Constraint | sa.Index) -> str:
    """Its name, as the naming convention of its metadata makes it."""
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415  # only for an error

    preparer = postgresql.dialect().identifier_preparer  # type: ignore[no-untyped-call]
    return str(preparer.format_constraint(part)).strip('"')


def _as_stored(column: ColumnConfig, value: Any) -> Any:
    if value is None:
        return None
    if column.is_json:
        return as_stored_json(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    if isinstance(value, Decimal) and column.type.scale is not None:
        return value.quantize(Decimal(1).scaleb(-column.type.scale))
    return copy.copy(value) if isinstance(value, list) else value


def _server_default(config: ModelConfig, column: ColumnConfig) -> Any:
    text = (column.server_default or "").strip()
    if text.lower() in ("now()", "current_timestamp"):
        return datetime.now(UTC)
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    if quoted := re.fullmatch(r"'((?:[^']|'')*)'(?:::\w+)?", text):
        return quoted[1].replace("''", "'")
    raise UsageError(
        f"{config.name}.{column.name} is made by PostgreSQL ({text}), and there is none here: give a value for it."
    )


def _generated(column: ColumnConfig, row: Row) -> Any:
    """Of what PostgreSQL computes only a text inside JSON is known here; everything else is NULL."""
    path = _PATH_TEXT.fullmatch((column.generated or "").strip())
    if path is None or not isinstance(row.get(path[1]), dict):
        return None
    found = row[path[1]].get(path[2])
    if found is None or isinstance(found, str):
        return found
    return encode_json(found)


class Tables:
    """The tables of all models, and the references between them."""

    def __init__(self, registry: ModelRegistry) -> None:
        self._of_model: dict[str, Table] = {}
        for name in registry.list_models():
            self._of_model[name] = Table(registry.model_config(name), registry.table(name))
        self._of_table = {table.table.name: table for table in self._of_model.values()}

    def __getitem__(self, model: str) -> Table:
        return self._of_model[model]

    def check_references(self, table: Table, new: Row) -> None:
        """Refuse a row that refers to one that is not there.

        Raises:
            ConflictError: naming the constraint.
        """
        for key in table.table.foreign_keys:
            value = new[key.parent.name]
            there = self._of_table.get(key.column.table.name)
            if value is None or there is None:
                continue
            if not any(row[key.column.name] == value for row in there.rows.values()):
                raise _broken_reference(table, key)

    def referring(self, table: Table, row: Row) -> Iterator[tuple[Table, sa.ForeignKey, Any, Row]]:
        """The rows of other tables that refer to a row, with the reference and their keys."""
        for other in self._of_table.values():
            for key in other.table.foreign_keys:
                if key.column.table.name != table.table.name:
                    continue
                for found, candidate in list(other.rows.items()):
                    if candidate[key.parent.name] == row[key.column.name]:
                        yield other, key, found, candidate


def _broken_reference(table: Table, key: sa.ForeignKey) -> ConflictError:
    name = _name_of(key.constraint) if key.constraint is not None else None
    return ConflictError(
        f"The change breaks a reference between rows (constraint {name!r}).",
        constraint=name,
        table=table.table.name,
        sqlstate="23503",
    )


def refused_deletion(table: Table, key: sa.ForeignKey) -> ConflictError:
    """The error of a deletion that would leave a row behind that refers to nothing."""
    return _broken_reference(table, key)
