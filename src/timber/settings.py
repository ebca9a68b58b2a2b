"""Every setting of Timber, each also an environment variable ``TIMBER_<NAME>``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Self, TypedDict

import pydantic
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from timber.errors import ConfigurationError

Seconds = Annotated[float, Field(gt=0)]
ServerSeconds = Annotated[float, Field(gt=0, le=2_147_483)]
"""What PostgreSQL counts, in milliseconds, for up to 24 days."""

MOST: Final = 2_147_483_647
"""More than there is of anything: a number may be too long to be written down in the message that says so."""
CONNECTIONS: Final = 262_143
"""What PostgreSQL takes for max_connections."""


class TimberSettings(BaseSettings):
    """Settings of one :class:`~timber.Timber`. Times are in seconds."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        env_prefix="TIMBER_", frozen=True, extra="forbid", hide_input_in_errors=True
    )

    database_url: str | None = Field(default=None, repr=False)
    """``postgresql://user:password@host:port/name``, or ``embedded``."""
    cache_url: str | None = Field(default=None, repr=False)
    """``redis://host:port/0``; ``embedded`` for a Valkey from a wheel; ``memory`` for the memory of this process alone."""
    cache_enabled: bool = True
    """Whether ``cache_url`` counts."""
    cache_prefix: str | None = Field(default=None, min_length=1)
    """What every key in Redis begins with; else a digest of the database. All who write to a database have the same."""
    cache_entries: int = Field(default=10_000, ge=1, le=MOST)
    """How many entries the memory of this process holds at most."""
    cache_bytes: int = Field(default=64 * 1024 * 1024, ge=1, le=MOST * MOST)
    """And how many bytes."""
    cache_sole_writer: bool = False
    """Without Redis: no other process writes to the database, so that copies may live for longer than 5 seconds."""
    env: str = "development"
    """``production`` refuses what is only for development, such as the embedded server."""
    embedded_directory: Path = Path(".timber")
    """Where the embedded servers keep their data."""

    model_config_dirs: Annotated[tuple[Path, ...], NoDecode] = ()
    """Folders with YAML models; in the environment separated by commas."""
    session_types: Annotated[tuple[str, ...], NoDecode] = ("research", "trading", "portfolio")
    """What types sessions may have; in the environment separated by commas."""
    session_moves: dict[str, tuple[str, ...]] | None = None
    """Allowed moves of a session's status, instead of the built-in ones."""
    search_language: str = "simple"
    """PostgreSQL's text search configuration for keyword search."""

    features: Annotated[tuple[str, ...], NoDecode] = ()
    """Providers of features of one's own, as ``package.module:Class``; in the environment separated by commas."""
    encryption_keys: str | Path | None = Field(default=None, repr=False)
    """The master keys of encrypted columns: the path of a key file, or ``env:NAME`` for an environment variable."""
    person_keys: str | Path | None = Field(default=None, repr=False)
    """Where the data keys of persons are kept, outside of the database: a folder, or the URL of another PostgreSQL."""
    person_key_seconds: float = Field(default=60.0, ge=0, le=3600)
    """How long a person's data key may stay unwrapped in memory, and so outlive its destruction in another process."""
    audit_key: SecretStr | None = None
    """The key of the audit's digests and seals, at least 32 random characters; older ones after it, with commas between."""
    audit_seal_every: Seconds | None = 5.0
    """How often this process seals what was audited; None, ``null`` in the environment, where another one does."""

    embedder: str | None = Field(default=None, repr=False)
    """What makes vectors for semantic search: ``model2vec:FOLDER``, ``sentence-transformers:NAME``, ``openai:URL#MODEL``."""
    embedder_key: SecretStr | None = None
    """What the service behind ``openai:`` knows its caller by."""
    embedder_timeout: Seconds = 30.0
    """How long one call of an embedder may take."""
    embedding_batch: int = Field(default=64, ge=1, le=MOST)
    """How many pieces of text are handed to an embedder at once."""
    embedding_attempts: int = Field(default=6, ge=1, le=MOST)
    """How often a row is tried before it is given up."""
    embedding_longest_text: int = Field(default=20_000_000, ge=1, le=MOST)
    """Characters; the vectors of a row with more are given up at once."""
    background_work: bool = False
    """Do in this process, too, what ``timber worker`` does: embed what has been written, for instance."""

    application_name: str = "timber"
    """What the server shows its connections as."""
    pool_size: int = Field(default=20, ge=1, le=CONNECTIONS)
    """How many connections stay open."""
    max_overflow: int = Field(default=40, ge=0, le=CONNECTIONS)
    """How many more may be opened; they are closed when they come back."""
    pool_timeout: Seconds = 30.0
    """How long a caller waits for a connection."""
    pool_queue: int | None = Field(default=1000, ge=0, le=MOST)
    """How many callers may wait for a connection; one more is refused at once."""
    pool_recycle: Seconds = 3600.0
    """The age at which a connection is replaced."""
    ping_after: Seconds = 30.0
    """A pooled connection idle for longer is pinged before it is used."""
    connect_timeout: Seconds = 10.0
    """How long opening a connection may take, over all hosts of the URL."""
    statement_timeout: ServerSeconds = 30.0
    """How long one statement may take; the server ends it then."""
    lock_timeout: ServerSeconds | None = None
    """How long a statement waits for a lock; None for as long as it may take."""
    idle_in_transaction_session_timeout: ServerSeconds | None = 60.0
    """How long a transaction may send nothing; the server ends it then."""
    commit_timeout: Seconds = 5.0
    """How long a COMMIT, or a lone write that was cancelled, may take to finish before its outcome is unknown."""
    rollback_timeout: Seconds = 1.0
    """How long a ROLLBACK or the end of a cancelled statement may take before the connection is thrown away."""

    resolve_timeout: Seconds = 10.0
    """How long to go on asking what became of a transaction whose connection was lost at its COMMIT."""

    breaker_failures: int = Field(default=5, ge=0, le=MOST)
    """After so many attempts in a row that did not reach the server callers are refused at once; 0 for never."""
    breaker_wait: Seconds = 0.1
    """First wait until one of them may ask again; doubled each time, with jitter."""
    breaker_wait_max: Seconds = 1.0
    """The longest of these waits."""

    conflict_attempts: int = Field(default=5, ge=1, le=MOST)
    """How often work is tried that loses against concurrent transactions."""
    conflict_wait: Seconds = 0.01
    """First wait after a serialization failure or deadlock; doubled each time, with jitter."""
    outage_attempts: int = Field(default=3, ge=1, le=MOST)
    """How often work is tried whose connection fails."""
    outage_wait: Seconds = 1.0
    """First wait after an outage; doubled each time, and up to a quarter longer by chance."""
    outage_wait_max: Seconds = 10.0
    """The longest of these waits."""
    retry_budget: Seconds = 60.0
    """All attempts and waits of one retried work together."""
    retry_rate: Seconds = 10.0
    """How many repetitions a second all work together may have after outages that go on, ten times that at once."""

    idempotency_seconds: Seconds = 86400.0
    """How long the key of an idempotent command is kept, so that a repeat is known for one."""

    pgbouncer: bool = False
    """Whether ``database_url`` leads to PgBouncer, in session or transaction pooling."""
    listen_url: str | None = Field(default=None, repr=False)
    """The server itself, for LISTEN, where ``database_url`` leads to a pooler."""

    echo: bool = False
    """Log every statement, without its parameters."""
    echo_pool: bool = False
    """Log what the pool does."""
    slow_query_seconds: Seconds = 1.0
    """A statement that takes longer is logged as a warning."""
    slow_query_plan: bool = False
    """Whether the plan of a slow statement is logged too, without values; it is asked for on another connection."""
    held_seconds: Seconds | None = 1.0
    """A unit of work that sends nothing for longer while it holds a connection is named in a warning."""

    @field_validator("model_config_dirs", "session_types", "features", mode="before")
    @classmethod
    def _split_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @model_validator(mode="after")
    def _waits_are_in_order(self) -> Self:
        if self.outage_wait > self.outage_wait_max:
            raise ValueError("outage_wait is longer than outage_wait_max")
        if self.breaker_wait > self.breaker_wait_max:
            raise ValueError("breaker_wait is longer than breaker_wait_max")
        return self

    @property
    def production(self) -> bool:
        """Whether ``env`` is production."""
        return self.env.lower() == "production"


class SettingsKeywords(TypedDict, total=False):
    """What :class:`~timber.Timber` takes by keyword beside the URL: the fields of :class:`TimberSettings`."""

    cache_url: str | None
    cache_enabled: bool
    cache_prefix: str | None
    cache_entries: int
    cache_bytes: int
    cache_sole_writer: bool
    env: str
    embedded_directory: Path | str
    model_config_dirs: Sequence[Path | str]
    session_types: Sequence[str]
    session_moves: dict[str, tuple[str, ...]] | None
    search_language: str
    features: tuple[str, ...] | list[str]
    encryption_keys: str | Path | None
    person_keys: str | Path | None
    person_key_seconds: float
    audit_key: SecretStr | str | None
    audit_seal_every: float | None
    embedder: str | None
    embedder_key: SecretStr | str | None
    embedder_timeout: float
    embedding_batch: int
    embedding_attempts: int
    embedding_longest_text: int
    background_work: bool
    application_name: str
    pool_size: int
    max_overflow: int
    pool_timeout: float
    pool_queue: int | None
    pool_recycle: float
    ping_after: float
    connect_timeout: float
    statement_timeout: float
    lock_timeout: float | None
    idle_in_transaction_session_timeout: float | None
    commit_timeout: float
    rollback_timeout: float
    resolve_timeout: float
    breaker_failures: int
    breaker_wait: float
    breaker_wait_max: float
    conflict_attempts: int
    conflict_wait: float
    outage_attempts: int
    outage_wait: float
    outage_wait_max: float
    retry_budget: float
    retry_rate: float
    idempotency_seconds: float
    pgbouncer: bool
    listen_url: str | None
    echo: bool
    echo_pool: bool
    slow_query_seconds: float
    slow_query_plan: bool
    held_seconds: float | None


def make_settings(
    database_url: str | None, settings: TimberSettings | None, keywords: SettingsKeywords
) -> TimberSettings:
    """The settings given as a whole, or made of keywords and the environment.

    Raises:
        ConfigurationError: both are given, or a setting is unknown or does not fit.
    """
    given: dict[str, Any] = dict(keywords)
    if database_url is not None:
        given["database_url"] = database_url
    if settings is not None:
        if given:
            raise ConfigurationError(
                f"settings= holds every setting, so {', '.join(given)} cannot be given beside it."
            )
        return settings
    try:
        return TimberSettings(**given)
    except pydantic.ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'settings'}: {problem['msg']}"
            for problem in error.errors(include_input=False, include_url=False)
        )
        raise ConfigurationError(f"The settings are not valid. {problems}.") from None
