"""The SQL function that makes a row's search vector, and never fails the write."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from timber.models.config import ModelConfig

# Whatever `room` characters of each column are, this many make a vector of almost any text.
_FIRST_ROOM = 262_144

_FUNCTION = """\
CREATE OR REPLACE FUNCTION {name}({parameters}) RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE AS $search$
DECLARE
  made tsvector := '';
  fits bigint := 0;
  too_much bigint;
  room bigint := {first_room};
BEGIN
  BEGIN
    RETURN {whole};
  EXCEPTION WHEN program_limit_exceeded THEN
    NULL;  -- more than a tsvector holds: look for as much as fits
  END;
  LOOP
    BEGIN
      made := {part};
      fits := room;
    EXCEPTION WHEN program_limit_exceeded THEN
      too_much := room;
    END;
    EXIT WHEN too_much - fits <= greatest(fits / 64, 1);
    room := CASE WHEN too_much IS NULL THEN room * 2 ELSE (fits + too_much) / 2 END;
  END LOOP;
  RETURN made;
END
$search$"""

# The strings of a document up to `room` characters in all, each still a string of its own.
_JSON_PART = """\
(SELECT coalesce(jsonb_agg(left(s.text, least(room - s.before, 2147483647)::integer) ORDER BY s.position), '[]')
      FROM (SELECT v.item #>> '{{}}' AS text, v.position,
                   sum(length(v.item #>> '{{}}')) OVER (ORDER BY v.position) - length(v.item #>> '{{}}') AS before
              FROM jsonb_path_query({value}, 'strict $.**') WITH ORDINALITY AS v(item, position)
             WHERE jsonb_typeof(v.item) = 'string') AS s
     WHERE s.before < room)"""


@dataclass(frozen=True, slots=True)
class SQLFunction:
    """A function that a table needs before it is created."""

    name: str
    create: str
    drop: str


def search_function(config: ModelConfig) -> SQLFunction | None:
    """The function behind a model's search column, if it has one.

    Its name carries a digest of its text, so that a changed one is another function and a migration can see that.
    """
    search = config.features.search
    if search is None:
        return None
    language = f"'{search.language}'::regconfig"
    parameters: list[str] = []
    wholes: list[str] = []
    parts: list[str] = []
    for position, (name, weight) in enumerate(search.weights.items(), 1):
        if config.column(name).is_json:
            parameters.append("jsonb")
            template = f"jsonb_to_tsvector({language}, {{}}, '[\"string\"]')"
            beginning = _JSON_PART.format(value=f"${position}")
        else:
            parameters.append("text")
            template = f"to_tsvector({language}, {{}})"
            beginning = f"left(${position}, least(room, 2147483647)::integer)"
        whole, part = template.format(f"${position}"), template.format(beginning)
        wholes.append(f"setweight(coalesce({whole}, ''), '{weight}')")
        parts.append(f"setweight(coalesce({part}, ''), '{weight}')")
    body = _FUNCTION.format(
        name="{name}",
        parameters=", ".join(parameters),
        first_room=_FIRST_ROOM,
        whole=" || ".join(wholes),
        part=" || ".join(parts),
    )
    digest = hashlib.sha256(body.encode()).hexdigest()[:8]
    name = f"timber_search_{config.table[:40]}_{digest}"
    create = body.replace("{name}", name)
    return SQLFunction(name, create, f"DROP FUNCTION IF EXISTS {name}({', '.join(parameters)})")


def search_expression(config: ModelConfig, function: SQLFunction) -> str:
    """The expression of the generated search column."""
    search = config.features.search
    weights = search.weights if search is not None else {}
    arguments = (
        f'"{name}"::jsonb' if config.column(name).type.kind == "JSON" else f'"{name}"'
        for name in weights
    )
    return f"{function.name}({', '.join(arguments)})"
