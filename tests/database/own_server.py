"""An embedded server that a test may kill, and where one role has a password."""

from __future__ import annotations

import signal
from pathlib import Path

import asyncpg
from sqlalchemy import make_url

from tests.harness.databases import run_apart
from tests.harness.guard import children_of
from tests.harness.postgres import send, wait_until_ended
from timber.database.embedded import EmbeddedPostgres

# The writer of the log would flush what a test wants to see lost.
_SLOW_LOG_WRITER = {"wal_writer_delay": "10s", "bgwriter_delay": "10s", "autovacuum": "off"}

SCHEMA = """
CREATE TABLE entry (id uuid PRIMARY KEY, note text, code text UNIQUE, amount int NOT NULL DEFAULT 0,
                    data jsonb, token bigint);
CREATE ROLE guarded LOGIN PASSWORD 'right';
GRANT ALL ON entry TO guarded;
"""


class OwnServer:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._held = [EmbeddedPostgres.start_blocking(directory, server_settings=_SLOW_LOG_WRITER)]
        hba = directory / "data" / "pg_hba.conf"
        hba.write_text("local all guarded scram-sha-256\n" + hba.read_text())
        run_apart(self._prepare())

    @property
    def url(self) -> str:
        return self._held[-1].url

    @property
    def driver_url(self) -> str:
        return make_url(self.url).set(drivername="postgresql").render_as_string(hide_password=False)

    def url_of(self, user: str, password: str) -> str:
        url = make_url(self.url).set(username=user, password=password)
        return url.render_as_string(hide_password=False)

    def kill(self) -> None:
        """``kill -9`` of the server and of each of its processes."""
        postmaster = self._held[-1].pid
        processes = [postmaster, *children_of(postmaster)]
        send(signal.SIGKILL, processes)
        wait_until_ended(processes)

    def restart(self) -> None:
        """Start it again after :meth:`kill`."""
        self._held.append(
            EmbeddedPostgres.start_blocking(self._directory, server_settings=_SLOW_LOG_WRITER)
        )

    def stop(self) -> None:
        for held in self._held:
            held.stop_blocking()

    async def _prepare(self) -> None:
        connection = await asyncpg.connect(self.driver_url)
        await connection.execute(SCHEMA)
        await connection.execute("SELECT pg_reload_conf()")
        await connection.close()
