"""The models of one Timber: read, checked, and built on a metadata of their own."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import orm

from timber.errors import ConfigurationError
from timber.models.assemble import Assembly, assemble
from timber.models.column_types import nearest
from timber.models.dtos import create_dto, read_dto, update_dto
from timber.models.factory import (
    build_class,
    build_table,
    create_extensions,
    new_metadata,
)
from timber.models.loader import Declared, files_in, load_files, raise_together
from timber.models.mixins import BUILT_IN_MIXINS, Mixin

if TYPE_CHECKING:
    from collections.abc import Iterable

    import sqlalchemy as sa

    from timber.dto import DTO, InputDTO
    from timber.models.config import ModelConfig


def built_in_files() -> tuple[Path, ...]:
    """The model files of the built-in services, which stand beside them."""
    return tuple(files_in(Path(__file__).parent.parent / "services"))


class ModelRegistry:
    """The models of one Timber. Everything in it is built anew, so that two registries share nothing.

    Args:
        files: YAML files of models.
        dirs: folders whose YAML files are read.
        models: configurations built in Python.
        classes: mapped classes of a declarative base.
        mixins: groups of columns beside the built-in ones.
        built_in: whether the models of the built-in services are there too.
        search_language: the text search configuration of models that name none.

    Raises:
        ConfigurationError: something in the models is wrong; all of it is in the one error, with file, line and column.
    """

    def __init__(
        self,
        *,
        files: Iterable[str | Path] = (),
        dirs: Iterable[str | Path] = (),
        models: Iterable[ModelConfig] = (),
        classes: Iterable[type[Any]] = (),
        mixins: Iterable[Mixin] = (),
        built_in: bool = True,
        search_language: str = "simple",
    ) -> None:
        paths = [Path(file) for file in files]
        for directory in dirs:
            paths += files_in(Path(directory))
        found = load_files(paths, built_in=built_in_files() if built_in else ())
        found.models += [Declared(config) for config in models]
        assembly = assemble(
            found, (*BUILT_IN_MIXINS, *mixins), search_language=search_language
        )
        raise_together([*found.errors, *assembly.errors])
        self._configs = {name: model.finished() for name, model in assembly.models.items()}
        self._aliases = dict(assembly.aliases)
        self.metadata = new_metadata()
        self._mappers = orm.registry(metadata=self.metadata)
        self._classes = self._build()
        self._dtos: dict[tuple[str, str], type[Any]] = {}

    def _build(self) -> dict[str, type[Any]]:
        classes = {}
        for name, config in self._configs.items():
            table = build_table(config, self.metadata, self._table_column)
            classes[name] = build_class(config, table)
        create_extensions(self.metadata)
        for cls in classes.values():
            self._mappers.map_imperatively(cls, cls.__table__)
        return classes

    def _table_column(self, reference: str) -> str:
        target, _, column = reference.partition(".")
        name = self._aliases.get(target, target)
        return f"{self._configs[name].table}.{column}"

    def _name(self, name: str) -> str:
        name = self._aliases.get(name, name)
        if name not in self._configs:
            hint = nearest(name, [*self._configs, *self._aliases])
            raise ConfigurationError(f"there is no model {name!r}{hint}")
        return name

    def list_models(self) -> list[str]:
        """The names of all models."""
        return sorted(self._configs)

    def get_model(self, name: str) -> type[Any]:
        """The mapped class of a model.

        Raises:
            ConfigurationError: there is no such model.
        """
        return self._classes[self._name(name)]

    def model_config(self, name: str) -> ModelConfig:
        """The complete configuration of a model.

        Raises:
            ConfigurationError: there is no such model.
        """
        return self._configs[self._name(name)]

    def table(self, name: str) -> sa.Table:
        """The table of a model.

        Raises:
            ConfigurationError: there is no such model.
        """
        table: sa.Table = self.get_model(name).__table__
        return table

    def create_dto(self, name: str) -> type[InputDTO]:
        """The generated input of an insert, ``NameCreate``."""
        return self._dto(name, "Create")

    def update_dto(self, name: str) -> type[InputDTO]:
        """The generated input of an update, ``NameUpdate``: every field may be left out."""
        return self._dto(name, "Update")

    def read_dto(self, name: str) -> type[DTO]:
        """The generated picture of a row, ``NameRead``."""
        return self._dto(name, "Read")

    def _dto(self, name: str, kind: str) -> type[Any]:
        name = self._name(name)
        if (name, kind) not in self._dtos:
            make = {"Create": create_dto, "Update": update_dto, "Read": read_dto}[kind]
            self._dtos[name, kind] = make(self._configs[name])
        return self._dtos[name, kind]
