"""Modules of DTOs that were written from models, held against the models at the start."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from timber import ConfigurationError, Timber
from timber.models import ModelRegistry, write_python_module
from timber.models.column_types import ColumnType
from timber.models.columns import ColumnConfig
from timber.models.config import ModelConfig

BOOK = ModelConfig(
    name="Book",
    table="books",
    columns=(ColumnConfig(name="title", type=ColumnType("Text"), nullable=False),),
)
LONGER_BOOK = ModelConfig(
    name="Book",
    table="books",
    columns=(*BOOK.columns, ColumnConfig(name="pages", type=ColumnType("Integer"))),
)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("written_books")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(write_python_module(ModelRegistry(models=[BOOK])), module.__dict__)
    return module


async def test_a_module_written_from_these_models_lets_timber_start(
    database_url: str, written: ModuleType
) -> None:
    registry = ModelRegistry(models=[BOOK])
    async with Timber(database_url, registry=registry, dtos=[written]) as timber:
        assert timber.service("Book")


async def test_a_module_written_from_other_models_stops_the_start(
    database_url: str, written: ModuleType
) -> None:
    registry = ModelRegistry(models=[LONGER_BOOK])
    with pytest.raises(ConfigurationError, match="run `timber schema --python` again"):
        await Timber(database_url, registry=registry, dtos=[written]).start()


async def test_a_repository_refuses_a_dto_written_from_another_model(
    database_url: str, written: ModuleType
) -> None:
    async with Timber(database_url, registry=ModelRegistry(models=[LONGER_BOOK])) as timber:
        with pytest.raises(ConfigurationError, match="run `timber schema --python` again"):
            timber.repository("Book", written.BookRead)
