"""A PostgreSQL for trying things out: no installation, no root, no port; its data in a directory of one's own."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import sys
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

from sqlalchemy import URL

from timber.database.embedded_cluster import find_binaries, start_cluster
from timber.database.embedded_watch import (
    Postmaster,
    make_directory,
    nobody_else,
    share_users,
    stop_unused,
)
from timber.errors import ConfigurationError

logger: logging.Logger = logging.getLogger(__name__)

DEFAULT_DIRECTORY = Path(".timber/postgres")

_SETTINGS = {
    "listen_addresses": "",  # a socket in a private folder instead of a port
    "unix_socket_permissions": "0700",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "max_connections": "200",  # several Timbers, each with a pool of 60
}


class EmbeddedPostgres:
    """A hold on the embedded server of a directory; the server runs as long as anybody holds it.

    Processes that name the same directory share its server. The last one out stops it, however it ends.
    """

    def __init__(self, directory: Path, server: Postmaster, users: int) -> None:
        self.directory = directory
        self.pid: int = server.pid
        self.socket_dir: Path = server.socket_dir
        self.port: int = server.port
        self._users: int | None = users
        atexit.register(self.stop_blocking)

    @property
    def url(self) -> str:
        """The SQLAlchemy URL of the server's own database."""
        # The port too, or the PGPORT of somebody's environment would be taken.
        query = {"host": str(self.socket_dir), "port": str(self.port)}
        url = URL.create("postgresql+asyncpg", "postgres", database="postgres", query=query)
        return url.render_as_string(hide_password=False)

    @classmethod
    async def start(
        cls,
        directory: Path | str = DEFAULT_DIRECTORY,
        *,
        server_settings: Mapping[str, str] | None = None,
    ) -> EmbeddedPostgres:
        """:meth:`start_blocking` in a thread; cancelled, it leaves nothing running."""
        thread = ThreadPoolExecutor(1, thread_name_prefix="timber-embedded")
        starting = thread.submit(
            partial(cls.start_blocking, directory, server_settings=server_settings)
        )
        thread.shutdown(wait=False)
        try:
            return await asyncio.wrap_future(starting)
        except asyncio.CancelledError:
            # A thread cannot be cut off: what it starts is stopped by itself, when nobody waits for it any more.
            starting.add_done_callback(_stop_started)
            raise

    @classmethod
    def start_blocking(
        cls,
        directory: Path | str = DEFAULT_DIRECTORY,
        *,
        server_settings: Mapping[str, str] | None = None,
    ) -> EmbeddedPostgres:
        """Start the server of a directory, made at its first use, or join the one that runs there.

        ``server_settings`` are PostgreSQL's; they have no effect on a server that already runs. Raises
        ConfigurationError in production, without the wheel, and when the server does not start.
        """
        if os.environ.get("TIMBER_ENV", "").lower() == "production":
            raise ConfigurationError(
                "The embedded PostgreSQL is for development and TIMBER_ENV is production: "
                "set database_url to a server's."
            )
        if sys.platform == "win32":
            raise ConfigurationError(
                "The embedded PostgreSQL runs on Linux and macOS: set database_url to a server's."
            )
        binaries = find_binaries()
        directory = Path(directory).absolute()
        try:
            make_directory(directory)
            with nobody_else(directory):
                users = share_users(directory)
                try:
                    server = Postmaster.of(directory / "data") or start_cluster(
                        directory, binaries, {**_SETTINGS, **(server_settings or {})}
                    )
                    return cls(directory, server, users)
                except BaseException:
                    os.close(users)
                    raise
        except OSError as error:
            raise ConfigurationError(
                f"The embedded PostgreSQL cannot run in {directory}: {error}"
            ) from error

    async def stop(self) -> None:
        """:meth:`stop_blocking` in a thread; it finishes even if the caller is cancelled."""
        await asyncio.shield(asyncio.to_thread(self.stop_blocking))

    def stop_blocking(self) -> None:
        """Let go of the server, which stops if nobody else holds it. A second call does nothing."""
        users, self._users = self._users, None
        if users is None:
            return
        atexit.unregister(self.stop_blocking)
        # Where somebody removed the directory, the server notices by itself.
        with suppress(FileNotFoundError), nobody_else(self.directory):
            os.close(users)
            if stop_unused(self.directory):
                logger.debug("the embedded PostgreSQL in %s stopped", self.directory)


def _stop_started(starting: Future[EmbeddedPostgres]) -> None:
    if not starting.cancelled() and starting.exception() is None:
        starting.result().stop_blocking()
