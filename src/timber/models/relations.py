"""Relationships worked out: which columns meet, and over which table."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from timber.models.column_types import nearest
from timber.models.stored import is_encrypted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from timber.models.config import (
        AssociationConfig,
        ColumnConfig,
        ModelConfig,
        RelationshipConfig,
    )


@dataclass(frozen=True, slots=True)
class Link:
    """An association table: its name, and the columns that refer to the near and the far model."""

    table: str
    near: str
    far: str


@dataclass(frozen=True, slots=True)
class Relation:
    """A relationship as columns: rows belong together where ``local`` equals ``remote``, directly or over a link.

    ``local`` is a column of the model itself, ``remote`` one of the other; ``order_by`` pairs columns of the other with
    whether they descend. ``outward`` says that ``local`` is the column with the foreign key.
    """

    name: str
    model: str
    many: bool
    local: str
    remote: str
    outward: bool = False
    link: Link | None = None
    order_by: tuple[tuple[str, bool], ...] = ()


class UnclearRelationshipError(ValueError):
    """A relationship does not say enough, or says what is not so; ``key`` is the part of it that is wrong."""

    def __init__(self, message: str, key: str) -> None:
        super().__init__(message)
        self.key = key


class ModelNames:
    """Finds a model by its name, a further name, or its table."""

    def __init__(self, configs: Mapping[str, ModelConfig], aliases: Mapping[str, str]) -> None:
        self.configs = configs
        self._aliases = aliases
        self._tables = {config.table: name for name, config in configs.items()}

    def find(self, word: str) -> ModelConfig | None:
        """The model that a reference means, or None."""
        name = self._aliases.get(word, word)
        return self.configs.get(name) or self.configs.get(self._tables.get(word, ""))

    def hint(self, word: str) -> str:
        """`` (did you mean ...?)`` for an unknown word."""
        return nearest(word, [*self.configs, *self._aliases, *self._tables])


def snake_case(name: str) -> str:
    """``InvoiceLine`` as ``invoice_line``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def association_columns(association: AssociationConfig) -> tuple[str, str]:
    """The columns of an association table, left and right."""
    return (
        association.left_column or f"{snake_case(association.left)}_id",
        association.right_column or f"{snake_case(association.right)}_id",
    )


def relation_of(
    config: ModelConfig,
    relationship: RelationshipConfig,
    names: ModelNames,
    associations: Iterable[AssociationConfig],
) -> Relation:
    """Work out one relationship of a model whose other end is known.

    Raises:
        UnclearRelationshipError: no column, or more than one, could be meant.
    """
    other = names.find(relationship.model)
    if other is None:
        word = relationship.model
        raise UnclearRelationshipError(f"unknown model {word!r}{names.hint(word)}", "model")
    order_by = tuple(_ordering(other, word) for word in relationship.order_by)
    if relationship.type == "many_to_many":
        link = _link(config, other, relationship, names, associations)
        return Relation(
            relationship.name,
            other.name,
            many=True,
            local=config.primary_key,
            remote=other.primary_key,
            link=link,
            order_by=order_by,
        )
    outward = relationship.type == "many_to_one" or (
        relationship.type == "one_to_one" and bool(_references(config, other, names, relationship))
    )
    refers, referred = (config, other) if outward else (other, config)
    column = _the_reference(refers, referred, names, relationship)
    key = column.foreign_key.target_column if column.foreign_key else referred.primary_key
    local, remote = (column.name, key) if outward else (key, column.name)
    return Relation(
        relationship.name,
        other.name,
        relationship.many,
        local,
        remote,
        outward=outward,
        order_by=order_by,
    )


def _ordering(other: ModelConfig, word: str) -> tuple[str, bool]:
    name = word.removeprefix("-")
    if name not in other.column_names:
        hint = nearest(name, other.column_names)
        raise UnclearRelationshipError(
            f"{other.name} has no column {name!r} to order by{hint}", "order_by"
        )
    if is_encrypted(other, name):
        raise UnclearRelationshipError(
            f"{other.name}.{name} is encrypted, so that PostgreSQL cannot order by it", "order_by"
        )
    return name, word.startswith("-")


def _references(
    refers: ModelConfig, referred: ModelConfig, names: ModelNames, relationship: RelationshipConfig
) -> list[ColumnConfig]:
    return [
        column
        for column in refers.columns
        if column.foreign_key is not None
        and names.find(column.foreign_key.target) is referred
        and relationship.foreign_key in (None, column.name)
    ]


def _the_reference(
    refers: ModelConfig, referred: ModelConfig, names: ModelNames, relationship: RelationshipConfig
) -> ColumnConfig:
    found = _references(refers, referred, names, relationship)
    if len(found) == 1:
        return found[0]
    if found:
        columns = " and ".join(column.name for column in found)
        raise UnclearRelationshipError(
            f"{refers.name} refers to {referred.name} by {columns}; say which with foreign_key",
            "name",
        )
    if relationship.foreign_key is None:
        message = f"{refers.name} has no column that refers to {referred.name}"
        raise UnclearRelationshipError(f"{message}, as {relationship.type} needs", "type")
    if relationship.foreign_key not in refers.column_names:
        hint = nearest(relationship.foreign_key, refers.column_names)
        raise UnclearRelationshipError(
            f"{refers.name} has no column {relationship.foreign_key!r}{hint}", "foreign_key"
        )
    raise UnclearRelationshipError(
        f"{refers.name}.{relationship.foreign_key} does not refer to {referred.name}", "foreign_key"
    )


def _link(
    config: ModelConfig,
    other: ModelConfig,
    relationship: RelationshipConfig,
    names: ModelNames,
    associations: Iterable[AssociationConfig],
) -> Link:
    associations = tuple(associations)
    links = []
    for association in associations:
        left, right = association_columns(association)
        ends = names.find(association.left), names.find(association.right)
        if relationship.secondary not in (None, association.name):
            continue
        if ends[0] is config and ends[1] is other:
            links.append(Link(association.name, left, right))
        elif ends[0] is other and ends[1] is config:
            links.append(Link(association.name, right, left))
    if len(links) == 1:
        return links[0]
    if links:
        tables = " and ".join(link.table for link in links)
        raise UnclearRelationshipError(
            f"{config.name} and {other.name} are linked by {tables}; say which with secondary",
            "name",
        )
    known = [association.name for association in associations]
    if relationship.secondary is not None and relationship.secondary not in known:
        word = relationship.secondary
        raise UnclearRelationshipError(
            f"there is no association table {word!r}{nearest(word, known)}", "secondary"
        )
    raise UnclearRelationshipError(
        f"no association table links {config.name} and {other.name}",
        "secondary" if relationship.secondary else "type",
    )
