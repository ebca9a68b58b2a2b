"""Looking at a database before anything is done to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from timber.database.migrations.catalog import Catalog
from timber.database.migrations.comparing import differences
from timber.database.migrations.failures import timber_errors
from timber.database.migrations.scratch import both_catalogs
from timber.database.migrations.surroundings import VERSION_TABLE, Surroundings, connected_to
from timber.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection


@dataclass(slots=True)
class Look:
    """Reads the database and what the models make of it, and changes nothing."""

    before: Callable[[tuple[str, ...]], None] = lambda _: None
    heads: tuple[str, ...] = ()
    current: Catalog = field(default_factory=Catalog)
    wanted: Catalog = field(default_factory=Catalog)

    async def run(self, surroundings: Surroundings) -> None:
        """Look."""
        async with connected_to(surroundings.settings, lock_timeout=5.0) as server:
            with timber_errors(server.target):
                async with server.engine.connect() as connection:
                    await connection.run_sync(self._look, surroundings)

    def _look(self, connection: Connection, surroundings: Surroundings) -> None:
        self.heads = versions(connection).get_current_heads()
        self.before(self.heads)
        self.current, self.wanted = both_catalogs(
            connection, surroundings.metadata(), leave_out=surroundings.leaves_out
        )


@dataclass(slots=True)
class Adoption:
    """Takes over a database whose tables were made without migrations.

    ``stamped`` is the revision that it was found to be at.
    """

    scripts: ScriptDirectory
    stamped: str | None = None

    def __call__(self, connection: Connection, surroundings: Surroundings) -> bool:
        """Stamp it if it is exactly what the models want; whether there are migrations to be applied.

        Raises:
            ConfigurationError: it holds tables of the models that are not as the models want them.
        """
        heads = self.scripts.get_heads()
        if len(heads) != 1 or versions(connection).get_current_heads():
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
        versions(connection).stamp(self.scripts, heads[0])
        connection.commit()
        self.stamped = heads[0]
        return False


def anything_applied(connection: Connection, _surroundings: Surroundings) -> bool:
    """Whether there is anything to take back.

    Raises:
        UsageError: there is not.
    """
    if not versions(connection).get_current_heads():
        raise UsageError("There is nothing to take back: no migration has been applied.")
    connection.rollback()
    return True


def versions(connection: Connection) -> MigrationContext:
    """What tells, and says, which revisions a database is at."""
    return MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})


def at_head(scripts: ScriptDirectory) -> Callable[[tuple[str, ...]], None]:
    """A test that the revisions a database is at are the last ones there are.

    Raises:
        UsageError: by the test, if they are not.
    """

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
