"""What ``timber migrate`` does, for a command line and for a program that migrates before it starts."""

from __future__ import annotations

import asyncio
import io
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from timber.database.migrations.applying import Apply, Patience
from timber.database.migrations.catalog import Catalog
from timber.database.migrations.comparing import differences
from timber.database.migrations.environment import SETTINGS, TASK, Task
from timber.database.migrations.failures import timber_errors
from timber.database.migrations.scratch import both_catalogs
from timber.database.migrations.surroundings import VERSION_TABLE, Surroundings, connected_to
from timber.database.migrations.writing import Written, write_changes, write_empty
from timber.database.schema_lock import KEY
from timber.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import Connection

    from timber.settings import TimberSettings

DIRECTORY: Final = Path("migrations")

_TEMPLATES: Final = Path(__file__).parent / "templates"
_CONCURRENT = re.compile(r"^((?:CREATE (?:UNIQUE )?|DROP )INDEX CONCURRENTLY .*?;)$", re.MULTILINE | re.DOTALL)


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
        ConfigurationError: they are there already.
    """
    directory = Path(directory)
    if (directory / "env.py").exists():
        raise ConfigurationError(f"{directory} holds migrations already.")
    (directory / "versions").mkdir(parents=True, exist_ok=True)
    written = []
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
        scripts = _scripts(directory)
        if empty:
            return [write_empty(scripts, message)]
        looked = _look(directory, settings, _at_head(scripts))
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
        scripts = _scripts(directory)
        adoption = _Adoption(scripts)
        task = Apply(patience or Patience(), adoption if revision == "head" else lambda *_: True)
        _run(directory, settings, task, lambda rev, _: scripts._upgrade_revs(revision, rev))  # noqa: SLF001
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
        scripts = _scripts(directory)
        task = Apply(patience or Patience())
        _run(directory, settings, task, lambda rev, _: scripts._downgrade_revs(revision, rev))  # noqa: SLF001
        return Applied(tuple(task.applied), waited=task.waited)


def check(
    directory: Path | str = DIRECTORY, *, settings: TimberSettings | None = None
) -> list[str]:
    """Everything in which the database is not what migrations and models want; empty if nothing is."""
    with timber_errors():
        scripts = _scripts(directory)
        looked = _look(directory, settings)
        heads = scripts.get_heads()
        problems = []
        if set(looked.heads) != set(heads):
            at = ", ".join(looked.heads) or "nothing"
            problems.append(f"the database is at {at}, the migrations at {', '.join(heads) or 'nothing'}")
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
        scripts = _scripts(directory)
        start, _, end = revisions.rpartition(":")
        backwards = bool(start) and _is_before(scripts, end, start)
        steps = scripts._downgrade_revs if backwards else scripts._upgrade_revs  # noqa: SLF001
        output = io.StringIO()
        _run(
            directory,
            settings,
            None,
            lambda rev, _: steps(end, rev),
            as_sql=True,
            starting_rev=start or None,
            destination_rev=end,
            output=output,
        )
    patience = f"SET lock_timeout = '{lock_timeout:g}s';"
    script = _CONCURRENT.sub(rf"SET lock_timeout = 0;\n\1\n{patience}", output.getvalue().strip())
    alone, others = f"SELECT pg_advisory_lock({KEY});", f"SELECT pg_advisory_unlock({KEY});"
    return "\n\n".join([alone, patience, script, others, ""])


@dataclass(slots=True)
class _Look:
    """Reads the database and what the models make of it, and changes nothing."""

    before: Callable[[tuple[str, ...]], None] = lambda _: None
    heads: tuple[str, ...] = ()
    current: Catalog = field(default_factory=Catalog)
    wanted: Catalog = field(default_factory=Catalog)

    async def run(self, surroundings: Surroundings) -> None:
        async with connected_to(surroundings.settings, lock_timeout=5.0) as server:
            with timber_errors(server.target):
                async with server.engine.connect() as connection:
                    await connection.run_sync(self._look, surroundings)

    def _look(self, connection: Connection, surroundings: Surroundings) -> None:
        self.heads = _versions(connection).get_current_heads()
        self.before(self.heads)
        self.current, self.wanted = both_catalogs(
            connection, surroundings.metadata(), leave_out=surroundings.leaves_out
        )


@dataclass(slots=True)
class _Adoption:
    """Takes over a database whose tables were made without migrations."""

    scripts: ScriptDirectory
    stamped: str | None = None

    def __call__(self, connection: Connection, surroundings: Surroundings) -> bool:
        versions = _versions(connection)
        heads = self.scripts.get_heads()
        if len(heads) != 1 or versions.get_current_heads():
            connection.rollback()
            return True
        current, wanted = both_catalogs(
            connection, surroundings.metadata(), leave_out=surroundings.leaves_out
        )
        tables = {name: t for name, t in current.tables.items() if name in wanted.tables}
        if not tables:
            return True
        found = differences(
            Catalog(tables, current.functions, current.enums, current.extensions), wanted
        )
        if found:
            raise ConfigurationError(
                "The database holds tables of the models that no migration has made, and they differ from the models:\n  "
                + "\n  ".join(found)
                + "\nMake them the same (or drop them, if they may be lost) and migrate again."
            )
        _versions(connection).stamp(self.scripts, heads[0])
        connection.commit()
        self.stamped = heads[0]
        return False


def _versions(connection: Connection) -> MigrationContext:
    return MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})


def _at_head(scripts: ScriptDirectory) -> Callable[[tuple[str, ...]], None]:
    def check_heads(current: tuple[str, ...]) -> None:
        heads = scripts.get_heads()
        if len(heads) > 1:
            raise UsageError(
                f"The migrations have several ends ({', '.join(heads)}): join them with `alembic merge heads`."
            )
        if heads and tuple(heads) != tuple(current):
            at = ", ".join(current) or "nothing"
            raise UsageError(
                f"The database is at {at} and the last migration is {heads[0]}: run `timber migrate up` first."
            )

    return check_heads


def _is_before(scripts: ScriptDirectory, one: str, other: str) -> bool:
    if one == "base" or other == "base":
        return one == "base"
    earlier, later = (scripts.get_revision(name) for name in (one, other))
    before = [s.revision for s in scripts.iterate_revisions(later.revision, "base")]
    return earlier.revision in before[1:]


def _scripts(directory: Path | str) -> ScriptDirectory:
    scripts = ScriptDirectory.from_config(_config(directory))
    scripts.messaging_opts = {"quiet": True}  # what it would print, the caller does
    return scripts


def _config(directory: Path | str, output: TextIO | None = None) -> Config:
    directory = Path(directory)
    if not (directory / "env.py").exists():
        raise ConfigurationError(
            f"There are no migrations in {directory}: `timber migrate init` begins with them."
        )
    config = Config(directory / "alembic.ini", output_buffer=output)
    config.set_main_option("script_location", str(directory.absolute()).replace("%", "%%"))
    return config


def _look(
    directory: Path | str,
    settings: TimberSettings | None,
    before: Callable[[tuple[str, ...]], None] = lambda _: None,
) -> _Look:
    look = _Look(before)
    _run(directory, settings, look, lambda *_: [])
    return look


def _run(
    directory: Path | str,
    settings: TimberSettings | None,
    task: Task | None,
    steps: Callable[[Any, Any], Any],
    *,
    output: TextIO | None = None,
    **options: Any,
) -> None:
    config = _config(directory, output)
    config.attributes[TASK] = task
    config.attributes[SETTINGS] = settings
    scripts = ScriptDirectory.from_config(config)
    with EnvironmentContext(config, scripts, fn=steps, **options):
        scripts.run_env()
