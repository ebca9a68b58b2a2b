"""The tables of the audit: its rows, the pseudonyms of those who acted, and the seals that chain finished rows."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import DDL

from timber.models.feed_ddl import TRANSACTION_ID, SQLTrigger
from timber.models.search_ddl import SQLFunction

if TYPE_CHECKING:
    from collections.abc import Collection

    from timber.models.config import ModelConfig

ROWS: Final = "timber_audit"
ACTORS: Final = "timber_audit_actors"
SEALS: Final = "timber_audit_seals"

# The one change that a row can take is the loss of its salt: without it nobody can hold a value against the digests.
_GUARD = """\
CREATE OR REPLACE FUNCTION {name}() RETURNS trigger
LANGUAGE plpgsql AS $audit$
BEGIN
  IF TG_LEVEL = 'ROW' THEN
    IF NEW.salt IS NULL AND to_jsonb(NEW) - 'salt' = to_jsonb(OLD) - 'salt' THEN
      RETURN NEW;
    END IF;
  END IF;
  RAISE EXCEPTION '% is append-only: its rows can be neither changed nor removed', TG_TABLE_NAME
    USING ERRCODE = 'insufficient_privilege';
END
$audit$"""


def add_audit_tables(metadata: sa.MetaData, models: Collection[ModelConfig]) -> None:
    """Add the tables of the audit if one of the models is audited."""
    if all(model.features.audit is None for model in models):
        return
    guarded = {ROWS: _rows(metadata), SEALS: _seals(metadata)}
    _actors(metadata)
    guard = _guard()
    for table in guarded.values():
        event.listen(table, "before_create", _ddl(guard.create))
    for trigger in _triggers(guard):
        event.listen(guarded[trigger.table], "after_create", _ddl(trigger.create))
    event.listen(metadata, "after_drop", _ddl(guard.drop))


def audit_functions(metadata: sa.MetaData) -> tuple[SQLFunction, ...]:
    """The function that guards the audit, where there is one."""
    return (_guard(),) if ROWS in metadata.tables else ()


def audit_triggers(metadata: sa.MetaData) -> tuple[SQLTrigger, ...]:
    """The triggers that refuse to change or remove rows of the audit, where there is one."""
    return _triggers(_guard()) if ROWS in metadata.tables else ()


def _rows(metadata: sa.MetaData) -> sa.Table:
    # The key is in the order in which rows are sealed, so that it serves the sealer and grows at its end.
    return sa.Table(
        ROWS,
        metadata,
        sa.Column("transaction_id", sa.BigInteger, server_default=sa.text(TRANSACTION_ID)),
        sa.Column("id", sa.BigInteger, sa.Identity(always=True)),
        _moment("made_at"),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("row_key", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("actor", postgresql.UUID(as_uuid=True)),
        sa.Column("fields", postgresql.ARRAY(sa.Text), nullable=False),
        sa.Column("digests", sa.LargeBinary, nullable=False),
        sa.Column("salt", sa.LargeBinary),
        sa.Column("mac", sa.LargeBinary, nullable=False),
        sa.Column("key_id", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("transaction_id", "id"),
        sa.Index(None, "row_key", "id"),
        sa.Index(None, "actor", "id"),
        comment="Who did what to which row. Append-only.",
    )


def _actors(metadata: sa.MetaData) -> sa.Table:
    # Somebody may have several pseudonyms: were there one at most, writers would wait for one another here.
    return sa.Table(
        ACTORS,
        metadata,
        sa.Column("pseudonym", postgresql.UUID(as_uuid=True), primary_key=True),
        sa.Column("actor", sa.Text, index=True),
        _moment("made_at"),
        sa.Column(
            "transaction_id",
            sa.BigInteger,
            nullable=False,
            server_default=sa.text(TRANSACTION_ID),
        ),
        sa.Column("cut_at", sa.DateTime(timezone=True)),
        comment="Whom the pseudonyms of timber_audit stand for. Erasing somebody cuts theirs.",
    )


def _seals(metadata: sa.MetaData) -> sa.Table:
    return sa.Table(
        SEALS,
        metadata,
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("era", sa.Integer, nullable=False),
        sa.Column("first_id", sa.BigInteger, nullable=False),
        sa.Column("from_transaction", sa.BigInteger, nullable=False),
        sa.Column("to_transaction", sa.BigInteger, nullable=False),
        sa.Column("row_count", sa.BigInteger, nullable=False),
        sa.Column("last_id", sa.BigInteger, nullable=False),
        sa.Column("rows_digest", sa.LargeBinary, nullable=False),
        sa.Column("previous", sa.LargeBinary, nullable=False),
        sa.Column("seal", sa.LargeBinary, nullable=False),
        sa.Column("key_id", sa.Text, nullable=False),
        _moment("sealed_at"),
        comment="The chain of seals over the finished rows of timber_audit. Append-only.",
    )


def _moment(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False)


def _guard() -> SQLFunction:
    digest = hashlib.sha256(_GUARD.encode()).hexdigest()[:8]
    name = f"timber_audit_guard_{digest}"
    return SQLFunction(name, _GUARD.format(name=name), f"DROP FUNCTION IF EXISTS {name}()")


def _triggers(guard: SQLFunction) -> tuple[SQLTrigger, ...]:
    return (
        _trigger(guard, ROWS, "change", "UPDATE", "ROW"),
        _trigger(guard, ROWS, "remove", "DELETE OR TRUNCATE", "STATEMENT"),
        _trigger(guard, SEALS, "change", "UPDATE OR DELETE OR TRUNCATE", "STATEMENT"),
    )


def _trigger(guard: SQLFunction, table: str, what: str, events: str, level: str) -> SQLTrigger:
    name = f"{guard.name}_{what}"
    return SQLTrigger(
        name,
        table,
        f'CREATE OR REPLACE TRIGGER {name} BEFORE {events} ON "{table}" '
        f"FOR EACH {level} EXECUTE FUNCTION {guard.name}()",
        f'DROP TRIGGER IF EXISTS {name} ON "{table}"',
    )


def _ddl(sql: str) -> DDL:
    return DDL(sql.replace("%", "%%"))  # type: ignore[no-untyped-call]
