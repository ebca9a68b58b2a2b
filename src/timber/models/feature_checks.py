"""What a model's features say, held against its columns."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from timber.models.column_types import JSON_KINDS, TEXT_KINDS, nearest
from timber.models.encryption_checks import encryption_problems
from timber.models.feed_ddl import FEED_KINDS
from timber.models.rules import CROSS_FIELD, read_rule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from timber.errors import ConfigurationError
    from timber.models.assemble import Assembled
    from timber.models.config import ModelConfig

_TEXTUAL = TEXT_KINDS | JSON_KINDS | {"Enum"}
_TAG_COLUMN = re.compile(r"\{([a-z_][a-z0-9_]*)\}")
_RULE_COLUMNS = ("field", *CROSS_FIELD)


def check_features(model: Assembled, config: ModelConfig) -> list[ConfigurationError]:
    """Everything in the features of a model that does not fit its columns."""
    return _FeatureChecks(model, config).all()


class _FeatureChecks:
    def __init__(self, model: Assembled, config: ModelConfig) -> None:
        self._model = model
        self._config = config
        self._errors: list[ConfigurationError] = []

    def all(self) -> list[ConfigurationError]:
        self._search_and_embedding()
        self._encryption()
        self._validation()
        self._names()
        self._cache()
        self._feed()
        return self._errors

    def _wrong(self, feature: str, message: str, *below: str | int) -> None:
        self._errors.append(self._model.place("features", feature).error(message, *below))

    def _known(self, feature: str, name: str, *below: str | int) -> bool:
        if name in self._model.columns:
            return True
        if name not in self._model.gaps:
            hint = nearest(name, self._model.columns)
            self._wrong(feature, f"{self._config.name} has no column {name!r}{hint}", *below)
        return False

    def _all_known(self, feature: str, key: str, names: Iterable[str]) -> None:
        for position, name in enumerate(names):
            self._known(feature, name, key, position)

    def _search_and_embedding(self) -> None:
        features = self._config.features
        for name in features.search.weights if features.search else ():
            self._textual("search", name, "weights", name)
        for position, name in enumerate(features.embedding.columns if features.embedding else ()):
            self._textual("embedding", name, "columns", position)

    def _textual(self, feature: str, name: str, *below: str | int) -> None:
        if self._known(feature, name, *below):
            column = self._config.column(name)
            if column.type.kind not in _TEXTUAL:
                self._wrong(feature, f"{name} is {column.type}, which holds no text", *below)
            elif column.generated is not None and feature == "search":
                message = (
                    f"{name} is generated, and PostgreSQL makes no generated column from another"
                )
                self._wrong(feature, message, *below)

    def _encryption(self) -> None:
        encryption = self._config.features.encryption
        if encryption is None:
            return
        self._all_known("encryption", "columns", encryption.columns)
        for message, below in encryption_problems(self._model, self._config):
            self._wrong("encryption", message, *below)

    def _validation(self) -> None:
        validation = self._config.features.validation
        for position, rule in enumerate(validation.rules if validation else ()):
            below = ("rules", position)
            for key in _RULE_COLUMNS:
                name = getattr(rule, key)
                if name is not None:
                    self._known("validation", name, *below, key)
            named = (getattr(rule, key) for key in _RULE_COLUMNS)
            if all(name is None or name in self._config.column_names for name in named):
                for message, place in read_rule(rule, self._config)[1]:
                    self._wrong("validation", message, *below, *place)

    def _names(self) -> None:
        features = self._config.features
        if features.audit is not None:
            self._all_known("audit", "columns", features.audit.columns or ())
            self._all_known("audit", "exclude", features.audit.exclude)
            self._audited_key()

    def _cache(self) -> None:
        cache = self._config.features.cache
        if cache is None:
            return
        key = self._config.column(self._config.primary_key)
        if cache.rows and key.type.kind not in FEED_KINDS:
            # PostgreSQL and Python would write it differently, and a write would clear another name than the one that is read.
            message = (
                f"{key.name} is {key.type}: rows are cached by a key that is text, an integer or a UUID; "
                "with `rows: false` only lists are"
            )
            self._wrong("cache", message, "rows")
        for position, name in enumerate(cache.lists):
            self._can_be_in_a_tag(name, "lists", position)
        for position, tag in enumerate(cache.tags):
            if "{" in _TAG_COLUMN.sub("", tag) or "}" in _TAG_COLUMN.sub("", tag):
                message = f"{tag!r}: write a column in braces, like user_sessions:{{user_id}}"
                self._wrong("cache", message, "tags", position)
            for name in _TAG_COLUMN.findall(tag):
                self._can_be_in_a_tag(name, "tags", position)

    def _can_be_in_a_tag(self, name: str, *below: str | int) -> None:
        if self._known("cache", name, *below):
            kind = self._config.column(name).type
            if kind.kind not in FEED_KINDS:
                message = f"{name} is {kind}: lists are cached by text, an integer or a UUID"
                self._wrong("cache", message, *below)

    def _audited_key(self) -> None:
        personal = self._config.features.personal_data
        key = self._config.column(self._config.primary_key)
        if personal is None or key.type.kind not in TEXT_KINDS:
            return
        if key.name == personal.person or key.name in (personal.columns or [key.name]):
            message = f"the audit keeps the key for good, and {key.name} is text and personal data: use one that says nothing"
            self._wrong("audit", message)

    def _feed(self) -> None:
        feed = self._config.features.feed
        if feed is None:
            return
        if feed.by is None and self._config.owner is None:
            self._wrong("feed", "whose rows does a reader ask for? declare `by`, or an owner")
        elif feed.by is not None and self._known("feed", feed.by, "by"):
            kind = self._config.column(feed.by).type
            if kind.kind not in FEED_KINDS:
                message = f"{feed.by} is {kind}: rows are asked for by text, an integer or a UUID"
                self._wrong("feed", message, "by")
