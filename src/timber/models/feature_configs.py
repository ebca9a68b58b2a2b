"""What a model may ask for beyond its columns: search, encryption, validation, audit, embedding, cache, personal data,
feeds, and features of an application's own.

Each part is a contract with the feature of that name; a model that declares one nobody provides does not start.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, model_validator

from timber.errors import ConfigurationError
from timber.models.columns import ColumnName, Declaration, Sequence

Seconds = Annotated[float, Field(gt=0, strict=False)]
Weight = Literal["A", "B", "C", "D"]
_LANGUAGE: Final = r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?"
Language = Annotated[str, Field(pattern=f"^{_LANGUAGE}$")]


def check_language(name: object) -> None:
    """Refuse a text search configuration whose name is no plain one: it becomes part of SQL.

    Raises:
        ConfigurationError: it is none.
    """
    if not isinstance(name, str) or not re.fullmatch(_LANGUAGE, name):
        raise ConfigurationError(
            "search_language is to be the name of a text search configuration of PostgreSQL, like simple or english."
        )


class SearchConfig(Declaration):
    """Full-text search over columns, kept in a hidden generated column with a GIN index."""

    weights: dict[ColumnName, Weight] = Field(min_length=1)
    """The columns searched and their weights; of a JSON column every string in it."""
    language: Language | None = None
    """PostgreSQL's text search configuration; else that of the settings."""
    column: ColumnName = "search_vector"
    """The name of the hidden column."""


class EncryptionConfig(Declaration):
    """Columns stored as ciphertext."""

    columns: Sequence[ColumnName] = Field(min_length=1)
    """The encrypted columns."""
    searchable: Sequence[ColumnName] = ()
    """Those of them that can be filtered by equality, through a keyed index."""
    per_person: bool = False
    """Whether each owner has a data key of their own, which can be destroyed."""


class RuleConfig(Declaration):
    """One rule that values must meet on create and update: about one field, or across fields."""

    field: ColumnName | None = None
    """The column it is about."""
    min: Any = None
    """The smallest value allowed."""
    max: Any = None
    """The largest value allowed."""
    min_length: int | None = Field(default=None, ge=0)
    """The shortest text or list allowed."""
    max_length: int | None = Field(default=None, ge=0)
    """The longest text or list allowed."""
    pattern: str | None = None
    """A regular expression that the whole text must match."""
    choices: Sequence[Any] | None = Field(default=None, min_length=1)
    """The values allowed."""
    less_than: ColumnName | None = None
    """Another column that must be greater, on the row as it will be."""
    less_or_equal: ColumnName | None = None
    """Another column that must not be smaller, on the row as it will be."""
    required_with: ColumnName | None = None
    """Another column; where it is set, this one must be."""
    message: str | None = None
    """What the error says instead of its usual sentence."""

    @model_validator(mode="after")
    def _complete(self) -> RuleConfig:
        if self.field is None:
            raise ValueError("a rule needs the field it is about")
        if not self.model_fields_set - {"field", "message"}:
            raise ValueError(f"the rule about {self.field!r} demands nothing")
        return self


class ValidationConfig(Declaration):
    """Rules for the values of a row, whichever way it comes."""

    rules: Sequence[RuleConfig] = Field(min_length=1)
    """The rules; every failure of a row is reported."""


class AuditConfig(Declaration):
    """An append-only record of every change, in the same transaction."""

    columns: Sequence[ColumnName] | None = None
    """The columns whose changes are recorded; all where it is left out."""
    exclude: Sequence[ColumnName] = ()
    """Columns whose changes are not recorded."""


class EmbeddingConfig(Declaration):
    """A vector made from text columns by an embedder, for semantic search."""

    columns: Sequence[ColumnName] = Field(min_length=1)
    """The columns whose text is embedded."""
    dimension: int = Field(ge=1, le=2000)
    """The number of the vector's dimensions; an HNSW index holds up to 2000."""
    embedder: str | None = None
    """The name of the embedder, where there are several."""
    chunk_size: int = Field(default=1000, ge=50)
    """The longest piece of text that gets one vector, in characters."""
    chunk_overlap: int = Field(default=100, ge=0)
    """How many characters two neighbouring pieces share."""

    @model_validator(mode="after")
    def _pieces_advance(self) -> EmbeddingConfig:
        if self.chunk_overlap >= self.chunk_size:
            raise ValueError("chunk_overlap is not smaller than chunk_size")
        return self


class CacheConfig(Declaration):
    """Which reads of the model may come from the cache."""

    ttl: Seconds = 3600.0
    """How long a copy may live, in seconds."""
    rows: bool = True
    """Whether rows are cached by their key."""
    lists: Sequence[ColumnName] = ()
    """Columns by which lists, counts and pages are cached, one tag for each value."""
    tags: Sequence[str] = ()
    """Further tags, as templates of column names: user_sessions:{user_id}."""


class PersonalDataConfig(Declaration):
    """Whose data the rows are and what erasing that person does to them."""

    person: ColumnName | None = None
    """The column with the person's id; else the owner column."""
    through: ColumnName | None = None
    """A reference to the row that knows the person, where this one does not."""
    on_erasure: Literal["delete", "anonymise", "destroy_key"] = "delete"
    """What happens to the rows of an erased person."""
    columns: Sequence[ColumnName] = ()
    """The columns that hold personal data; all where it is left out."""
    mentions: Sequence[ColumnName] = ()
    """Columns that may hold the id of somebody else than the row is about: an erasure of that person empties them."""
    retention_days: int | None = Field(default=None, ge=1)
    """How long a soft-deleted row is kept, in days."""
    expires: ColumnName | None = None
    """The column with the time after which a row is not needed any more."""


class FeedConfig(Declaration):
    """Readers elsewhere are told of new rows, and can read them without a gap.

    A hidden column keeps the transaction that wrote a row, and a trigger sends NOTIFY with it.
    """

    by: ColumnName | None = None
    """The column with whose rows a reader asks for; else the owner column."""
    column: ColumnName = "transaction_id"
    """The name of the hidden column."""


def _switched_on(value: object) -> object:
    return {} if value is True else value


def _switched(value: object) -> object:
    return None if value is False else _switched_on(value)


class FeaturesConfig(Declaration):
    """The features of a model; `true` switches on one that needs no more."""

    search: SearchConfig | None = None
    """Full-text search."""
    encryption: EncryptionConfig | None = None
    """Columns stored as ciphertext."""
    validation: ValidationConfig | None = None
    """Rules for values."""
    audit: Annotated[
        AuditConfig | None,
        BeforeValidator(_switched_on, json_schema_input_type=Literal[True] | AuditConfig | None),
    ] = None
    """A record of every change."""
    embedding: EmbeddingConfig | None = None
    """Vectors for semantic search."""
    cache: Annotated[
        CacheConfig | None,
        BeforeValidator(_switched, json_schema_input_type=bool | CacheConfig | None),
    ] = None
    """Cached reads; `false` in an extension switches those of the model off."""
    personal_data: Annotated[
        PersonalDataConfig | None,
        BeforeValidator(
            _switched_on, json_schema_input_type=Literal[True] | PersonalDataConfig | None
        ),
    ] = None
    """Whose data this is."""
    feed: Annotated[
        FeedConfig | None,
        BeforeValidator(_switched_on, json_schema_input_type=Literal[True] | FeedConfig | None),
    ] = None
    """New rows told to whoever subscribes."""
    custom: dict[str, dict[str, Any] | Literal[True]] = Field(default_factory=dict)
    """Features that the application brings along, by their names, each with its own settings."""

    @property
    def declared(self) -> tuple[str, ...]:
        """The names of the features that are declared, custom ones too."""
        names = (name for name in type(self).model_fields if name != "custom")
        return (*(name for name in names if getattr(self, name) is not None), *self.custom)
