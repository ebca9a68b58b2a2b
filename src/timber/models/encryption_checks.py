"""What a model says of encryption, held against everything that PostgreSQL, or others, would need plaintext for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from timber.models.column_types import SEARCH_VECTOR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from timber.models.assemble import Assembled
    from timber.models.columns import ColumnConfig
    from timber.models.config import ModelConfig

Problem = tuple[str, tuple[str | int, ...]]
"""What is wrong, and where below the feature."""

_NOT_ENCRYPTED: Final = frozenset({"Vector", SEARCH_VECTOR})
_NOT_SEARCHABLE: Final = frozenset({"JSON", "JSONB", "Array", "Float"})
"""Kinds of columns with values that are equal in more than one form."""
_CHANGING: Final = frozenset({"cascade", "set_null", "set_default"})


def encryption_problems(model: Assembled, config: ModelConfig) -> Iterator[Problem]:
    """Everything in a model's encryption that cannot work; its columns are known to be there."""
    encryption = config.features.encryption
    assert encryption is not None
    for position, name in enumerate(encryption.columns):
        below = ("columns", position)
        column = config.column(name) if name in config.column_names else None
        if column is None:
            continue
        if column.type.kind in _NOT_ENCRYPTED or (
            column.type.item is not None and column.type.item.kind in _NOT_ENCRYPTED
        ):
            yield f"{name} is {column.type}, which cannot be encrypted", below
        elif use := _use_of_plaintext(model, config, column):
            yield f"{name} is encrypted, so PostgreSQL cannot read it, but it is {use}", below
        elif column.server_default is not None or column.identity:
            yield f"{name} is encrypted, but PostgreSQL would make its value: use `default`", below
    yield from _searchable_problems(config)
    yield from _key_problems(config)
    if encryption.per_person:
        yield from _person_problems(config)


def _searchable_problems(config: ModelConfig) -> Iterator[Problem]:
    encryption = config.features.encryption
    assert encryption is not None
    for position, name in enumerate(encryption.searchable):
        below = ("searchable", position)
        if name not in encryption.columns:
            yield f"{name} is searchable but not among the encrypted columns", below
        elif name in config.column_names and config.column(name).type.kind in _NOT_SEARCHABLE:
            yield (
                f"{name} is {config.column(name).type}, which cannot be searchable: equal values have several forms",
                below,
            )
        elif encryption.per_person:
            message = (
                f"{name} cannot be searchable with `per_person`: its digests would outlive the person's key, and guesses "
                "could be held against them"
            )
            yield message, below


def _key_problems(config: ModelConfig) -> Iterator[Problem]:
    """The row's key is part of each ciphertext, so it is known before the row is written, and stays."""
    key = config.column(config.primary_key)
    made_there = key.identity or key.generated is not None or key.server_default is not None
    if made_there and key.default is None:
        message = (
            f"PostgreSQL makes the key {key.name}, and encryption binds values to it before the row is there: have the key "
            "made here, like `{name: id, type: UUID, primary_key: true, default: uuid7}`"
        )
        yield message, ()
    if key.foreign_key is not None and key.foreign_key.on_update in _CHANGING:
        yield (
            f"{key.name} would change with the row it refers to, and encryption binds values to it: take away `on_update`",
            (),
        )


def _person_problems(config: ModelConfig) -> Iterator[Problem]:
    if config.owner is None:
        yield "a key per person needs to know whose the row is: declare an owner", ("per_person",)
        return
    if config.owner not in config.column_names:
        return
    owner = config.column(config.owner)
    if owner.nullable:
        message = (
            f"a key per person needs a person for each row: make {owner.name} `nullable: false`"
        )
        yield message, ("per_person",)
    key = owner.foreign_key
    if key is not None and (key.on_update in _CHANGING or key.on_delete in _CHANGING - {"cascade"}):
        message = (
            f"PostgreSQL would change {owner.name} by itself, and leave values under the key of somebody else: take away "
            "on_update, set_null and set_default"
        )
        yield message, ("per_person",)


def _use_of_plaintext(model: Assembled, config: ModelConfig, column: ColumnConfig) -> str | None:
    name = column.name
    features = config.features
    personal, feed, cache = features.personal_data, features.feed, features.cache
    uses = {
        "the primary key": column.primary_key,
        "a reference": column.foreign_key is not None,
        "generated": column.generated is not None,
        "the owner": config.owner == name,
        "what a feed is asked for by": feed is not None and feed.by == name,
        "unique": column.unique
        or any(name in (constraint.unique or ()) for constraint in config.constraints),
        "indexed": column.index
        or any(name in (*i.column_names, *i.include) for i in config.indexes),
        "searched": features.search is not None and name in features.search.weights,
        "embedded": features.embedding is not None and name in features.embedding.columns,
        "what personal data is found by": personal is not None
        and name in (personal.person, personal.through),
        "what lists are cached by": cache is not None and name in cache.lists,
        "in a cache tag": cache is not None and any(f"{{{name}}}" in tag for tag in cache.tags),
        "kept by a mixin": model.place("columns", name).location[:1] == ("mixins",),
    }
    word = re.compile(rf"\b{re.escape(name)}\b")
    in_sql = [
        *((f"in the generated column {c.name}", c.generated) for c in config.columns),
        *((f"in the check of {c.name}", c.check) for c in config.columns),
        *((f"in the check {c.name}", c.check) for c in config.constraints),
        *(("in the condition of an index", i.where) for i in config.indexes),
    ]
    uses |= {where: bool(sql and word.search(sql)) for where, sql in in_sql}
    return next((use for use, so in uses.items() if so), None)
