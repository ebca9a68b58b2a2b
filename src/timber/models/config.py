"""The schema of model files, version 1: what YAML may say and what a Python caller may build."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from timber.models.column_types import ColumnType
from timber.models.columns import (
    SQL,
    ColumnConfig,
    ColumnDefault,
    ColumnName,
    Declaration,
    ForeignKey,
    Sequence,
    TableName,
    check_identifier,
)
from timber.models.feature_configs import FeaturesConfig
from timber.models.relationship_configs import AssociationConfig, RelationshipConfig

__all__ = [
    "AssociationConfig",
    "ColumnConfig",
    "ColumnDefault",
    "ColumnType",
    "ConstraintConfig",
    "FeaturesConfig",
    "ForeignKey",
    "IndexColumn",
    "IndexConfig",
    "ModelConfig",
    "ModelFile",
    "RelationshipConfig",
]

_MODEL_NAME = re.compile(r"[A-Z][A-Za-z0-9]*")
# What a generated DTO or the library itself is called.
_RESERVED_MODELS = frozenset({"DTO", "InputDTO", "Page", "CursorPage", "SearchHit", "None"})


def _model_name(name: str) -> str:
    if not _MODEL_NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} is not a model name: use letters and digits, beginning with a capital, like InvoiceLine"
        )
    if name in _RESERVED_MODELS:
        raise ValueError(f"{name!r} is reserved")
    return name


def _index_name(name: str) -> str:
    return check_identifier(name, "index")


def _constraint_name(name: str) -> str:
    return check_identifier(name, "constraint")


ModelName = Annotated[str, AfterValidator(_model_name)]


class IndexColumn(Declaration):
    """One column of an index and its order."""

    name: ColumnName
    """The column."""
    order: Literal["asc", "desc"] = "asc"
    """Its order."""
    nulls: Literal["first", "last"] | None = None
    """Where NULL goes; PostgreSQL puts it last ascending and first descending."""
    ops: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]*$")] | None = None
    """The operator class, like vector_cosine_ops."""


def _index_column(value: object) -> object:
    if not isinstance(value, str):
        return value
    name, *words = value.split() or [""]
    read: dict[str, object] = {"name": name}
    if words and words[0].lower() in ("asc", "desc"):
        read["order"] = words.pop(0).lower()
    if len(words) == 2 and words[0].lower() == "nulls":
        read["nulls"] = words.pop().lower()
        words.pop()
    if words:
        raise ValueError(f"{value!r} is not an index column; write it like: created_at desc")
    return read


_SHORT_INDEX_COLUMN = BeforeValidator(_index_column, json_schema_input_type=str | IndexColumn)


class IndexConfig(Declaration):
    """An index of a model's table."""

    columns: Sequence[Annotated[IndexColumn, _SHORT_INDEX_COLUMN]] = Field(min_length=1)
    """Its columns in order, each a name, `name desc`, or a mapping."""
    name: Annotated[str, AfterValidator(_index_name)] | None = None
    """Its name; else ix_table_columns."""
    unique: bool = False
    """Whether no two rows may be equal in its columns."""
    where: SQL | None = None
    """An SQL condition: only the rows that meet it are in the index."""
    method: Literal["btree", "gin", "gist", "brin", "hnsw"] = "btree"
    """The kind of index."""
    include: Sequence[ColumnName] = ()
    """Columns kept in the index but not searched by."""
    options: dict[str, int | str | bool] = Field(default_factory=dict)
    """Storage parameters, like m and ef_construction of hnsw."""

    @model_validator(mode="after")
    def _method_can(self) -> IndexConfig:
        if self.unique and self.method != "btree":
            raise ValueError(f"a {self.method} index cannot be unique")
        if self.include and self.method not in ("btree", "gist"):
            raise ValueError(f"a {self.method} index cannot include columns")
        if self.method != "btree" and any(c.order == "desc" or c.nulls for c in self.columns):
            raise ValueError(f"a {self.method} index has no order")
        if self.method == "hnsw" and len(self.columns) != 1:
            raise ValueError("an hnsw index has one column")
        return self

    @property
    def column_names(self) -> tuple[str, ...]:
        """The names of its columns in order."""
        return tuple(column.name for column in self.columns)


class ConstraintConfig(Declaration):
    """A rule that PostgreSQL itself keeps: a check or a unique combination."""

    name: Annotated[str, AfterValidator(_constraint_name)] | None = None
    """Its name, which a ConflictError carries; else made from the table and columns."""
    check: SQL | None = None
    """An SQL condition that each row must meet."""
    unique: Sequence[ColumnName] | None = Field(default=None, min_length=1)
    """Columns in which no two rows may be equal together."""

    @model_validator(mode="after")
    def _one_of_them(self) -> ConstraintConfig:
        if (self.check is None) == (self.unique is None):
            raise ValueError("a constraint is either a check or a unique")
        if self.check is not None and self.name is None:
            raise ValueError("a check needs a name")
        return self


class ModelConfig(Declaration):
    """A model: a table, what its rows look like, and what happens to them.

    Of a model out of a registry, ``columns``, ``indexes`` and ``constraints`` are complete: those of its mixins and of
    the models that extend it are in them.
    """

    name: ModelName = ""
    """Its name, like InvoiceLine; of an extension a further name, or none."""
    table: TableName = ""
    """The name of its table."""
    extends: str | None = None
    """The model that gets these columns, relationships, indexes and features in addition."""
    mixins: Sequence[str] = ()
    """Groups of columns: Timestamps, SoftDelete, Version, Owner, Actor, or those registered."""
    columns: Sequence[ColumnConfig] = ()
    """Its columns; without a primary key among them it gets `id`, a UUID made by uuid7."""
    relationships: Sequence[RelationshipConfig] = ()
    """Ways to the rows of other models."""
    indexes: Sequence[IndexConfig] = ()
    """Its indexes."""
    constraints: Sequence[ConstraintConfig] = ()
    """Checks and unique combinations of columns."""
    features: FeaturesConfig = FeaturesConfig()
    """What else happens to its rows."""
    owner: ColumnName | None = None
    """The column with the id of the user a row belongs to; the Owner mixin sets it."""
    comment: str | None = None
    """A description, for the table and for OpenAPI."""

    @model_validator(mode="before")
    @classmethod
    def _named_after_what_it_extends(cls, data: Any) -> Any:
        if isinstance(data, dict) and "name" not in data and isinstance(data.get("extends"), str):
            return {"name": data["extends"], **data}
        return data

    @model_validator(mode="after")
    def _has_a_name_and_a_table(self) -> ModelConfig:
        if not self.name:
            raise ValueError("`name` is missing")
        if self.extends is None and not self.table:
            raise ValueError("`table` is missing")
        if self.extends is not None and self.table:
            raise ValueError(
                f"an extension has no table of its own: its columns go to that of {self.extends}"
            )
        return self

    @cached_property
    def _by_name(self) -> dict[str, ColumnConfig]:
        return {column.name: column for column in self.columns}

    def column(self, name: str) -> ColumnConfig:
        """The column of this name.

        Raises:
            KeyError: there is none.
        """
        return self._by_name[name]

    @cached_property
    def column_names(self) -> tuple[str, ...]:
        """The names of all columns, hidden ones too."""
        return tuple(self._by_name)

    @cached_property
    def visible_columns(self) -> tuple[ColumnConfig, ...]:
        """The columns that a DTO can show."""
        return tuple(column for column in self.columns if not column.hidden)

    @cached_property
    def primary_key(self) -> str:
        """The name of the key column."""
        return next(column.name for column in self.columns if column.primary_key)

    def relationship(self, name: str) -> RelationshipConfig | None:
        """The relationship of this name, if there is one."""
        return next((r for r in self.relationships if r.name == name), None)

    @property
    def soft_delete(self) -> bool:
        """Whether a delete only sets `deleted_at`."""
        return "SoftDelete" in self.mixins

    @property
    def versioned(self) -> bool:
        """Whether each update counts `version` up."""
        return "Version" in self.mixins

    @property
    def timestamps(self) -> bool:
        """Whether `created_at` and `updated_at` are kept."""
        return "Timestamps" in self.mixins


class ModelFile(Declaration):
    """A file of models."""

    version: Literal[1]
    """The version of this schema."""
    depends_on: Sequence[str] = ()
    """Other model files this one needs, relative to it; they are read with it."""
    models: Sequence[ModelConfig] = ()
    """The models."""
    association_tables: Sequence[AssociationConfig] = ()
    """Tables for many_to_many relationships."""
