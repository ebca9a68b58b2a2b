"""Complete models out of what was declared: keys, mixins and extensions put in, duplicates found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from timber.models.column_types import SEARCH_VECTOR, ColumnType, nearest
from timber.models.columns import ColumnConfig, ColumnDefault
from timber.models.config import FeaturesConfig, IndexConfig, ModelConfig
from timber.models.feature_columns import Needed, needed_columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from timber.errors import ConfigurationError
    from timber.models.feature_columns import Shaper
    from timber.models.loader import Declarations, Declared
    from timber.models.mixins import Mixin


_KEY = ColumnConfig(
    name="id",
    type=ColumnType("UUID"),
    nullable=False,
    primary_key=True,
    default=ColumnDefault("uuid7"),
    comment="The key of the row.",
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a part of a model was declared."""

    declared: Declared
    location: tuple[str | int, ...]

    def error(self, message: str, *below: str | int) -> ConfigurationError:
        """An error there."""
        return self.declared.error(message, *self.location, *below)


@dataclass(slots=True)
class Assembled:
    """A complete model under construction, with the place of each of its parts."""

    declared: Declared
    columns: dict[str, ColumnConfig] = field(default_factory=dict)
    places: dict[tuple[str, str | int], Place] = field(default_factory=dict)
    relationships: list[Any] = field(default_factory=list)
    indexes: list[IndexConfig] = field(default_factory=list)
    constraints: list[Any] = field(default_factory=list)
    mixins: list[str] = field(default_factory=list)
    features: FeaturesConfig = field(default_factory=FeaturesConfig)
    owner: str | None = None
    gaps: set[str] = field(default_factory=set)

    @property
    def name(self) -> str:
        """The model's name."""
        return self.declared.config.name

    def place(self, part: str, which: str | int) -> Place:
        """Where a part was declared; the model itself for what the library added."""
        return self.places.get((part, which), Place(self.declared, ()))

    def finished(self) -> ModelConfig:
        """The complete configuration."""
        return self.declared.config.model_copy(
            update={
                "columns": tuple(self.columns.values()),
                "relationships": tuple(self.relationships),
                "indexes": tuple(self.indexes),
                "constraints": tuple(self.constraints),
                "mixins": tuple(self.mixins),
                "features": self.features,
                "owner": self.owner,
            }
        )


@dataclass(slots=True)
class Assembly:
    """The complete models of one registry, further names of some of them, and what was wrong."""

    models: dict[str, Assembled] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    errors: list[ConfigurationError] = field(default_factory=list)


def assemble(
    found: Declarations,
    mixins: Iterable[Mixin],
    shapers: Iterable[Shaper] = (),
    *,
    search_language: str = "simple",
) -> Assembly:
    """Put mixins and extensions into the models they belong to, and the columns that their features need."""
    assembly = Assembly()
    known_mixins = {mixin.name: mixin for mixin in mixins}
    extensions = [declared for declared in found.models if declared.config.extends is not None]
    for declared in found.models:
        if declared.config.extends is None:
            _begin(assembly, declared)
    for declared, base in _with_bases(assembly, extensions, found.broken):
        _add(assembly, base, declared, known_mixins)
    known_shapers = {shaper.name: shaper for shaper in shapers}
    for model in assembly.models.values():
        _complete(assembly, model, search_language)
        _shape(assembly, model, known_shapers)
    return assembly


def _begin(assembly: Assembly, declared: Declared) -> None:
    name = declared.config.name
    first = assembly.models.get(name)
    if first is None:
        assembly.models[name] = Assembled(declared)
    elif first.declared.built_in:
        message = f"{name} is a built-in model; `extends: {name}` adds columns to it"
        assembly.errors.append(declared.error(message, "name"))
    else:
        message = f"the model {name} is declared twice{_first(declared, first.declared)}"
        assembly.errors.append(declared.error(message, "name"))


def _first(second: Declared, first: Declared) -> str:
    line, _ = first.source.position(first.location, key=False)
    if line is None:
        return ""
    here = first.source is second.source
    return f", first on line {line}" + ("" if here else f" of {first.source.file}")


def _with_bases(
    assembly: Assembly, extensions: list[Declared], broken: set[str]
) -> list[tuple[Declared, Assembled]]:
    """Each part of a model, the model's own first, with the model it goes into."""
    pairs = [(model.declared, model) for model in assembly.models.values()]
    targets: dict[str, str] = {}
    for declared in extensions:
        config = declared.config
        if config.name == config.extends:
            continue
        if config.name in assembly.models or config.name in targets:
            message = f"the model {config.name} is declared twice"
            assembly.errors.append(declared.error(message, "name"))
        else:
            targets[config.name] = config.extends or ""
    for declared in extensions:
        seen = [declared.config.name] if declared.config.name != declared.config.extends else []
        name = declared.config.extends or ""
        while name not in assembly.models and name in targets and name not in seen:
            seen.append(name)
            name = targets[name]
        if name in assembly.models:
            pairs.append((declared, assembly.models[name]))
            if declared.config.name != name:
                assembly.aliases[declared.config.name] = name
        elif name in seen:
            circle = " -> ".join([*seen[seen.index(name) :], name])
            message = f"the models extend one another in a circle: {circle}"
            assembly.errors.append(declared.error(message, "extends"))
        elif name not in broken:
            hint = nearest(name, [*assembly.models, *targets])
            message = f"there is no model {name!r} to extend{hint}"
            assembly.errors.append(declared.error(message, "extends"))
    return pairs


def _add(
    assembly: Assembly, model: Assembled, declared: Declared, known: Mapping[str, Mixin]
) -> None:
    config = declared.config
    if model.declared.mapped is not None and declared is not model.declared:
        message = f"{config.extends} is a mapped class: what is to be added belongs there"
        assembly.errors.append(declared.error(message, "extends"))
        return
    model.gaps |= declared.gaps
    for position, column in enumerate(config.columns):
        _add_column(assembly, model, column, Place(declared, ("columns", position)))
    _add_mixins(assembly, model, declared, known)
    if config.owner is not None:
        _set_owner(assembly, model, config.owner, Place(declared, ("owner",)))
    for part in ("relationships", "indexes", "constraints"):
        items = getattr(model, part)
        for position, item in enumerate(getattr(config, part)):
            model.places[part, len(items)] = Place(declared, (part, position))
            items.append(item)
    tuned = _tune_cache(model, declared)
    for feature in config.features.declared:
        if feature == tuned:
            continue
        custom = feature in config.features.custom
        place = Place(declared, ("features", *(["custom"] if custom else []), feature))
        if feature in model.features.declared:
            message = f"{model.name} declares {feature} already"
            assembly.errors.append(place.error(message))
        elif custom:
            model.places["features", feature] = place
            both = {**model.features.custom, feature: config.features.custom[feature]}
            model.features = model.features.model_copy(update={"custom": both})
        else:
            model.places["features", feature] = place
            wanted = getattr(config.features, feature)
            model.features = model.features.model_copy(update={feature: wanted})


def _tune_cache(model: Assembled, declared: Declared) -> str | None:
    """An extension may say how a model that is cached is to be cached; what it leaves out stays."""
    wanted, given = declared.config.features.cache, model.features.cache
    place = model.places.get(("features", "cache"))
    said = "cache" in declared.config.features.model_fields_set
    if not said or given is None or place is None or place.declared is not model.declared:
        return None
    if wanted is not None:
        said_of_it = {name: getattr(wanted, name) for name in wanted.model_fields_set}
        wanted = given.model_copy(update=said_of_it)
    model.features = model.features.model_copy(update={"cache": wanted})
    model.places["features", "cache"] = Place(declared, ("features", "cache"))
    return "cache"


def _add_mixins(
    assembly: Assembly, model: Assembled, declared: Declared, known: Mapping[str, Mixin]
) -> None:
    for position, name in enumerate(declared.config.mixins):
        place = Place(declared, ("mixins", position))
        mixin = known.get(name)
        if mixin is None:
            message = f"unknown mixin {name!r}{nearest(name, known)}"
            assembly.errors.append(place.error(message))
        elif name in model.mixins:
            assembly.errors.append(place.error(f"the mixin {name} is there twice"))
        else:
            model.mixins.append(name)
            for column in mixin.columns:
                _add_column(assembly, model, column, place)
            if mixin.owner is not None:
                _set_owner(assembly, model, mixin.owner, place)


def _add_column(assembly: Assembly, model: Assembled, column: ColumnConfig, place: Place) -> None:
    if column.name not in model.columns:
        model.columns[column.name] = column
        model.places["columns", column.name] = place
        return
    other = model.places["columns", column.name]
    if other.location[0] == "mixins" or place.location[0] == "mixins":
        mixin = (other if other.location[0] == "mixins" else place).location[1]
        source = other if other.location[0] == "mixins" else place
        name = source.declared.config.mixins[int(mixin)]
        message = f"the column {column.name} is there twice: the mixin {name} has it too"
    elif other.declared is not place.declared:
        message = f"{model.name} has a column {column.name} already"
    else:
        message = f"the column {column.name} is there twice"
    below = ("name",) if place.location[0] == "columns" else ()
    assembly.errors.append(place.error(message, *below))


def _set_owner(assembly: Assembly, model: Assembled, owner: str, place: Place) -> None:
    if model.owner is not None and model.owner != owner:
        message = f"{model.name} has an owner column already: {model.owner}"
        assembly.errors.append(place.error(message))
        return
    model.owner = owner
    model.places["owner", ""] = place


def _complete(assembly: Assembly, model: Assembled, search_language: str) -> None:
    keys = [column for column in model.columns.values() if column.primary_key]
    if len(keys) > 1:
        place = model.place("columns", keys[1].name)
        message = f"{model.name} has two primary keys, {keys[0].name} and {keys[1].name}; make one of them unique instead"
        assembly.errors.append(place.error(message, "primary_key"))
    elif not keys and "id" not in model.gaps:
        if "id" in model.columns:
            place = model.place("columns", "id")
            message = "a column called id is the primary key; say `primary_key: true` or rename it"
            assembly.errors.append(place.error(message))
        else:
            model.columns = {"id": _KEY, **model.columns}
    search = model.features.search
    if search is not None:
        language = search.language or search_language
        model.features = model.features.model_copy(
            update={"search": search.model_copy(update={"language": language})}
        )
    for needed in list(needed_columns(model.features, model.columns, model.owner)):
        _add_hidden(assembly, model, needed)


def _shape(assembly: Assembly, model: Assembled, shapers: Mapping[str, Shaper]) -> None:
    """Add the columns that features of the application's own need, and find those that nobody brings along."""
    for name in model.features.custom:
        shaper = shapers.get(name)
        if shaper is None:
            place = model.place("features", name)
            message = f"nobody provides the feature {name!r}{nearest(name, shapers)}: name its provider in the setting `features`"
            assembly.errors.append(place.error(message))
            continue
        for column in shaper.on_model(model.finished()):
            hidden = column.model_copy(update={"hidden": True})
            _add_hidden(assembly, model, Needed(name, hidden))


def _add_hidden(assembly: Assembly, model: Assembled, needed: Needed) -> None:
    """A column that a feature needs; a mapped class must have brought it along."""
    feature, column = needed.feature, needed.column
    place = model.place("features", feature)
    if model.declared.mapped is None:
        _add_column(assembly, model, column, place)
        if needed.index is not None:
            model.indexes.append(needed.index)
        return
    theirs = model.columns.get(column.name)
    if theirs is None or theirs.type != column.type:
        kind = "TSVECTOR" if column.type.kind == SEARCH_VECTOR else column.type
        message = f"{feature} needs a column {column.name} of type {kind} in the table of the class"
        assembly.errors.append(place.error(message))
    else:
        model.columns[column.name] = theirs.model_copy(update={"hidden": True})
