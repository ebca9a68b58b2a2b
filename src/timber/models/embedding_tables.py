"""The tables behind an embedding: for each row what is to be embedded and how that stands, and the pieces with vectors.

Both go with their row by ON DELETE CASCADE, whoever deletes it. A piece hangs on its job and not on the row, so that
whoever stores vectors locks the job alone, and somebody who deletes the row waits for them and never the other way round.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import BYTEA, UUID

from timber.models.column_types import JSON_KINDS
from timber.models.types import Vector

if TYPE_CHECKING:
    from collections.abc import Collection

    from timber.models.config import ModelConfig

PENDING: Final = "pending"
"""The text has changed since it was embedded, or never was."""
DONE: Final = "done"
"""The vectors are those of the text."""
DEAD: Final = "dead"
"""It was tried and could not be embedded; the reason is beside it."""

_NAME_LIMIT = 63
# Every string in a document, in its order: keys are no text, and numbers mean nothing to an embedder.
_STRINGS: Final = (
    "(SELECT string_agg(v.item #>> ARRAY[]::text[], E'\\n' ORDER BY v.position)"
    " FROM jsonb_path_query({value}, 'strict $.**') WITH ORDINALITY AS v(item, position)"
    " WHERE jsonb_typeof(v.item) = 'string')"
)


def jobs_table(table: str) -> str:
    """The name of the table that says what is to be embedded of the rows of ``table``."""
    return _name(table, "embedding")


def chunks_table(table: str) -> str:
    """The name of the table with the pieces of the rows of ``table`` and their vectors."""
    return _name(table, "chunks")


def embedded_text(config: ModelConfig, alias: str) -> str:
    """SQL for the text that a row is embedded by: its columns one below the other, of a JSON column every string in it.

    Args:
        alias: what the row is called in the statement.
    """
    embedding = config.features.embedding
    parts = []
    for name in embedding.columns if embedding is not None else ():
        kind = config.column(name).type.kind
        value = f'"{alias}"."{name}"'
        if kind in JSON_KINDS:
            value = _STRINGS.format(value=f"{value}::jsonb" if kind == "JSON" else value)
        parts.append(value)
    return f"concat_ws(E'\\n\\n', {', '.join(parts)})"


def text_hash(text: str) -> str:
    """SQL for the digest of a text, 32 bytes; ``text`` is SQL too."""
    return f"sha256(convert_to({text}, 'UTF8'))"


def add_embedding_tables(metadata: sa.MetaData, configs: Collection[ModelConfig]) -> None:
    """The tables of every model that declares an embedding."""
    for config in configs:
        if config.features.embedding is not None:
            key = metadata.tables[config.table].c[config.primary_key]
            _add_jobs(metadata, config, key)
            _add_chunks(metadata, config, key, config.features.embedding.dimension)


def _add_jobs(metadata: sa.MetaData, config: ModelConfig, key: sa.Column[object]) -> None:
    name = jobs_table(config.table)
    now, moment = sa.text("now()"), sa.DateTime(timezone=True)
    states = ", ".join(f"'{state}'" for state in (PENDING, DONE, DEAD))
    table = sa.Table(
        name,
        metadata,
        _reference("row_key", key, f"{config.table}.{config.primary_key}"),
        sa.Column("text_hash", BYTEA, nullable=False, comment="The digest of the text as it is."),
        sa.Column("state", sa.String(16), nullable=False, server_default=PENDING),
        sa.Column("recipe", sa.Text, comment="How the vectors that are there were made."),
        sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("queued_at", moment, nullable=False, server_default=now),
        sa.Column("available_at", moment, nullable=False, server_default=now),
        sa.Column("claim", UUID(as_uuid=True), comment="Who is at it."),
        sa.Column("claimed_until", moment),
        sa.Column("reason", sa.Text, comment="Why it failed the last time; never the text."),
        sa.CheckConstraint(f"state IN ({states})", name="state"),
        comment=f"What is to be embedded of {config.table}: one row for each of its rows.",
    )
    pending = sa.text(f"state = '{PENDING}'")
    sa.Index(_name(name, "pending"), table.c.available_at, postgresql_where=pending)
    dead = sa.text(f"state = '{DEAD}'")
    sa.Index(_name(name, "dead"), table.c.row_key, postgresql_where=dead)


def _add_chunks(
    metadata: sa.MetaData, config: ModelConfig, key: sa.Column[object], dimension: int
) -> None:
    name = chunks_table(config.table)
    table = sa.Table(
        name,
        metadata,
        _reference("row_key", key, f"{jobs_table(config.table)}.row_key"),
        sa.Column("text_hash", BYTEA, primary_key=True, comment="The digest of the piece."),
        sa.Column("number", sa.Integer, nullable=False, comment="Its place among the pieces."),
        sa.Column("start", sa.Integer, nullable=False, comment="Its first character in the text."),
        sa.Column("length", sa.Integer, nullable=False, comment="The number of its characters."),
        sa.Column("embedder", sa.Text, nullable=False, comment="Who made the vector."),
        sa.Column("embedding", Vector(dimension), nullable=False),
        comment=f"The pieces of the text of {config.table}, each with its vector.",
    )
    sa.Index(
        _name(name, "embedding"),
        table.c.embedding,
        postgresql_using="hnsw",
        postgresql_ops={"embedding": "vector_cosine_ops"},
    )


def _reference(name: str, key: sa.Column[object], target: str) -> sa.Column[object]:
    reference = sa.ForeignKey(target, ondelete="CASCADE", onupdate="CASCADE")
    return sa.Column(name, key.type, reference, primary_key=True, autoincrement=False)


def _name(table: str, part: str) -> str:
    name = f"{table}_{part}" if table.startswith("timber_") else f"timber_{table}_{part}"
    if len(name) <= _NAME_LIMIT:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: _NAME_LIMIT - len(part) - 10]}_{digest}_{part}"
