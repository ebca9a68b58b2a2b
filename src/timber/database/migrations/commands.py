"""What ``timber migrate`` does, for a command line and for a program that migrates before it starts."""

from __future__ import annotations

import asyncio
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from alembic import command

from timber.database.migrations.applying import Apply, Patience
from timber.database.migrations.catalog import Catalog
from timber.database.migrations.comparing import differences
from timber.database.migrations.failures import timber_errors
from timber.database.migrations.looking import Adoption, Look, anything_applied, at_head
from timber.database.migrations.running import only_the_task, run, scripts_in
from timber.database.migrations.writing import Written, write_changes, write_empty
from timber.database.schema_lock import KEY
from timber.errors import ConfigurationError

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    from timber.settings import TimberSettings

DIRECTORY: Final = Path("migrations")

_TEMPLATES: Final = Path(__file__).parent / "templates"
_CONCURRENT = re.compile(
    r"^((?:CREATE (?:UNIQUE )?|DROP )INDEX CONCURRENTLY .*?;)$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of the migrations.

    Attributes:
        revisions: those that were applied, or taken back, in order.
        stamped: the revision that a database was found to be at already, whose tables were made without migrations.
        waited: whether another process was migrating first.
    """

    revisions: tuple[str, ...] = ()
    stamped: str | None = None
    waited: bool = False


def init(directory: Path | str = DIRECTORY) -> list[Path]:
    """Write the files that migrations begin with.

    Raises:
        ConfigurationError: they are there already, or cannot be written.
    """
    directory = Path(directory)
    if (directory / "env.py").exists():
        raise ConfigurationError(f"{directory} holds migrations already.")
    written = []
    with timber_errors():
        (directory / "versions").mkdir(parents=True, exist_ok=True)
        for template in sorted(_TEMPLATES.iterdir()):
            path = directory / template.name.removesuffix(".template")
            path.write_text(template.read_text(encoding="utf-8"), encoding="utf-8")
            written.append(path)
    return written


def new(
    directory: Path | str = DIRECTORY,
    *,
    message: str,
    settings: TimberSettings | None = None,
    empty: bool = False,
) -> list[Written]:
    """Write a migration from the differences between models and database; none if there are none.

    Without any migration yet, the first one makes everything the models want, whatever the database contains.

    Args:
        empty: write one that does nothing yet, to be filled by hand.

    Raises:
        UsageError: the database has not been brought up to the last migration.
    """
    with timber_errors():
        scripts = scripts_in(directory)
        if empty:
            return [write_empty(scripts, message)]
        looked = Look(at_head(scripts))
        run(directory, settings, looked, only_the_task)
        current = looked.current if scripts.get_heads() else Catalog()
        return write_changes(scripts, message, current, looked.wanted)


def up(
    directory: Path | str = DIRECTORY,
    revision: str = "head",
    *,
    settings: TimberSettings | None = None,
    patience: Patience | None = None,
) -> Applied:
    """Apply the migrations up to a revision; what has been applied already is not applied again.

    Of several processes one does so, and the others wait and find nothing to do. A database whose tables were made by
    `create_all_tables` is stamped, if it is exactly what the models want.

    Raises:
        ConfigurationError: the database holds tables that were not made by migrations, and they differ from the models.
        DatabaseError: PostgreSQL refused a step; the migrations before it are applied.
        QueryTimeoutError: a lock was not to be had.
    """
    with timber_errors():
        scripts = scripts_in(directory)
        adoption = Adoption(scripts)
        task = Apply(patience or Patience())
        if revision == "head":
            task.first = adoption
        run(directory, settings, task, lambda config: command.upgrade(config, revision))
        return Applied(tuple(task.applied), adoption.stamped, task.waited)


async def upgrade(
    directory: Path | str = DIRECTORY,
    revision: str = "head",
    *,
    settings: TimberSettings | None = None,
    patience: Patience | None = None,
) -> Applied:
    """:func:`up` from async code, for a service that migrates before it starts."""
    return await asyncio.to_thread(up, directory, revision, settings=settings, patience=patience)


def down(
    directory: Path | str = DIRECTORY,
    revision: str = "-1",
    *,
    settings: TimberSettings | None = None,
    patience: Patience | None = None,
) -> Applied:
    """Take back the last migration, or all after a revision; ``base`` is before the first.

    Raises:
        DatabaseError: PostgreSQL refused a step.
        QueryTimeoutError: a lock was not to be had.
        UsageError: there is nothing to take back.
    """
    with timber_errors():
        task = Apply(patience or Patience())
        if revision != "base":
            task.first = anything_applied
        run(directory, settings, task, lambda config: command.downgrade(config, revision))
        return Applied(tuple(task.applied), waited=task.waited)


def check(
    directory: Path | str = DIRECTORY, *, settings: TimberSettings | None = None
) -> list[str]:
    """Everything in which the database is not what migrations and models want; empty if nothing is."""
    with timber_errors():
        scripts = scripts_in(directory)
        looked = Look()
        run(directory, settings, looked, only_the_task)
        heads = scripts.get_heads()
        problems = []
        if set(looked.heads) != set(heads):
            at = ", ".join(looked.heads) or "nothing"
            problems.append(
                f"the database is at {at}, the migrations at {', '.join(heads) or 'nothing'}"
            )
        return [*problems, *differences(looked.current, looked.wanted)]


def sql(
    directory: Path | str = DIRECTORY,
    revisions: str = "head",
    *,
    settings: TimberSettings | None = None,
    lock_timeout: float = 5.0,
) -> str:
    """The migrations as an SQL script; no database is asked.

    Args:
        revisions: the last revision, or ``from:to``; backwards if the second is the earlier one.
        lock_timeout: how long a statement of the script waits for a lock, in seconds.

    Raises:
        UsageError: there are no such revisions.
    """
    with timber_errors():
        scripts = scripts_in(directory)
        start, _, end = revisions.rpartition(":")
        backwards = bool(start) and _is_before(scripts, end, start)
        output = io.StringIO()

        def script(config: Config) -> None:
            go = command.downgrade if backwards else command.upgrade
            go(config, revisions, sql=True)

        run(directory, settings, None, script, output=output)
    patience = f"SET lock_timeout = '{lock_timeout:g}s';"
    body = _CONCURRENT.sub(rf"SET lock_timeout = 0;\n\1\n{patience}", output.getvalue().strip())
    alone, others = f"SELECT pg_advisory_lock({KEY});", f"SELECT pg_advisory_unlock({KEY});"
    return f"{alone}\n\n{patience}\n\n{body}\n\n{others}\n"


def _is_before(scripts: ScriptDirectory, one: str, other: str) -> bool:
    if one == "base" or other == "base":
        return one == "base"
    before = [script.revision for script in scripts.iterate_revisions(other, "base")]
    return scripts.get_revision(one).revision in before[1:]
