"""Rows of any model for tests: what a test does not care about is made up, the same in every run."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol

from timber.errors import UsageError
from timber.testing.inventing import invent

if TYPE_CHECKING:
    from collections.abc import Callable

    from timber.models.config import ColumnConfig
    from timber.models.registry import ModelRegistry


class Inserting(Protocol):
    """What a factory asks of a repository, a real one or one in memory."""

    async def insert(self, values: object, *, id: object = None) -> Any: ...


class Factory:
    """Makes valid rows: ``await timber_factory.create("Invoice", amount=3)``.

    Args:
        registry: the models.
        repository_of: gives the repository of a model by its name.
    """

    def __init__(self, registry: ModelRegistry, repository_of: Callable[[str], Inserting]) -> None:
        self._registry = registry
        self._repository_of = repository_of
        self._made: Counter[str] = Counter()

    def build(self, model: str, *, complete: bool = False, **values: Any) -> dict[str, Any]:
        """The values of a new row, which nobody stores: what is required and was not given is made up.

        References to other rows are left to whoever gives them.

        Args:
            complete: make up what may be left out, too.

        Raises:
            ConfigurationError: there is no such model.
            UsageError: it has no column of a name that is given, or a rule demands what cannot be made up.
        """
        config = self._registry.model_config(model)
        known = {column.name: column for column in config.columns if column.generated is None}
        for name in values:
            if name not in known:
                raise UsageError(f"{model} has no column {name!r} to give a value for.")
        self._made[model] += 1
        number = self._made[model]
        made = {
            name: invent(config, column, number)
            for name, column in known.items()
            if name not in values
            and column.writable
            and column.foreign_key is None
            and not column.primary_key
            and (complete or not column.optional)
        }
        return {**made, **values}

    async def create(self, model: str, *, complete: bool = False, **values: Any) -> Any:
        """A new row as its DTO. Rows that it has to refer to are made before it, unless their keys are given.

        Args:
            complete: make up what may be left out, too.

        Raises:
            UsageError: as :meth:`build`; or rows refer to one another in a circle.
        """
        return await self._create(model, values, (), complete=complete)

    async def create_many(self, model: str, number: int, **values: Any) -> list[Any]:
        """So many rows, each with these values."""
        return [await self.create(model, **values) for _ in range(number)]

    async def _create(
        self, model: str, values: dict[str, Any], above: tuple[str, ...], *, complete: bool
    ) -> Any:
        if model in above:
            raise UsageError(
                f"{' needs '.join((*above, model))}: give a key for one of them, there is no first row to make."
            )
        given = dict(values)
        config = self._registry.model_config(model)
        for column in config.columns:
            if column.foreign_key is not None and not column.optional and column.name not in given:
                parent = await self._create(
                    self._referred(column), {}, (*above, model), complete=False
                )
                given[column.name] = getattr(parent, column.foreign_key.target_column)
        key = given.pop(config.primary_key, None)
        row = self.build(model, complete=complete, **given)
        if key is None and self._has_to_be_given(config.column(config.primary_key)):
            key = invent(config, config.column(config.primary_key), self._made[model])
        return await self._repository_of(model).insert(row, id=key)

    def _referred(self, column: ColumnConfig) -> str:
        assert column.foreign_key is not None
        target = column.foreign_key.target
        for name in self._registry.list_models():
            if target in (name, self._registry.model_config(name).table):
                return name
        raise UsageError(f"{column.name} refers to {target}, which is no model.")

    def _has_to_be_given(self, key: ColumnConfig) -> bool:
        """Whether neither the library nor PostgreSQL makes it."""
        return not key.optional and key.type.kind != "UUID"
