"""The trigger that tells of new rows, whichever way they come: one by one, by COPY, or by somebody's own SQL."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from timber.models.column_types import INTEGER_KINDS, TEXT_KINDS
from timber.models.search_ddl import SQLFunction

if TYPE_CHECKING:
    from timber.models.config import ModelConfig

FEED_KINDS: Final = TEXT_KINDS | INTEGER_KINDS | {"Enum", "UUID"}
"""What rows can be asked for by: text is the same in PostgreSQL and here."""

TRANSACTION_ID: Final = "pg_current_xact_id()::text::bigint"
"""The id of the transaction that writes, the same in all of its savepoints and never used again."""

# Anybody who may connect may listen, so that what is sent is a digest and not somebody's id. What a transaction
# sends twice, PostgreSQL delivers once, and only when the rows can be seen.
_FUNCTION = """\
CREATE OR REPLACE FUNCTION {name}() RETURNS trigger
LANGUAGE plpgsql AS $feed$
BEGIN
  PERFORM pg_notify('{channel}', left(encode(sha256(convert_to(a.whose, 'UTF8')), 'hex'), 32))
     FROM (SELECT DISTINCT "{by}"::text AS whose FROM added WHERE "{by}" IS NOT NULL) AS a;
  RETURN NULL;
END
$feed$"""

_TRIGGER = """\
CREATE OR REPLACE TRIGGER {name} AFTER INSERT ON "{table}"
REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION {name}()"""


@dataclass(frozen=True, slots=True)
class SQLTrigger:
    """A trigger that a table needs after it is created; its function must be there before."""

    name: str
    table: str
    create: str
    drop: str


def feed_channel(config: ModelConfig) -> str:
    """The channel on which the feed of a model is told of new rows."""
    return f"timber_feed_{config.table[:50]}"


def feed_key(whose: object) -> str:
    """What is sent on the channel when there are new rows of this owner."""
    return hashlib.sha256(str(whose).encode()).hexdigest()[:32]


def feed_by(config: ModelConfig) -> str | None:
    """The column with whose rows a reader of the model's feed asks for, if it has a feed."""
    feed = config.features.feed
    return None if feed is None else feed.by or config.owner


def feed_function(config: ModelConfig) -> SQLFunction | None:
    """The function behind the trigger of a model's feed, if it has one.

    Its name carries a digest of its text, so that a changed one is another function and a migration can see that.
    """
    by = feed_by(config)
    if by is None:
        return None
    body = _FUNCTION.format(name="{name}", channel=feed_channel(config), by=by)
    digest = hashlib.sha256(body.encode()).hexdigest()[:8]
    name = f"timber_feed_{config.table[:40]}_{digest}"
    return SQLFunction(name, body.replace("{name}", name), f"DROP FUNCTION IF EXISTS {name}()")


def feed_trigger(config: ModelConfig) -> SQLTrigger | None:
    """The trigger of a model's feed, if it has one; it is called like its function."""
    function = feed_function(config)
    if function is None:
        return None
    return SQLTrigger(
        function.name,
        config.table,
        _TRIGGER.format(name=function.name, table=config.table),
        f'DROP TRIGGER IF EXISTS {function.name} ON "{config.table}"',
    )
