"""Encryption comes last, whatever else there is: all others see values, but those that ask for ciphertext."""

from __future__ import annotations

import pytest

from tests.features.encryption.models import Keys
from timber import ConfigurationError, FeatureProvider
from timber.features.built_in import features_of
from timber.features.encryption import EncryptionProvider
from timber.features.providers import Features
from timber.settings import TimberSettings


def named(name: str, *after: str, last: bool = False) -> FeatureProvider:
    kind = type(name, (FeatureProvider,), {"name": name, "after": frozenset(after), "last": last})
    made = kind()
    assert isinstance(made, FeatureProvider)
    return made


def test_it_comes_after_all_that_do_not_ask_to_come_after_it():
    encryption = EncryptionProvider(Keys())
    masking, shipping, counting = (
        named("masking"),
        named("shipping", "encryption"),
        named("counting", "shipping"),
    )
    order = Features([encryption, counting, shipping, masking]).names
    assert order.index("masking") < order.index("encryption")
    assert order.index("encryption") < order.index("shipping") < order.index("counting")


def test_it_is_the_last_of_the_built_in_ones(monkeypatch):
    monkeypatch.setenv("TIMBER_ENCRYPTION_KEYS", "env:KEYS")
    assert features_of(TimberSettings()).names[-1] == "encryption"


def test_two_that_want_to_be_last_contradict_one_another():
    with pytest.raises(ConfigurationError, match="cannot be put in an order"):
        Features([named("a", last=True), named("b", last=True)])
