"""The providers that the library brings along, made of settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from timber.features import audit, encryption
from timber.features.embedding import choosing as embedding
from timber.features.providers import Features, load_providers
from timber.features.validation import ValidationProvider

if TYPE_CHECKING:
    from collections.abc import Iterable

    from timber.features.feature import FeatureProvider
    from timber.settings import TimberSettings


def features_of(settings: TimberSettings, given: Iterable[FeatureProvider] = ()) -> Features:
    """What a Timber with these settings provides.

    Args:
        given: providers made in Python; one of a built-in feature's name takes the place of that made of settings.

    Raises:
        ConfigurationError: a setting does not fit, or the orders of features contradict one another.
    """
    chosen = [*given, *load_providers(settings.features)]
    names = {provider.name for provider in chosen}
    return Features([*(made for made in _of_settings(settings) if made.name not in names), *chosen])


def features_without_settings() -> Features:
    """What needs no setting: the features of a repository that was given none."""
    return Features((ValidationProvider(),))


def _of_settings(settings: TimberSettings) -> Iterable[FeatureProvider]:
    yield ValidationProvider()
    for feature in (audit, encryption, embedding):
        if (made := feature.provider_of_settings(settings)) is not None:
            yield made
