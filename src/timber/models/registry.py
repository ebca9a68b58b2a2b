"""The models of one Timber: read, checked, and built on a metadata of their own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import orm

from timber.errors import ConfigurationError
from timber.models.assemble import assemble
from timber.models.audit_tables import audit_functions, audit_triggers
from timber.models.column_types import nearest
from timber.models.dto_check import check_dto
from timber.models.dtos import create_dto, read_dto, update_dto
from timber.models.factory import (
    attach_feed,
    build_association,
    build_table,
    create_extensions,
    new_metadata,
)
from timber.models.feature_configs import check_language
from timber.models.feed_ddl import SQLTrigger, feed_function, feed_trigger
from timber.models.fingerprint import fingerprint, written_for
from timber.models.library_tables import add_library_tables
from timber.models.loader import Declarations, Declared, files_in, load_files, raise_together
from timber.models.mapped import declared_class
from timber.models.mapping import build_class, map_classes, table_of
from timber.models.mixins import BUILT_IN_MIXINS, Mixin
from timber.models.references import check_references
from timber.models.relations import ModelNames, Relation, relation_of
from timber.models.search_ddl import SQLFunction, search_function

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

    import sqlalchemy as sa

    from timber.dto import DTO, InputDTO
    from timber.models.config import ModelConfig
    from timber.models.feature_columns import Shaper


def built_in_files() -> tuple[Path, ...]:
    """The model files of the built-in services, which stand beside them."""
    return tuple(files_in(Path(__file__).parent.parent / "services"))


class ModelRegistry:
    """The models of one Timber. Everything in it is built anew, so that two registries share nothing.

    Args:
        files: YAML files of models; those they depend on are read too.
        dirs: folders whose YAML files are read.
        models: configurations built in Python.
        classes: mapped classes of a declarative base.
        mixins: groups of columns beside the built-in ones.
        features: providers of features of the application's own, which may add hidden columns.
        built_in: whether the models of the built-in services are there too.
        search_language: the text search configuration of models that name none.

    Attributes:
        metadata: the tables of all models, with stable names of constraints.

    Raises:
        ConfigurationError: something in the models is wrong; all of it is in the one error, with file, line and column.
    """

    metadata: sa.MetaData

    def __init__(
        self,
        *,
        files: Iterable[str | Path] = (),
        dirs: Iterable[str | Path] = (),
        models: Iterable[ModelConfig] = (),
        classes: Iterable[type[Any]] = (),
        mixins: Iterable[Mixin] = (),
        features: Iterable[Shaper] = (),
        built_in: bool = True,
        search_language: str = "simple",
    ) -> None:
        check_language(search_language)
        found = _declarations(files, dirs, built_in=built_in)
        found.models += [Declared(config) for config in models]
        for cls in classes:
            _declare_class(found, cls)
        every_mixin = _mixins(found, mixins)
        assembly = assemble(found, every_mixin, features, search_language=search_language)
        raise_together([*found.errors, *assembly.errors, *check_references(assembly, found)])
        self._configs = {name: model.finished() for name, model in assembly.models.items()}
        self._names = ModelNames(self._configs, assembly.aliases)
        self._associations = {a.config.name: a for a in found.associations}
        self._relations = {name: self._relations_of(name) for name in self._configs}
        self._dtos: dict[tuple[str, str], type[Any]] = {}
        self._classes: dict[str, type[Any]] = {}
        self._own = [name for name, m in assembly.models.items() if m.declared.mapped is None]
        self.metadata = new_metadata()
        self._build({name: model.declared.mapped for name, model in assembly.models.items()})
        add_library_tables(self.metadata, self._configs.values())
        create_extensions(self.metadata)

    def _relations_of(self, name: str) -> dict[str, Relation]:
        config = self._configs[name]
        associations = [association.config for association in self._associations.values()]
        return {
            relationship.name: relation_of(config, relationship, self._names, associations)
            for relationship in config.relationships
        }

    def _build(self, mapped: dict[str, type[Any] | None]) -> None:
        own: dict[str, type[Any]] = {}
        for name, config in self._configs.items():
            cls = mapped[name]
            if cls is None:
                table = build_table(config, self.metadata, self._table_column)
                cls = own[name] = build_class(config, table)
            else:
                # The class keeps its own table; this metadata needs one too, to be created and migrated with the rest.
                cls.__table__ = table_of(cls)
                attach_feed(config, cls.__table__.to_metadata(self.metadata))
                cls.__model_config__ = config
            self._classes[name] = cls
        for association in self._associations.values():
            if association.table is not None:
                association.table.to_metadata(self.metadata)
            else:
                self._build_association(association.config.name)
        mappers = orm.registry(metadata=self.metadata)
        map_classes(mappers, own, self._configs, self._classes, self.relations)
        mappers.configure()

    def _build_association(self, name: str) -> None:
        config = self._associations[name].config
        ends = [self._configs[self._name(word)].table for word in (config.left, config.right)]
        left, right = (self.metadata.tables[table] for table in ends)
        build_association(config, self.metadata, left, right)

    def _table_column(self, reference: str) -> str:
        target, _, column = reference.partition(".")
        return f"{self._configs[self._name(target)].table}.{column}"

    def _name(self, word: str) -> str:
        config = self._names.find(word)
        if config is None:
            hint = self._names.hint(word) or (
                "; models come from the folders in model_config_dirs (TIMBER_MODEL_CONFIG_DIRS) and from classes"
            )
            raise ConfigurationError(f"there is no model {word!r}{hint}")
        return config.name

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
        return table_of(self.get_model(name))

    def association_table(self, name: str) -> sa.Table:
        """The table behind a many_to_many, by its name.

        Raises:
            ConfigurationError: there is no such association table.
        """
        if name not in self._associations:
            hint = nearest(name, self._associations)
            raise ConfigurationError(f"there is no association table {name!r}{hint}")
        return self.metadata.tables[name]

    def relations(self, name: str) -> tuple[Relation, ...]:
        """The relationships of a model, worked out as columns.

        Raises:
            ConfigurationError: there is no such model.
        """
        return tuple(self._relations[self._name(name)].values())

    def relation(self, name: str, relationship: str) -> Relation | None:
        """One relationship of a model, worked out as columns; None if it has no such one.

        Raises:
            ConfigurationError: there is no such model.
        """
        return self._relations[self._name(name)].get(relationship)

    def functions(self) -> tuple[SQLFunction, ...]:
        """The SQL functions that the tables need; each is created with its table."""
        made = [feed_function(config) for config in self._configs.values()]
        # The search column of a mapped class is computed as the class says.
        made += [search_function(self._configs[name]) for name in self._own]
        own = tuple(function for function in made if function is not None)
        return (*own, *audit_functions(self.metadata))

    def triggers(self) -> tuple[SQLTrigger, ...]:
        """The triggers of the tables; each is created after its table, and goes with it."""
        made = (feed_trigger(config) for config in self._configs.values())
        own = tuple(trigger for trigger in made if trigger is not None)
        return (*own, *audit_triggers(self.metadata))

    def fingerprint(self, name: str) -> str:
        """A digest of a model's columns.

        Raises:
            ConfigurationError: there is no such model.
        """
        return fingerprint(self.model_config(name))

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

    def check_module(self, module: ModuleType) -> None:
        """Hold a module of DTOs that was written from models against the models as they are now.

        Raises:
            ConfigurationError: it was written from other ones; the error names every DTO that does not fit.
        """
        errors = []
        for dto in vars(module).values():
            written = written_for(dto) if isinstance(dto, type) else None
            if written is not None and dto.__module__ == module.__name__:
                try:
                    check_dto(self.model_config(written[0]), dto, purpose="any")
                except ConfigurationError as error:
                    errors.append(error)
        raise_together(errors)


def _declarations(
    files: Iterable[str | Path], dirs: Iterable[str | Path], *, built_in: bool
) -> Declarations:
    paths = [Path(file) for file in files]
    errors = []
    for directory in dirs:
        try:
            paths += files_in(Path(directory))
        except ConfigurationError as error:
            errors.append(error)
    found = load_files(paths, built_in=built_in_files() if built_in else ())
    found.errors += errors
    return found


def _declare_class(found: Declarations, cls: type[Any]) -> None:
    try:
        declared, associations = declared_class(cls)
    except ConfigurationError as error:
        found.errors.append(error)
        found.broken |= {cls.__name__, str(getattr(cls, "__tablename__", ""))}
        return
    found.models.append(declared)
    known = {association.config.name for association in found.associations}
    found.associations += [a for a in associations if a.config.name not in known]


def _mixins(found: Declarations, mixins: Iterable[Mixin]) -> list[Mixin]:
    every = list(BUILT_IN_MIXINS)
    for mixin in mixins:
        if any(other.name == mixin.name for other in every):
            found.errors.append(ConfigurationError(f"there are two mixins called {mixin.name}"))
        every.append(mixin)
    return every
