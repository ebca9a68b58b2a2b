"""PostgreSQL servers of a test's own, and replicas of them, to be killed, frozen, restarted and promoted.

They are made of the programs in the folder ``TIMBER_TEST_POSTGRES_BIN``, else of those of the wheel that the embedded server comes
from. They listen on a socket in their folder alone, so that no port can be taken by somebody else.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Literal

from sqlalchemy import URL, make_url

from tests.harness.guard import children_of, guard
from timber.database import embedded_cluster as cluster
from timber.database.embedded_watch import Postmaster

PORT = 5432


class Postgres:
    """A server in ``folder``, which is made at the first :meth:`start`; settings are those of postgresql.conf."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.data = folder / "data"
        self._settings = {"listen_addresses": "''", "max_connections": "100", **settings}
        given = os.environ.get("TIMBER_TEST_POSTGRES_BIN")
        self._binaries = Path(given) if given else cluster.find_binaries()
        self._account = cluster._account(self.data)
        folder.mkdir(parents=True, exist_ok=True)
        if self._account:
            cluster._let_in(self._account, self._binaries, self.data)
            os.chown(folder, *self._account)

    @property
    def url(self) -> str:
        query = {"host": str(self.folder), "port": str(PORT)}
        url = URL.create("postgresql+asyncpg", "postgres", database="postgres", query=query)
        return url.render_as_string(hide_password=False)

    @property
    def driver_url(self) -> str:
        return make_url(self.url).set(drivername="postgresql").render_as_string(hide_password=False)

    # --------------------------------------------------------------------------------------------------- its whole life

    def start(self) -> None:
        """Start it, and wait until it answers; after a crash that is until it has recovered."""
        if not self.data.exists():
            make = [str(self._binaries / "initdb"), "--pgdata=data", "--username=postgres"]
            options = [
                "--auth=trust",
                "--locale=C",
                "--encoding=UTF8",
                "--no-instructions",
                "--no-sync",
            ]
            cluster._run([*make, *options], self._account, cwd=self.folder)
        guard(self.folder)
        self._write_settings()
        main = self.data / "postgresql.conf"
        if "test.conf" not in main.read_text():
            main.write_text(main.read_text() + "include 'test.conf'\n")
        # What a kill leaves is believed in while the process is not reaped, or its id is in use again.
        for left in (self.data / "postmaster.pid", self.folder / f".s.PGSQL.{PORT}.lock"):
            left.unlink(missing_ok=True)
        self._control("start", "--timeout=60", "--log=data/log", "--options=-k ..")

    def configure(self, **settings: str) -> None:
        """Change settings, at once if it runs."""
        self._settings.update(settings)
        if self.pid is not None:
            self._write_settings()
            self._control("reload")

    def stop(self, mode: Literal["smart", "fast", "immediate"] = "fast") -> None:
        if self.pid is not None:
            self._control("stop", f"--mode={mode}", "--timeout=60")

    def kill(self) -> None:
        """``kill -9`` of the server and of each of its processes."""
        # One that it starts meanwhile would wait for ever for what another one held, and nobody could start it anew.
        send(signal.SIGSTOP, self.processes[:1])
        processes = self.processes
        send(signal.SIGKILL, processes)
        wait_until_ended(processes)

    def freeze(self) -> None:
        """Stop the server and each of its processes where they stand."""
        send(signal.SIGSTOP, self.processes[:1])  # now it starts no more of them
        send(signal.SIGSTOP, self.processes)

    def thaw(self) -> None:
        send(signal.SIGCONT, self.processes)

    def promote(self) -> None:
        """Make a replica the primary; waits until it is."""
        self._control("promote", "--timeout=60")

    def follow(self, primary: Postgres) -> None:
        """Come back as a replica of ``primary``: as what is here, after a clean stop, or as a copy of it."""
        if not self.data.exists():
            programs = [str(self._binaries / "pg_basebackup"), "--pgdata=data", "--checkpoint=fast"]
            where = [f"--host={primary.folder}", f"--port={PORT}", "--username=postgres"]
            cluster._run([*programs, *where], self._account, cwd=self.folder)
            for left in ("log", "postmaster.pid"):
                (self.data / left).unlink(missing_ok=True)
        (self.data / "standby.signal").touch()
        self._settings["primary_conninfo"] = f"'host={primary.folder} port={PORT} user=postgres'"
        self.start()

    @property
    def pid(self) -> int | None:
        running = Postmaster.of(self.data)
        return running.pid if running else None

    @property
    def processes(self) -> list[int]:
        """The server's process, and those of its connections and helpers."""
        try:
            text = (self.data / "postmaster.pid").read_text().split("\n", 1)[0]
        except FileNotFoundError:
            return []
        return [int(text), *children_of(int(text))]

    def _write_settings(self) -> None:
        lines = [f"{name} = {value}\n" for name, value in self._settings.items()]
        (self.data / "test.conf").write_text("".join(lines))

    def _control(self, action: str, *options: str) -> None:
        command = [str(self._binaries / "pg_ctl"), action, "--pgdata=data", "--wait", "--silent"]
        cluster._run([*command, *options], self._account, cwd=self.folder, log=self.data / "log")


def replicated(*servers: Postgres) -> str:
    """The URL of several servers, of which the primary is wanted."""
    hosts = "&".join(f"host={server.folder}" for server in servers)
    return f"postgresql+asyncpg://postgres@/postgres?{hosts}&port={PORT}"


# ------------------------------------------------------------------------------------------------------------ processes


def send(number: signal.Signals, processes: Iterable[int]) -> None:
    for pid in processes:
        with suppress(ProcessLookupError):  # a process of the server may just have ended
            os.kill(pid, number)


def wait_until_ended(processes: Iterable[int], *, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while any(runs(pid) for pid in processes) and time.monotonic() < deadline:
        time.sleep(0.005)


def runs(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
