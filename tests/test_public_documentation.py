"""Everything that users can call says what it does."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from importlib import import_module
from itertools import pairwise
from types import ModuleType
from typing import Any

import pytest

from timber.settings import TimberSettings

MODULES = [
    "timber",
    "timber.testing",
    "timber.cache",
    "timber.cache.coherence.cache",
    "timber.cache.memory",
    "timber.cache.redis",
    "timber.database.migrations.commands",
    "timber.features.audit",
    "timber.features.encryption",
    "timber.privacy.privacy",
    "timber.integrations.aiohttp",
    "timber.integrations.fastapi",
    "timber.integrations.opentelemetry",
    "timber.integrations.prometheus",
]


def public(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """The classes and functions that a module offers."""
    names = getattr(module, "__all__", None) or [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]
    for name in names:
        value = getattr(module, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            yield name, value


def undocumented(name: str, value: Any) -> Iterator[str]:
    """What has no docstring: the thing itself, and the methods and properties of a class that it does not inherit from
    elsewhere."""
    if not (value.__doc__ or "").strip():
        yield name
    if not inspect.isclass(value):
        return
    for kind in value.__mro__:
        if not kind.__module__.startswith("timber"):
            continue
        for member, found in vars(kind).items():
            function = (
                found.fget if isinstance(found, property) else getattr(found, "__func__", found)
            )
            if member.startswith("_") or not inspect.isfunction(function):
                continue
            if not inspect.getdoc(getattr(value, member)):
                yield f"{name}.{member}"


@pytest.mark.parametrize("module", MODULES)
def test_all_of_the_public_api_is_documented(module: str) -> None:
    missing = [
        which
        for name, value in public(import_module(module))
        for which in undocumented(name, value)
    ]
    assert not missing


def test_every_setting_says_what_it_is() -> None:
    [kind] = ast.parse(inspect.getsource(TimberSettings)).body
    assert isinstance(kind, ast.ClassDef)
    silent = {
        line.target.id
        for line, following in pairwise(kind.body)
        if isinstance(line, ast.AnnAssign)
        and isinstance(line.target, ast.Name)
        and not isinstance(following, ast.Expr)
    }
    assert silent == {"model_config"}


def test_a_thing_without_a_docstring_is_found() -> None:
    class Bare:
        def spoken(self) -> None:
            """It says."""

        def silent(self) -> None: ...

    Bare.__module__ = "timber.somewhere"
    assert list(undocumented("Bare", Bare)) == ["Bare", "Bare.silent"]
