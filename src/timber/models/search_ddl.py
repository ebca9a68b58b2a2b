"""The SQL function that makes a row's search vector, and never fails the write."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from timber.models.config import ModelConfig

# A tsvector holds 1 MB. Of this little text no vector is that large, so it needs no subtransaction to find out.
_SAFE_BYTES = 100_000

_FUNCTION = """\
CREATE OR REPLACE FUNCTION {name}({parameters}) RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE AS $search$
DECLARE
  room bigint := {safe};
  too_much bigint := 0;
  half bigint;
  made tsvector;
BEGIN
  IF {size} <= {safe} THEN
    RETURN {whole};
  END IF;
  BEGIN
    RETURN {whole};
  EXCEPTION WHEN program_limit_exceeded THEN
    made := {part};
  END;
  -- `room` is known to fit and `too_much` not to: first double it, then halve what lies between.
  WHILE too_much = 0 OR too_much - room > room / 64 LOOP
    half := CASE WHEN too_much = 0 THEN room * 2 ELSE (room + too_much) / 2 END;
    DECLARE
      room bigint := half;
    BEGIN
      made := {part};
    EXCEPTION WHEN program_limit_exceeded THEN
      too_much := half;
    END;
    IF too_much IS DISTINCT FROM half THEN
      room := half;
    END IF;
  END LOOP;
  RETURN made;
END
$search$"""

# The strings of a document up to `room` characters in all, each still a string of its own.
_JSON_PART = """\
(SELECT coalesce(jsonb_agg(left(s.text, least(room - s.before, 2147483647)::integer) ORDER BY s.position), '[]')
      FROM (SELECT v.item #>> '{{}}' AS text, v.position,
                   sum(length(v.item #>> '{{}}')) OVER (ORDER BY v.position) - length(v.item #>> '{{}}') AS before
              FROM jsonb_path_query({column}, 'strict $.**') WITH ORDINALITY AS v(item, position)
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
    sizes: list[str] = []
    wholes: list[str] = []
    parts: list[str] = []
    for name, weight in search.weights.items():
        if config.column(name).is_json:
            kind, text = "jsonb", f"{name}::text"
            whole = f"jsonb_to_tsvector({language}, {name}, '[\"string\"]')"
            part = whole.replace(f"{name}, '", f"{_JSON_PART.format(column=name)}, '")
        else:
            kind, text = "text", name
            whole = f"to_tsvector({language}, {name})"
            part = f"to_tsvector({language}, left({name}, least(room, 2147483647)::integer))"
        parameters.append(f"{name} {kind}")
        sizes.append(f"coalesce(octet_length({text}), 0)")
        wholes.append(f"setweight(coalesce({whole}, ''), '{weight}')")
        parts.append(f"setweight(coalesce({part}, ''), '{weight}')")
    body = _FUNCTION.format(
        name="{name}",
        parameters=", ".join(parameters),
        safe=_SAFE_BYTES,
        size=" + ".join(sizes),
        whole=" || ".join(wholes),
        part=" || ".join(parts),
    )
    # The text still has doubled braces nowhere: only the name is left to fill in.
    digest = hashlib.sha256(body.encode()).hexdigest()[:8]
    name = f"timber_search_{config.table[:40]}_{digest}"
    create = body.replace("{name}", name)
    arguments = ", ".join(parameter.split()[1] for parameter in parameters)
    return SQLFunction(name, create, f"DROP FUNCTION IF EXISTS {name}({arguments})")


def search_expression(config: ModelConfig, function: SQLFunction) -> str:
    """The expression of the generated search column."""
    search = config.features.search
    weights = search.weights if search is not None else {}
    arguments = (
        f"{name}::jsonb" if config.column(name).type.kind == "JSON" else name for name in weights
    )
    return f"{function.name}({', '.join(arguments)})"
