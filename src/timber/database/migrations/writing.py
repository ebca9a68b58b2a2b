"""Writes migration files."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from timber.database.migrations.goals import goal, halfway
from timber.database.migrations.planning import plan
from timber.database.migrations.rendering import WIDTH, indented

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alembic.script import ScriptDirectory

    from timber.database.migrations.catalog import Catalog
    from timber.database.migrations.column_steps import Step

_ONLINE: Final = "with op.get_context().autocommit_block():"


@dataclass(frozen=True, slots=True)
class Written:
    """A migration file that was written.

    Attributes:
        revision: its id, by which other commands know it.
        loses: the tables and columns whose data it destroys.
    """

    path: Path
    revision: str
    loses: tuple[str, ...] = ()


def write_changes(
    scripts: ScriptDirectory, message: str, current: Catalog, wanted: Catalog
) -> list[Written]:
    """Write what leads from one catalog to the other: one file, or two where a part can be done without keeping anybody
    from their work. That part is a file of its own because it cannot be done in a transaction.
    """
    arrived = goal(current, wanted)
    middle = halfway(current, arrived)
    first, second = plan(current, middle), plan(middle, arrived, online=True)
    written = []
    if first:
        written.append(_write(scripts, message, first, plan(middle, current)))
    if second:
        back = plan(arrived, middle, online=True)
        words = f"{message} (online)" if first else message
        written.append(_write(scripts, words, second, back, online=True))
    return written


def write_empty(scripts: ScriptDirectory, message: str) -> Written:
    """Write a migration that does nothing yet."""
    return _write(scripts, message, [], [])


def _write(
    scripts: ScriptDirectory,
    message: str,
    up: Sequence[Step],
    down: Sequence[Step],
    *,
    online: bool = False,
) -> Written:
    revision = _next_revision(scripts)
    bodies = [_body(steps, online=online) for steps in (up, down)]
    said = re.sub(r'\\|"""', "'", message).strip()
    script = scripts.generate_revision(
        revision,
        said,
        upgrades=bodies[0],
        downgrades=bodies[1],
        imports=_imports("\n".join(bodies)),
    )
    if script is None:
        raise RuntimeError(f"Alembic wrote no file for revision {revision}.")
    return Written(Path(script.path), revision, tuple(s.loses for s in up if s.loses))


def _next_revision(scripts: ScriptDirectory) -> str:
    # Numbered to be read in order; the rest keeps two branches of a repository apart.
    numbers = [re.match(r"\d+", script.revision) for script in scripts.walk_revisions()]
    latest = max((int(match[0]) for match in numbers if match), default=0)
    return f"{latest + 1:04d}_{uuid4().hex[:4]}"


def _imports(code: str) -> str:
    lines = []
    if "postgresql." in code:
        lines.append("from sqlalchemy.dialects import postgresql")
    if "SQLType(" in code:
        lines.append("from timber.database.migrations.types import SQLType")
    if len(lines) == 2:
        lines.insert(1, "")
    return "".join(f"{line}\n" for line in lines)


def _body(steps: Sequence[Step], *, online: bool) -> str:
    """The inside of a function, with its first line not indented: the template has done that."""
    pieces = []
    for step in steps:
        note = textwrap.wrap(step.note or "", WIDTH - 2)
        pieces.append("\n".join([*(f"# {line}" for line in note), step.code]))
    body = "\n".join(pieces)
    if online and steps:
        body = f"{_ONLINE}\n{indented(body)}"
    return indented(body).strip()
