"""What an erasure goes through and in which order, worked out from the models: who refers to whom, children first."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from timber.errors import ConfigurationError
from timber.models.personal_data import mentions
from timber.privacy.holdings import Holding, Way

if TYPE_CHECKING:
    from collections.abc import Iterator

    import sqlalchemy as sa

    from timber.models.config import ModelConfig
    from timber.models.registry import ModelRegistry


@dataclass(frozen=True, slots=True)
class Reference:
    """A column of one model that refers to the rows of another."""

    model: str
    column: str
    target: str
    target_column: str
    nullable: bool
    on_delete: str
    """What PostgreSQL does to the row: ``cascade``, ``set null`` and so on; ``no action`` where nothing is said."""


@dataclass(frozen=True, slots=True)
class Link:
    """A column of an association table that refers to the rows of a model."""

    name: str
    table: sa.Table
    column: str
    target: str
    target_column: str


class PersonalModels:
    """The models of a registry that hold personal data, and everything that refers to their rows.

    Attributes:
        holdings: those models by their names.
        references: of each model of the registry, what refers to its rows.
        links: of each model, the association tables that do.
    """

    def __init__(self, registry: ModelRegistry) -> None:
        self._registry = registry
        self._configs = {name: registry.model_config(name) for name in registry.list_models()}
        self._models = {config.table: name for name, config in self._configs.items()}
        self.holdings: dict[str, Holding] = {}
        self.references: dict[str, list[Reference]] = {name: [] for name in self._configs}
        self.links: dict[str, list[Link]] = {name: [] for name in self._configs}
        for name in sorted(registry.metadata.tables):
            self._read(registry.metadata.tables[name])
        for name, config in self._configs.items():
            if config.features.personal_data is not None:
                self._hold(name)

    def _read(self, table: sa.Table) -> None:
        """Note what a table refers to; the library's own tables go with the rows that they are about."""
        if table.name.startswith("timber_"):
            return
        for column in table.columns:
            for key in column.foreign_keys:
                # SQLAlchemy's names are a kind of text that JSON does not know.
                names = str(column.name), str(key.column.name)
                target = self._models.get(key.column.table.name)
                model = self._models.get(table.name)
                if target is None:
                    continue
                if model is None:
                    link = Link(str(table.name), table, names[0], target, names[1])
                    self.links[target].append(link)
                    continue
                action = (key.ondelete or "no action").lower()
                nullable = bool(column.nullable)
                made = Reference(model, names[0], target, names[1], nullable, action)
                self.references[target].append(made)

    def _hold(self, name: str) -> Holding:
        """The holding of a model, with those that its rows are reached through."""
        if name in self.holdings:
            return self.holdings[name]
        config = self._configs[name]
        personal = config.features.personal_data
        way = None
        if personal is not None and personal.through is not None:
            reference = next(
                reference
                for references in self.references.values()
                for reference in references
                if (reference.model, reference.column) == (name, personal.through)
            )
            way = Way(personal.through, self._hold(reference.target), reference.target_column)
        holding = Holding(config, self._registry.table(name), way)
        self.holdings[name] = holding
        return holding

    def config(self, name: str) -> ModelConfig:
        """The configuration of a model."""
        return self._configs[name]

    def table(self, name: str) -> sa.Table:
        """The table of a model."""
        return self._registry.table(name)

    def dto(self, name: str) -> type[Any]:
        """What the rows of a model are read as."""
        return self._registry.read_dto(name)

    def mentions(self) -> Iterator[tuple[str, str]]:
        """Every column that may hold the id of somebody else than its row is about, with its model."""
        for name, config in self._configs.items():
            for column in mentions(config):
                yield name, column

    @cached_property
    def undeclared(self) -> dict[str, str]:
        """Models that may hold personal data and do not say so, each with the reason."""
        found = {}
        for name, config in self._configs.items():
            if name not in self.holdings and config.owner is not None:
                found[name] = f"it has an owner, {config.owner}"
        for target in self.holdings:
            for reference in self.references[target]:
                if reference.model not in self.holdings:
                    reason = f"its {reference.column} refers to {target}"
                    found.setdefault(reference.model, reason)
        return found

    @cached_property
    def with_keys(self) -> tuple[str, ...]:
        """The models whose rows are encrypted with a key for each person."""
        return tuple(
            name
            for name, config in self._configs.items()
            if config.features.encryption is not None and config.features.encryption.per_person
        )

    @cached_property
    def audited(self) -> tuple[str, ...]:
        """The models whose rows are audited."""
        return tuple(
            name for name, config in self._configs.items() if config.features.audit is not None
        )

    @cached_property
    def cached(self) -> tuple[str, ...]:
        """The models whose rows are cached."""
        return tuple(
            name for name, config in self._configs.items() if config.features.cache is not None
        )

    def check_declared(self) -> None:
        """Refuse to go on where it is not known of a model what an erasure is to do.

        Raises:
            ConfigurationError: naming every such model.
        """
        if self.undeclared:
            which = "; ".join(f"{name} ({reason})" for name, reason in self.undeclared.items())
            raise ConfigurationError(
                "Some models may hold personal data and do not say what an erasure does to it. Declare `features: "
                f"{{personal_data: ...}}` for: {which}."
            )

    def blocking(self, target: str) -> list[Reference]:
        """References that keep a row from being deleted while they are there: those that may not be NULL."""
        return [reference for reference in self.references[target] if not reference.nullable]

    def ways_to(self, target: str) -> list[tuple[Holding, Way]]:
        """The holdings whose rows are reached through those of another."""
        return [
            (holding, holding.way)
            for holding in self.holdings.values()
            if holding.way is not None and holding.way.target.name == target
        ]

    @cached_property
    def order(self) -> tuple[Holding, ...]:
        """The holdings, each behind those that refer to its rows.

        A reference that may be NULL gives way where there is a circle: it is emptied.

        Raises:
            ConfigurationError: rows refer to one another in a circle of references that may not be NULL.
        """
        firm: dict[str, set[str]] = {name: set() for name in self.holdings}
        loose: dict[str, set[str]] = {name: set() for name in self.holdings}
        for target, holding in self.holdings.items():
            firm[target] |= {child.name for child, _ in self.ways_to(target)}
            for reference in self.references[target]:
                if reference.model in firm and reference.model != target and not holding.stays:
                    (loose if reference.nullable else firm)[target].add(reference.model)
        order: list[Holding] = []
        waiting = sorted(self.holdings)
        while waiting:
            done = {holding.name for holding in order}
            free = [name for name in waiting if firm[name] <= done]
            if not free:
                raise ConfigurationError(_circle(firm, waiting, done))
            name = next((name for name in free if loose[name] <= done), free[0])
            order.append(self.holdings[name])
            waiting.remove(name)
        return tuple(order)


def _circle(before: dict[str, set[str]], waiting: list[str], done: set[str]) -> str:
    """What to say of models that all wait for one another."""
    path = [waiting[0]]
    while True:
        onwards = min(before[path[-1]] - done)
        if onwards in path:
            circle = [*path[path.index(onwards) :], onwards]
            names = " -> ".join(reversed(circle))
            return (
                f"The rows of a person cannot be deleted in any order: {names} refer to one another by references that may "
                "not be NULL. Make one of these references nullable."
            )
        path.append(onwards)
