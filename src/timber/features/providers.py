"""The feature providers of one Timber, and the orchestrator that each model gets of them."""

from __future__ import annotations

import importlib
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any, Final

from timber.errors import ConfigurationError
from timber.features.feature import FeatureModel, FeatureProvider
from timber.features.orchestrator import FeatureOrchestrator
from timber.models.column_types import nearest
from timber.models.registry import ModelRegistry
from timber.models.stored import blind_index

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from timber.database.manager import AsyncDatabaseManager
    from timber.features.background import BackgroundWork
    from timber.features.feature import Feature
    from timber.models.config import ModelConfig
    from timber.settings import TimberSettings

ROW_FEATURES: Final = frozenset({"encryption", "validation", "audit", "embedding"})
"""The built-in features that have to do something with every row; the others the table or the repository has by itself."""

_WAYS: Final = {
    "encryption": "name the keys in the setting encryption_keys, or pass keys= to Timber",
    "audit": "set audit_key, or pass the provider in features=",
    "embedding": "set embedder, or pass an EmbeddingProvider in providers=",
}


class Features:
    """What one Timber provides for its models.

    Args:
        providers: in any order; each says which others see a row before it.

    Raises:
        ConfigurationError: two of them have one name, or their orders contradict one another.
    """

    def __init__(self, providers: Iterable[FeatureProvider] = ()) -> None:
        self.providers: tuple[FeatureProvider, ...] = _in_order(tuple(providers))
        self._made: dict[tuple[int, Any], FeatureOrchestrator | None] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the features in the order in which rows go in."""
        return tuple(provider.name for provider in self.providers)

    def provider(self, name: str) -> FeatureProvider | None:
        """The provider of this name."""
        return next((p for p in self.providers if p.name == name), None)

    def orchestrator(
        self, db: AsyncDatabaseManager, model: type[Any]
    ) -> FeatureOrchestrator | None:
        """The features of a model; None if it declares none that touch rows.

        Raises:
            ConfigurationError: it declares a feature that nobody provides, or declares one wrongly.
        """
        known = (id(db), model)
        if known not in self._made:
            self._made[known] = self._make(db, model)
        return self._made[known]

    def check(self, config: ModelConfig) -> None:
        """Hold what a model declares against what is provided.

        Raises:
            ConfigurationError: naming the features that nobody provides.
        """
        missing = [name for name in row_features(config) if self.provider(name) is None]
        if missing:
            ways = "; ".join(f"{name}: {self._way(name)}" for name in missing)
            raise ConfigurationError(
                f"{config.name} declares {', '.join(missing)}, and nobody provides it ({ways}). Provide it, or take it out of "
                "the model's features."
            )

    async def start(self, db: AsyncDatabaseManager, registry: ModelRegistry) -> None:
        """Let every provider begin, and check every model's declarations.

        Raises:
            ConfigurationError: a declaration does not fit.
        """
        for name in registry.list_models():
            self.orchestrator(db, registry.get_model(name))
        for provider in self.providers:
            await provider.start(db, registry)

    def background(self) -> list[BackgroundWork]:
        """What is to be done beside requests; after the start."""
        return [work for provider in self.providers for work in provider.background()]

    async def close(self) -> None:
        """Let every provider end."""
        for provider in reversed(self.providers):
            await provider.close()
        self._made.clear()

    def _way(self, name: str) -> str:
        return (
            _WAYS.get(name)
            or f"name its provider in the setting features{nearest(name, self.names)}"
        )

    def _make(self, db: AsyncDatabaseManager, model: type[Any]) -> FeatureOrchestrator | None:
        config: ModelConfig | None = getattr(model, "__model_config__", None)
        declared = row_features(config) if config is not None else ()
        if config is None or not declared:
            return None
        self.check(config)
        whole = FeatureModel(config, model.__table__, db)
        made: dict[str, Feature] = {}
        kept: set[str] = set()
        if config.features.encryption is not None:
            kept.update(blind_index(name) for name in config.features.encryption.searchable)
        for provider in self.providers:
            if provider.name in declared:
                feature = provider.feature(whole)
                if feature is not None:
                    made[provider.name] = feature
                kept.update(column.name for column in provider.on_model(config))
        return FeatureOrchestrator(made, kept) if made else None


def row_features(config: ModelConfig) -> tuple[str, ...]:
    """The features of a model that have to do with every row, custom ones too."""
    custom = config.features.custom
    return tuple(
        name for name in config.features.declared if name in ROW_FEATURES or name in custom
    )


def load_providers(names: Iterable[str]) -> list[FeatureProvider]:
    """The providers that settings name as ``package.module:Class``, each made without arguments.

    Raises:
        ConfigurationError: there is no such class, or it is no provider.
    """
    return [_load(name) for name in names]


def registry_of(
    settings: TimberSettings, *, classes: Iterable[type[Any]] = (), built_in: bool = True
) -> ModelRegistry:
    """The models that settings name, with what their features need in the tables; for tools that start no Timber.

    Args:
        classes: mapped classes beside them.
        built_in: whether the models of the built-in services are there too.

    Raises:
        ConfigurationError: something in the models is wrong.
    """
    return ModelRegistry(
        dirs=settings.model_config_dirs,
        classes=classes,
        built_in=built_in,
        features=load_providers(settings.features),
        search_language=settings.search_language,
    )


def _load(name: str) -> FeatureProvider:
    module, _, attribute = name.partition(":")
    try:
        found: Any = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(
            f"The setting features names {name!r}, and it cannot be imported ({type(error).__name__}). Write "
            "package.module:Class."
        ) from error
    made = found() if isinstance(found, type) else found
    if not isinstance(made, FeatureProvider):
        raise ConfigurationError(
            f"The setting features names {name!r}, which is no FeatureProvider: derive it from timber.FeatureProvider."
        )
    return made


def _in_order(providers: Sequence[FeatureProvider]) -> tuple[FeatureProvider, ...]:
    by_name = {provider.name: provider for provider in providers}
    if len(by_name) < len(providers):
        names = [provider.name for provider in providers]
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigurationError(f"There are two providers of the feature {twice!r}.")
    # Given order where nothing is said, so that a run is like the last one.
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for provider in providers:
        sorter.add(provider.name, *(name for name in sorted(provider.after) if name in by_name))
        if provider.last:
            sorter.add(
                provider.name,
                *(name for name in by_name if not _follows(name, provider.name, by_name)),
            )
    try:
        return tuple(by_name[name] for name in sorter.static_order())
    except CycleError as error:
        circle = " after ".join(error.args[1])
        raise ConfigurationError(
            f"The features cannot be put in an order: {circle}. Change `after` of one of them."
        ) from error


def _follows(name: str, first: str, providers: Mapping[str, FeatureProvider]) -> bool:
    """Whether a feature is, or asks to come after, another one, be it through others."""
    seen, open_ = set(), [name]
    while open_:
        looked_at = open_.pop()
        if looked_at == first:
            return True
        if looked_at in providers and looked_at not in seen:
            seen.add(looked_at)
            open_ += providers[looked_at].after
    return False
