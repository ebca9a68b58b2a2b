"""How a DTO is read: its columns, and for the DTOs nested in it one more statement each, whatever the number of rows.

A plan is made once from the fields of the DTO. Nothing is loaded later, so that there is nothing to load one by one.
"""

from __future__ import annotations

import copy
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Union, get_args, get_origin
from uuid import UUID

import pydantic
import sqlalchemy as sa
from pydantic import AliasChoices, BaseModel
from sqlalchemy.dialects.postgresql import ARRAY

from timber.database.statements import compile_statement, parameter
from timber.errors import ConfigurationError, DatabaseError
from timber.models.column_types import SEARCH_VECTOR

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from pydantic.fields import FieldInfo
    from sqlalchemy.engine import Dialect
    from sqlalchemy.orm import RelationshipProperty

    from timber.database.manager import AsyncDatabaseManager
    from timber.database.statements import Statement
    from timber.features.orchestrator import FeatureOrchestrator
    from timber.models.config import ModelConfig

E = TypeVar("E", bound=BaseModel)
FeaturesOf = Callable[[type[Any]], "FeatureOrchestrator | None"]

_LINK = "_link"
_DEPTH_LIMIT = 5


@dataclass(frozen=True, slots=True)
class Branch:
    """A nested field: the rows of another model whose ``_link`` equals the ``local`` column of the row above."""

    key: str
    many: bool
    local: str
    statement: Statement
    plan: Plan[Any]

    async def fill(
        self, db: AsyncDatabaseManager, above: Sequence[Any], inputs: Sequence[dict[str, Any]]
    ) -> None:
        """Put the nested rows into the inputs of the rows above, with one statement for all of them."""
        keys = list({row[self.local] for row in above if row[self.local] is not None})
        found = await db.fetch(self.statement, self.statement.bind({"keys": keys})) if keys else []
        groups: dict[Any, list[dict[str, Any]]] = {}
        for row, nested in zip(found, await self.plan.inputs(db, found), strict=True):
            groups.setdefault(row[_LINK], []).append(nested)
        given = set()
        for row, values in zip(above, inputs, strict=True):
            link = row[self.local]
            group = groups.get(link, [])
            if link in given:
                group = copy.deepcopy(group)  # each DTO has JSON of its own
            given.add(link)
            values[self.key] = group if self.many else (group[0] if group else None)


class Plan(Generic[E]):
    """How one DTO is read from one model's table.

    Args:
        model: the mapped class.
        dto: the DTO; a field that is neither a column nor a relationship is an error unless it has a default.
        features_of: the features of a model, which may have stored its columns in another form.

    Attributes:
        columns: what to select, those of the DTO's fields first; a statement may have more columns behind them.

    Raises:
        ConfigurationError: naming the field that has nothing behind it.
    """

    def __init__(
        self,
        model: type[Any],
        dto: type[E],
        dialect: Dialect,
        features_of: FeaturesOf,
        *,
        path: tuple[str, ...] = (),
    ) -> None:
        _require_dto(dto)
        self.dto = dto
        self._config: ModelConfig = model.__model_config__
        self._validate = dto.__pydantic_validator__.validate_python
        columns: dict[str, str] = {}
        branches = []
        known = {c.name for c in self._config.columns if c.type.kind != SEARCH_VECTOR}
        for name, field in dto.model_fields.items():
            key = _input_key(name, field)
            nested = _nested_dto(field.annotation)
            if (column := _column_of(name, field, known)) is not None:
                columns[column] = key
            elif nested is not None and (relationship := _relationship(model, name, field)):
                below = (*path, dto.__name__)
                branches.append(
                    _branch(relationship, (name, key), nested, dialect, features_of, below)
                )
            elif field.is_required() or nested is not None:
                raise ConfigurationError(self._missing(name, is_nested=nested is not None))
        if not columns and not branches:
            raise ConfigurationError(f"{dto.__name__} has no field of {self._config.name}.")
        self.keys: tuple[str, ...] = tuple(columns.values())
        """What the DTO's validator calls the first of the columns."""
        features = features_of(model)
        self._features = features if features and features.decodes(columns) else None
        beside = (
            [self._config.primary_key, *sorted(features.support)]
            if self._features and features
            else []
        )
        locals_ = (branch.local for branch in branches)
        self.columns: tuple[str, ...] = tuple(dict.fromkeys([*columns, *beside, *locals_]))
        self.branches: tuple[Branch, ...] = tuple(branches)
        self.is_plain: bool = not branches and self._features is None
        """Whether a row is a DTO as it comes."""

    def _missing(self, name: str, *, is_nested: bool) -> str:
        config = self._config
        if is_nested:
            return (
                f"{self.dto.__name__}.{name} nests another DTO, but {config.name} has no relationship {name!r}. Declare it "
                "in the model, or remove the field."
            )
        return (
            f"{self.dto.__name__}.{name} has no column in {config.table} ({config.name}). Remove the field, give it a "
            "default, or add the column to the model."
        )

    def read(self, rows: Sequence[Any]) -> list[E]:
        """DTOs of rows of a plain plan."""
        keys = self.keys
        validate = self._validate
        try:
            # Values come in the order of the keys, and what a statement has behind them is not the DTO's.
            return [validate(dict(zip(keys, row, strict=False))) for row in rows]
        except pydantic.ValidationError:
            raise self.misfit(dict(zip(keys, row, strict=False)) for row in rows) from None

    async def load(self, db: AsyncDatabaseManager, rows: Sequence[Any]) -> list[E]:
        """DTOs of rows, the nested ones read first."""
        inputs = await self.inputs(db, rows)
        validate = self._validate
        try:
            return [validate(values) for values in inputs]
        except pydantic.ValidationError:
            raise self.misfit(inputs) from None

    async def inputs(self, db: AsyncDatabaseManager, rows: Sequence[Any]) -> list[dict[str, Any]]:
        """What the DTO's validator takes for each row, with everything nested in it."""
        keys = self.keys
        if self._features is None:
            inputs = [dict(zip(keys, row, strict=False)) for row in rows]
        else:
            stored = [dict(zip(self.columns, row, strict=False)) for row in rows]
            await self._features.after_query(stored)
            inputs = [dict(zip(keys, row.values(), strict=False)) for row in stored]
        if inputs:
            for branch in self.branches:
                await branch.fill(db, rows, inputs)
        return inputs

    def misfit(self, inputs: Iterable[dict[str, Any]]) -> DatabaseError:
        """What is said of the first row that the DTO's validator refuses."""
        for values in inputs:
            try:
                self._validate(values)
            except pydantic.ValidationError as error:
                fields = dict.fromkeys(
                    ".".join(map(str, e["loc"])) for e in error.errors(include_input=False)
                )
                return DatabaseError(
                    f"{self._row_of(values)} does not fit {self.dto.__name__} in {', '.join(fields)}. It was written by "
                    "something else than Timber, the table is not as the model says (see `timber migrate check`), or the DTO "
                    "is of something else: mend the row, the table or the DTO."
                )
        raise AssertionError("every row fits")

    def _row_of(self, values: Mapping[str, Any]) -> str:
        config = self._config
        key = values.get(
            dict(zip(self.columns, self.keys, strict=False)).get(config.primary_key, "")
        )
        # Other keys may be somebody's name.
        named = f" with the {config.primary_key} {key}" if isinstance(key, UUID | int) else ""
        return f"The row of {config.table}{named}"


def _require_dto(dto: object) -> None:
    if not (isinstance(dto, type) and issubclass(dto, BaseModel)):
        raise ConfigurationError(
            f"Rows are read into a DTO, a pydantic model, and {dto!r} is none."
        )


def _aliases(field: FieldInfo) -> list[str]:
    """The plain names under which the validator takes a field."""
    alias = field.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    return [choice for choice in choices if isinstance(choice, str)]


def _input_key(name: str, field: FieldInfo) -> str:
    return next(iter(_aliases(field)), name)


def _column_of(name: str, field: FieldInfo, known: Container[str]) -> str | None:
    """A field reads the column that its alias names, or the one of its own name."""
    return next((word for word in (*_aliases(field), name) if word in known), None)


def _nested_dto(annotation: Any) -> tuple[type[BaseModel], bool] | None:
    """The DTO inside an annotation and whether there are many; None for a plain field."""
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        inner = [part for part in get_args(annotation) if part is not type(None)]
        return _nested_dto(inner[0]) if len(inner) == 1 else None
    if origin in (list, tuple):
        one = _nested_dto(get_args(annotation)[0])
        return None if one is None else (one[0], True)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    return None


def _relationship(
    model: type[Any], name: str, field: FieldInfo
) -> RelationshipProperty[Any] | None:
    known = sa.inspect(model).relationships
    return next((known[word] for word in (*_aliases(field), name) if word in known), None)


def _branch(  # noqa: PLR0917  # what a plan is made of, handed on
    relationship: RelationshipProperty[Any],
    names: tuple[str, str],
    nested: tuple[type[BaseModel], bool],
    dialect: Dialect,
    features_of: FeaturesOf,
    path: tuple[str, ...],
) -> Branch:
    name, key = names
    dto, many = nested
    if dto.__name__ in path or len(path) > _DEPTH_LIMIT:
        raise ConfigurationError(
            f"{path[-1]}.{name} nests {dto.__name__}, which nests it in turn ({' > '.join(path)}): end the circle with a "
            "narrower DTO."
        )
    if bool(relationship.uselist) != many:
        shape = "a list" if relationship.uselist else "one row"
        raise ConfigurationError(
            f"{path[-1]}.{name}: the relationship leads to {shape}, the field does not."
        )
    other = relationship.mapper.class_
    table: sa.Table = other.__table__
    plan: Plan[Any] = Plan(other, dto, dialect, features_of, path=path)
    source: Any = table
    if relationship.secondary is not None:
        near, link = relationship.synchronize_pairs[0]
        pairs: Any = relationship.secondary_synchronize_pairs
        far, far_link = pairs[0]
        source = table.join(relationship.secondary, far == far_link)
    else:
        near, link = relationship.local_remote_pairs[0]
    statement = (
        sa.select(*(table.c[column] for column in plan.columns), link.label(_LINK))
        .select_from(source)
        .where(link == sa.any_(parameter("keys", ARRAY(near.type))))
    )
    if other.__model_config__.soft_delete:
        statement = statement.where(table.c.deleted_at.is_(None))
    if relationship.order_by:
        statement = statement.order_by(*relationship.order_by)
    compiled = compile_statement(statement, dialect, label=f"nested {other.__model_config__.name}")
    return Branch(key, many, near.name, compiled, plan)
