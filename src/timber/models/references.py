"""Complete models held against one another: every name that one of them uses must mean something."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from timber.models.column_types import JSON_KINDS, TEXT_KINDS, nearest
from timber.models.factory import index_name
from timber.models.feature_checks import check_features
from timber.models.personal_data_checks import check_personal_data
from timber.models.relations import (
    ModelNames,
    UnclearRelationshipError,
    association_columns,
    relation_of,
)

if TYPE_CHECKING:
    from timber.errors import ConfigurationError
    from timber.models.assemble import Assembled, Assembly, Place
    from timber.models.column_types import ColumnType
    from timber.models.config import ColumnConfig, ModelConfig
    from timber.models.loader import Declarations, DeclaredAssociation

_INVERSE: Final = {
    "one_to_many": "many_to_one",
    "many_to_one": "one_to_many",
    "one_to_one": "one_to_one",
    "many_to_many": "many_to_many",
}
_CONTAINERS: Final = frozenset({"JSONB", "Array", "SearchVector"})


def check_references(assembly: Assembly, found: Declarations) -> list[ConfigurationError]:
    """Everything that is wrong between the models and inside each of them."""
    checks = _Checks(assembly, found)
    checks.tables()
    for model in assembly.models.values():
        checks.columns(model)
        checks.indexes(model)
        checks.relationships(model)
        checks.features(model)
    for association in found.associations:
        checks.association(association)
    return checks.errors


class _Checks:
    def __init__(self, assembly: Assembly, found: Declarations) -> None:
        self.errors: list[ConfigurationError] = []
        self.configs = {name: model.finished() for name, model in assembly.models.items()}
        self._assembly = assembly
        self._broken = found.broken
        self._associations = found.associations
        self._names = ModelNames(self.configs, assembly.aliases)
        self._index_names: dict[str, str] = {}

    def features(self, model: Assembled) -> None:
        """Features fit the columns, and what is said about a person's data can be meant, and done."""
        config = self.configs[model.name]
        if self._usable(config):
            self.errors += check_features(model, config)
            self.errors += check_personal_data(model, config, self._names)

    def _usable(self, config: ModelConfig) -> bool:
        """Whether the model has a key, without which little can be said of it, and nothing of references to it."""
        return any(column.primary_key for column in config.columns)

    def tables(self) -> None:
        """No two models, and no association table, share a table."""
        seen: dict[str, str] = {}
        for model in self._assembly.models.values():
            table = model.declared.config.table
            if table in seen:
                message = f"the table {table} belongs to {seen[table]} already"
                self.errors.append(model.declared.error(message, "table"))
            seen.setdefault(table, model.name)
        for association in self._associations:
            table = association.config.name
            if table in seen:
                message = f"the table {table} belongs to {seen[table]} already"
                self.errors.append(association.error(message, "name"))
            seen.setdefault(table, "an association")

    def columns(self, model: Assembled) -> None:
        """Each reference leads to a key of the same type, and its actions are possible."""
        for column in model.columns.values():
            place = model.place("columns", column.name)
            if column.foreign_key is not None:
                self._foreign_key(column, place)
            if column.type.kind == "JSON" and (column.unique or column.index):
                key = "unique" if column.unique else "index"
                message = "JSON cannot be compared, so it has no index; use JSONB"
                self.errors.append(place.error(message, key))
        owner = model.owner
        if owner is not None and owner not in model.columns and owner not in model.gaps:
            hint = nearest(owner, model.columns)
            message = f"{model.name} has no column {owner!r} to be its owner{hint}"
            self.errors.append(model.place("owner", "").error(message))
        elif owner in model.columns and model.columns[owner].type.kind not in {
            *TEXT_KINDS,
            "UUID",
        }:
            message = f"the owner column {owner} holds user ids: make it String(255), Text or UUID"
            self.errors.append(model.place("owner", "").error(message))

    def _foreign_key(self, column: ColumnConfig, place: Place) -> None:
        key = column.foreign_key
        if key is None or key.target in self._broken:
            return
        other = self._names.find(key.target)
        if other is None:
            message = f"unknown model {key.target!r}{self._names.hint(key.target)}"
            self.errors.append(place.error(message, "foreign_key", "references"))
            return
        if key.target_column not in other.column_names:
            if key.target_column not in self._assembly.models[other.name].gaps:
                hint = nearest(key.target_column, other.column_names)
                message = f"{other.name} has no column {key.target_column!r}{hint}"
                self.errors.append(place.error(message, "foreign_key", "references"))
            return
        target = other.column(key.target_column)
        if not (target.primary_key or target.unique or _alone_unique(other, target.name)):
            message = (
                f"{key.references} is neither a primary key nor unique, so nothing can refer to it"
            )
            self.errors.append(place.error(message, "foreign_key", "references"))
        if not _comparable(column.type, target.type):
            message = f"{column.name} is {column.type}, but {key.references} is {target.type}"
            self.errors.append(place.error(message, "type"))
        for action in ("on_delete", "on_update"):
            wanted = getattr(key, action)
            if wanted == "set_null" and not column.nullable:
                message = f"{action} sets {column.name} to NULL, but it is not nullable"
                self.errors.append(place.error(message, "foreign_key", action))
            if wanted == "set_default" and column.server_default is None:
                message = (
                    f"{action} sets {column.name} to its default, but it has no server_default"
                )
                self.errors.append(place.error(message, "foreign_key", action))

    def indexes(self, model: Assembled) -> None:
        """Indexes and constraints are about columns that are there, of types that can be indexed so."""
        for position, index in enumerate(model.indexes):
            place = model.place("indexes", position)
            for at, part in enumerate(index.columns):
                if not self._known(model, part.name, place, "columns", at):
                    continue
                kind = model.columns[part.name].type.kind
                message = _unfit(kind, index.method, has_ops=part.ops is not None)
                if message is not None:
                    self.errors.append(place.error(f"{part.name} is {message}", "columns", at))
            for at, name in enumerate(index.include):
                self._known(model, name, place, "include", at)
            name = index_name(model.declared.config.table, index)
            if name in self._index_names:
                message = f"the index name {name} is taken, by {self._index_names[name]}"
                if index.name is None:
                    message += "; give one of them a name"
                self.errors.append(place.error(message))
            self._index_names.setdefault(name, model.name)
        for position, constraint in enumerate(model.constraints):
            place = model.place("constraints", position)
            for at, name in enumerate(constraint.unique or ()):
                self._known(model, name, place, "unique", at)

    def _known(self, model: Assembled, name: str, place: Place, *below: str | int) -> bool:
        if name in model.columns:
            return True
        if name not in model.gaps:
            message = f"{model.name} has no column {name!r}{nearest(name, model.columns)}"
            self.errors.append(place.error(message, *below))
        return False

    def relationships(self, model: Assembled) -> None:
        """Each relationship has columns behind it, and its other side agrees."""
        seen: set[str] = set()
        config = self.configs[model.name]
        associations = [association.config for association in self._associations]
        for position, relationship in enumerate(config.relationships):
            place = model.place("relationships", position)
            if relationship.name in model.columns or relationship.name in seen:
                message = f"{model.name} has a {relationship.name} already"
                self.errors.append(place.error(message, "name"))
            seen.add(relationship.name)
            other = self._names.find(relationship.model)
            if relationship.model in self._broken or not self._usable(config):
                continue
            if other is not None and not self._usable(other):
                continue
            try:
                relation_of(config, relationship, self._names, associations)
            except UnclearRelationshipError as unclear:
                gaps = set(model.gaps)
                if other is not None:
                    gaps |= self._assembly.models[other.name].gaps
                if not gaps:
                    self.errors.append(place.error(str(unclear), unclear.key))
            if other is not None and relationship.back_populates is not None:
                self._other_side(config, position, other, place)

    def _other_side(
        self, config: ModelConfig, position: int, other: ModelConfig, place: Place
    ) -> None:
        relationship = config.relationships[position]
        wanted = relationship.back_populates or ""
        back = other.relationship(wanted)
        message = None
        if back is None:
            if wanted in self._assembly.models[other.name].gaps:
                return
            hint = nearest(wanted, [r.name for r in other.relationships])
            message = f"{other.name} has no relationship {wanted!r}{hint}"
        elif self._names.find(back.model) is not config:
            message = f"{other.name}.{back.name} leads to {back.model}, not to {config.name}"
        elif back.back_populates != relationship.name:
            message = f"{other.name}.{back.name} must say `back_populates: {relationship.name}` too"
        elif back.type != _INVERSE[relationship.type]:
            message = (
                f"{relationship.type} seen from the other side is {_INVERSE[relationship.type]}, "
                f"but {other.name}.{back.name} is {back.type}"
            )
        if message is not None:
            self.errors.append(place.error(message, "back_populates"))

    def association(self, declared: DeclaredAssociation) -> None:
        """An association table links two models that are there, by two columns."""
        for side in ("left", "right"):
            word = getattr(declared.config, side)
            if self._names.find(word) is None and word not in self._broken:
                message = f"unknown model {word!r}{self._names.hint(word)}"
                self.errors.append(declared.error(message, side))
        left, right = association_columns(declared.config)
        if left == right:
            message = (
                f"both its columns are called {left}; name them with left_column and right_column"
            )
            self.errors.append(declared.error(message))


def _alone_unique(config: ModelConfig, column: str) -> bool:
    return any(constraint.unique == (column,) for constraint in config.constraints)


def _comparable(one: ColumnType, other: ColumnType) -> bool:
    integers = {"Integer", "BigInteger", "SmallInteger"}
    return any(
        one.kind in kinds and other.kind in kinds
        for kinds in (integers, TEXT_KINDS | {"Enum"}, {one.kind})
    )


def _unfit(kind: str, method: str, *, has_ops: bool) -> str | None:
    if kind in JSON_KINDS - _CONTAINERS:
        return "JSON, which has no index; use JSONB"
    if method == "hnsw" and kind != "Vector":
        return f"{kind}; an hnsw index is for a Vector"
    if method == "gin" and not has_ops and kind not in _CONTAINERS:
        return f"{kind}; a gin index of it needs an operator class (ops), like gin_trgm_ops"
    return None
