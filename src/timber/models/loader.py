"""Model files into model configurations, strictly: every mistake with its file, line and column, all of them at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydantic

from timber.errors import ConfigurationError
from timber.models.config import AssociationConfig, ModelConfig, ModelFile
from timber.models.messages import explain
from timber.models.yaml_source import Location, Source, read_document

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import sqlalchemy as sa
    from pydantic_core import ErrorDetails

_LISTS = frozenset({"columns", "relationships", "indexes", "constraints"})
_ESSENTIAL = frozenset({"name", "table", "extends", "mixins"})


@dataclass(frozen=True, slots=True)
class Declared:
    """A model as it was declared, and where.

    ``mapped`` is the user's own class where it was not built here. ``gaps`` are the names of parts that had mistakes of their own and were left out so that the rest could be checked.
    """

    config: ModelConfig
    source: Source = field(default_factory=Source)
    location: Location = ()
    gaps: frozenset[str] = frozenset()
    built_in: bool = False
    mapped: type[Any] | None = None

    def error(self, message: str, *location: str | int, key: bool = False) -> ConfigurationError:
        """An error at a place inside the model."""
        if self.source.file is None:
            message = f"{self.config.name}: {message}"
        return self.source.error((*self.location, *location), message, key=key)


@dataclass(frozen=True, slots=True)
class DeclaredAssociation:
    """An association table as it was declared, and where."""

    config: AssociationConfig
    source: Source = field(default_factory=Source)
    location: Location = ()
    table: sa.Table | None = None

    def error(self, message: str, *location: str | int) -> ConfigurationError:
        """An error at a place inside the association table."""
        return self.source.error((*self.location, *location), message)


@dataclass(slots=True)
class Declarations:
    """Everything declared for one registry, the mistakes found so far, and the names of models that had some."""

    models: list[Declared] = field(default_factory=list)
    associations: list[DeclaredAssociation] = field(default_factory=list)
    errors: list[ConfigurationError] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)


def raise_together(errors: Sequence[ConfigurationError]) -> None:
    """Raise all the errors as one, in the order of their places; nothing if there are none."""
    if not errors:
        return
    unique = {str(error): error for error in errors}
    ordered = sorted(unique.values(), key=lambda e: (e.file or "", e.line or 0, e.column or 0))
    if len(ordered) == 1:
        raise ordered[0]
    first = ordered[0]
    raise ConfigurationError(file=first.file, line=first.line, column=first.column, errors=ordered)


def files_in(directory: Path) -> list[Path]:
    """The model files of a folder, by name.

    Raises:
        ConfigurationError: there is no such folder.
    """
    try:
        is_there = directory.is_dir()
    except (OSError, ValueError):  # no folder can have such a name
        is_there = False
    if not is_there:
        raise ConfigurationError("there is no such folder of models", file=str(directory))
    return sorted(p for p in directory.iterdir() if p.suffix in (".yaml", ".yml") and p.is_file())


def load_files(paths: Iterable[Path], *, built_in: Iterable[Path] = ()) -> Declarations:
    """Read model files, and those they depend on, as far as they can be understood.

    Nothing is raised for a mistake in a file: the errors are in what is returned, for one report at the end.
    """
    found = Declarations()
    loading = _Loading(found, {path.resolve() for path in built_in})
    for path in (*built_in, *paths):
        loading.load(path)
    return found


class _Loading:
    def __init__(self, found: Declarations, built_in: set[Path]) -> None:
        self._found = found
        self._built_in = built_in
        self._done: set[Path] = set()
        self._chain: list[Path] = []

    def load(self, path: Path) -> None:
        resolved = path.resolve()
        if resolved in self._done:
            return
        self._done.add(resolved)
        document = read_document(path)
        self._found.errors += document.errors
        if document.data is None and document.errors:
            return
        model_file = self._understand(document.data, document.source, resolved)
        if model_file is None:
            return
        self._chain.append(resolved)
        for position, name in enumerate(model_file.depends_on):
            self._depend(path, name, document.source, ("depends_on", position))
        self._chain.pop()

    def _depend(self, path: Path, name: str, source: Source, location: Location) -> None:
        other = path.parent / name
        try:
            resolved = other.resolve()
            is_there = resolved.is_file()
        except (OSError, ValueError):  # no file can have such a name
            resolved, is_there = other, False
        if resolved in self._chain:
            chain = [p.name for p in self._chain[self._chain.index(resolved) :]] + [other.name]
            message = f"the files depend on one another in a circle: {' -> '.join(chain)}"
            self._found.errors.append(source.error(location, message))
        elif not is_there:
            message = f"there is no model file {name!r} beside this one"
            self._found.errors.append(source.error(location, message))
        else:
            self.load(other)

    def _understand(self, data: Any, source: Source, resolved: Path) -> ModelFile | None:
        try:
            model_file = ModelFile.model_validate(data)
            kept = {position: position for position in range(len(model_file.models))}
            gaps: dict[int, frozenset[str]] = {}
        except pydantic.ValidationError as invalid:
            problems = _without_echoes(invalid.errors(include_url=False))
            for problem in problems:
                message = explain(problem, ModelFile)
                key = problem["type"] == "extra_forbidden"
                self._found.errors.append(source.error(problem["loc"], message, key=key))
            rest = _salvage(data, [problem["loc"] for problem in problems])
            if rest is None:
                return None
            model_file, kept, gaps = rest
            self._found.broken |= _names(data) - {m.name for m in model_file.models}
        built_in = resolved in self._built_in
        for now, before in kept.items():
            self._found.models.append(
                Declared(
                    model_file.models[now],
                    source,
                    ("models", before),
                    gaps.get(before, frozenset()),
                    built_in,
                )
            )
        for position, association in enumerate(model_file.association_tables):
            self._found.associations.append(
                DeclaredAssociation(association, source, ("association_tables", position))
            )
        return model_file


def _without_echoes(problems: list[ErrorDetails]) -> list[ErrorDetails]:
    """The problems without a list's complaint to be too short because of its items' own."""
    return [
        problem
        for problem in problems
        if problem["type"] != "too_short"
        or not any(
            other is not problem and other["loc"][: len(problem["loc"])] == problem["loc"]
            for other in problems
        )
    ]


def _names(data: Any) -> set[str]:
    """The names that models of a file seem to have, for not calling them unknown as well."""
    models = data.get("models") if isinstance(data, dict) else None
    entries = models if isinstance(models, list) else []
    return {
        word
        for entry in entries
        if isinstance(entry, dict)
        for word in (entry.get("name"), entry.get("table"))
        if isinstance(word, str)
    }


def _salvage(
    data: Any, locations: list[Location]
) -> tuple[ModelFile, dict[int, int], dict[int, frozenset[str]]] | None:
    """What is left of a file without its mistakes, so that the rest can be held against other models.

    Returns the file, the original position of each model kept, and the names left out of each model.
    """
    if not isinstance(data, dict) or not isinstance(data.get("models"), list):
        return None
    drop: set[int] = set()
    parts: dict[int, set[Location]] = {}
    for location in locations:
        if location[0] != "models" or len(location) < 2:
            continue
        position = int(location[1])
        if len(location) < 3 or location[2] in _ESSENTIAL:
            drop.add(position)
        elif location[2] in _LISTS and len(location) > 3:
            parts.setdefault(position, set()).add(location[2:4])
        else:
            parts.setdefault(position, set()).add(location[2:3])
    kept: dict[int, int] = {}
    models: list[Any] = []
    gaps: dict[int, frozenset[str]] = {}
    for position, entry in enumerate(data["models"]):
        if position in drop:
            continue
        remaining, gaps[position] = _without(entry, parts.get(position, set()))
        try:
            ModelConfig.model_validate(remaining)
        except pydantic.ValidationError:
            continue
        kept[len(models)] = position
        models.append(remaining)
    depends_on = data.get("depends_on")
    if not isinstance(depends_on, list):
        depends_on = []
    depends_on = [name if isinstance(name, str) else "" for name in depends_on]
    rest = {"version": 1, "models": models, "depends_on": depends_on}
    return ModelFile.model_validate(rest), kept, gaps


def _without(entry: dict[str, Any], parts: set[Location]) -> tuple[dict[str, Any], frozenset[str]]:
    gaps: set[str] = set()
    remaining: dict[str, Any] = {}
    for key, value in entry.items():
        if (key,) in parts:
            continue
        if key in _LISTS and isinstance(value, list):
            remaining[key] = [v for i, v in enumerate(value) if (key, i) not in parts]
            for i, item in enumerate(value):
                name = item.get("name") if isinstance(item, dict) else None
                if (key, i) in parts and isinstance(name, str):
                    gaps.add(name)
        else:
            remaining[key] = value
    return remaining, frozenset(gaps)
