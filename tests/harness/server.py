"""The PostgreSQL that the tests run on: a given one, else one in a container, else the embedded one."""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from timber.database.embedded import EmbeddedPostgres
from timber.database.embedded_watch import nobody_else, stop_unused

IMAGE = "pgvector/pgvector:pg18"

# What a crash would lose is a test's: no reason to wait for the disk.
_IN_A_HURRY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@contextmanager
def server_url(run_directory: Path) -> Generator[str]:
    """The server's URL, for as long as one test worker needs it."""
    given = os.environ.get("TIMBER_TEST_DATABASE_URL")
    if given:
        yield given
        return
    # Shared: the first worker starts it, the last one out stops it.
    server = EmbeddedPostgres.start_blocking(
        run_directory / "postgres", server_settings=_IN_A_HURRY
    )
    try:
        yield server.url
    finally:
        server.stop_blocking()


def stop_embedded(run_directory: Path) -> None:
    """Stop what a worker that was killed left running."""
    if (run_directory / "postgres").exists():
        with nobody_else(run_directory / "postgres"):
            stop_unused(run_directory / "postgres")


@contextmanager
def container() -> Generator[str | None]:
    """The URL of a server in a container, None without a Docker engine."""
    if not docker_answers():
        yield None
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of third parties, while they are imported and started
        from testcontainers.postgres import PostgresContainer

        server = PostgresContainer(IMAGE, driver="asyncpg").start()
    try:
        yield server.get_connection_url()
    finally:
        server.stop()


def docker_answers() -> bool:
    """Whether something listens where the Docker engine would."""
    host = urlsplit(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock"))
    try:
        if host.scheme == "unix":
            with socket.socket(socket.AF_UNIX) as engine:
                engine.settimeout(0.5)
                engine.connect(host.path)
        else:
            address = (host.hostname or "localhost", host.port or 2375)
            socket.create_connection(address, timeout=0.5).close()
    except OSError:
        return False
    return True
