"""What a model declares about its copies: which columns they hold, what its lists hang on, what a write has to clear."""

from __future__ import annotations

import re
from collections import defaultdict
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from timber.cache.keys import TagTemplate
from timber.models.column_types import SEARCH_VECTOR
from timber.models.stored import stored_type

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from timber.models.column_types import ColumnType
    from timber.models.config import ModelConfig
    from timber.models.registry import ModelRegistry

Columns = tuple[tuple[str, "ColumnType"], ...]

_FOLLOWS: Final = frozenset({"CASCADE", "SET NULL", "SET DEFAULT"})
_NOBODY: Final[Mapping[str, frozenset[str]]] = {}


class CachedModel:
    """One model.

    Args:
        config: the model; its name is the tag that everything of it hangs on.
        followers: for each of its columns the cached models whose rows PostgreSQL changes when that changes; under its key
            also those whose rows it deletes or changes with a deleted row.

    Attributes:
        columns: names and stored types of what a copy of a row holds.
        lists: the columns by which lists are cached, and the tag of each.
        tags: every tag that a change of a row clears.
        watched: the columns whose change a copy can show.
        needs: the columns of a written row by which its names are told.
    """

    def __init__(
        self, config: ModelConfig, followers: Mapping[str, frozenset[str]] = _NOBODY
    ) -> None:
        self.config = config
        self.name: str = config.name
        self.key: str = config.primary_key
        declared = config.features.cache
        self.rows: bool = declared is not None and declared.rows
        self.ttl: float = declared.ttl if declared is not None else 0.0
        kinds = {column.name: column.type.kind for column in config.columns}
        further = [TagTemplate(tag, kinds) for tag in (declared.tags if declared else ())]
        self.lists: dict[str, TagTemplate] = {
            column: _tag_of(column, further)
            or TagTemplate(f"{config.table}.{column}:{{{column}}}", kinds)
            for column in (declared.lists if declared else ())
        }
        self.tags: tuple[TagTemplate, ...] = tuple(
            {tag.text: tag for tag in (*self.lists.values(), *further)}.values()
        )
        self.tag_columns: tuple[Any, ...] = tuple(
            dict.fromkeys(name for tag in self.tags for name in tag.columns)
        )
        self.columns: Columns = tuple(
            (column.name, stored_type(config, column))
            for column in config.columns
            if _is_kept(config, column.name)
        )
        self.watched: frozenset[Any | str] = frozenset(
            [*self.tag_columns, *(name for name, _ in self.columns)]
        )
        self.needs: tuple[Any, ...] = tuple(dict.fromkeys((self.key, *self.tag_columns)))
        self._followers = followers
        self._affected: dict[frozenset[str], frozenset[str]] = {}

    def __repr__(self) -> str:
        return f"<CachedModel {self.name}>"

    @property
    def is_cached(self) -> bool:
        """Whether there are copies of its own rows; else its writes only concern those of others."""
        return self.rows or bool(self.tags)

    def shows(self, changed: Collection[str]) -> bool:
        """Whether a change of these columns is to be seen in a copy."""
        return self.is_cached and not self.watched.isdisjoint(self._all_affected(changed))

    def moves(self, changed: Collection[str]) -> bool:
        """Whether a change of these columns may take a row from one tag to another."""
        return not self._all_affected(changed).isdisjoint(self.tag_columns)

    def followers(self, changed: Collection[str]) -> list[str]:
        """The models whose rows change with these columns of a row."""
        return sorted({name for column in changed for name in self._followers.get(column, ())})

    @property
    def followed(self) -> tuple[str, ...]:
        """The columns that rows of other models follow."""
        return tuple(self._followers)

    @property
    def taken(self) -> list[str]:
        """The models whose rows go, or change, with a deleted row."""
        return self.followers((self.key,))

    def tags_of(self, *rows: Mapping[str, Any]) -> list[str]:
        """The tags of rows: of each as it was, and as it is."""
        found = [tag.of(row) for row in rows for tag in self.tags]
        return found if len(found) < 2 else list(dict.fromkeys(found))

    def fingerprint(self, columns: Columns) -> str:
        """Digits that change with the columns and the form they are stored in."""
        text = "\n".join([self.name, *(f"{name}={type_}" for name, type_ in columns)])
        return blake2b(text.encode(), digest_size=6).hexdigest()

    def _all_affected(self, changed: Collection[str]) -> frozenset[str]:
        """These columns, and the generated ones that are made of them."""
        these = frozenset(changed)
        affected = self._affected.get(these)
        if affected is None:
            affected = self._affected[these] = these | {
                column.name
                for column in self.config.columns
                if column.generated is not None
                and these & set(re.findall(r"\w+", column.generated))
            }
        return affected


def cached_models(registry: ModelRegistry) -> dict[str, CachedModel]:
    """The models whose writes concern a cache, by their names."""
    configs = {name: registry.model_config(name) for name in registry.list_models()}
    cached = {name for name, config in configs.items() if config.features.cache is not None}
    followers = _followers(registry, {config.table: config for config in configs.values()})
    found: dict[str, CachedModel] = {}
    for name, config in configs.items():
        of_cached = {
            column: reached
            for column, direct in followers[name].items()
            if (reached := frozenset(_all_of(direct, followers) & cached))
        }
        if name in cached or of_cached:
            found[name] = CachedModel(config, of_cached)
    return found


def _tag_of(column: str, tags: Iterable[TagTemplate]) -> TagTemplate | None:
    return next((tag for tag in tags if tag.columns == (column,)), None)


def _is_kept(config: ModelConfig, name: str) -> bool:
    column = config.column(name)
    if column.type.kind == SEARCH_VECTOR:
        return False
    needed = {config.primary_key, config.owner, "deleted_at" if config.soft_delete else None}
    return not column.hidden or name in needed


def _followers(
    registry: ModelRegistry, models: Mapping[str, ModelConfig]
) -> dict[str, dict[str, set[str]]]:
    """For each model and column, the models that refer to it so that they change with it; a deletion counts as its key's."""
    followers: dict[str, dict[str, set[str]]] = {
        config.name: defaultdict(set) for config in models.values()
    }
    for config in models.values():
        for key in registry.table(config.name).foreign_keys:
            target, _, column = key.target_fullname.rpartition(".")
            other = models.get(target)
            if other is None:
                continue
            if _word(key.onupdate) in _FOLLOWS:
                followers[other.name][column].add(config.name)
            if _word(key.ondelete) in _FOLLOWS:
                followers[other.name][other.primary_key].add(config.name)
    return followers


def _word(action: str | None) -> str:
    return (action or "").upper()


def _all_of(direct: Iterable[str], followers: Mapping[str, Mapping[str, set[str]]]) -> set[str]:
    """These models, and those whose rows go with theirs in turn."""
    reached: set[str] = set()
    waiting = list(direct)
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += {other for them in followers[name].values() for other in them}
    return reached
