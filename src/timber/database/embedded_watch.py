"""Who uses an embedded server, and the process that stops it when the last user is gone.

Every user holds a shared lock on the file ``users``; the system releases it however the user ends, ``kill -9``
included, so no list of process ids can go stale. Starting and stopping happen under an exclusive lock on the file
``lock``. Run as a script this waits for the last user; with nothing but the standard library it starts quickly.
"""

from __future__ import annotations

import math
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

if sys.platform != "win32":
    import fcntl

_POLL = 0.01


class Postmaster(NamedTuple):
    """A running server, as its ``postmaster.pid`` describes it."""

    pid: int
    socket_dir: Path
    port: int

    @classmethod
    def of(cls, data: Path) -> Postmaster | None:
        """The server of this data directory, None if none answers.

        The file alone proves nothing: it survives a crash, and its process id may be somebody else's by now.
        """
        try:
            lines = (data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
            found = cls(int(lines[0]), data / lines[4], int(lines[3]))
        except (FileNotFoundError, ValueError, IndexError):
            return None
        return found if found._answers() else None

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self.socket_dir / f".s.PGSQL.{self.port}"))
            except OSError:
                return False
        return True


def make_directory(directory: Path) -> None:
    """Make the directory and its lock files, which nothing else makes: a removed directory stays removed."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / ".gitignore").write_text("*\n", encoding="utf-8")
    for name in ("lock", "users"):
        (directory / name).touch(0o600)


def share_users(directory: Path) -> int:
    """Count the caller as a user of the server until the returned file descriptor is closed."""
    users = _open(directory / "users")
    fcntl.flock(users, fcntl.LOCK_SH)
    return users


@contextmanager
def nobody_else(directory: Path, *, timeout: float = 60.0) -> Generator[None]:
    """While this is held no other process starts or stops the server of this directory.

    Raises TimeoutError when another process has held it for ``timeout`` seconds, FileNotFoundError when the
    directory is gone.
    """
    lock = _open(directory / "lock")
    try:
        if not _within(timeout, lambda: _alone(lock)):
            raise TimeoutError(f"another process holds {directory / 'lock'}")
        yield
    finally:
        os.close(lock)


def stop_unused(directory: Path) -> bool:
    """Stop the server unless somebody uses it; called inside :func:`nobody_else`."""
    users = _open(directory / "users")
    try:
        # A watch that has just seen the last user go holds this too, and lets go again at once.
        if not _within(0.03, lambda: _alone(users)):
            return False
        _stop(directory / "data")
        return True
    finally:
        os.close(users)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR)


def _alone(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _stop(data: Path) -> None:
    server = Postmaster.of(data)
    if server is None:
        return
    pid_file = data / "postmaster.pid"
    # Fast: clients are cut off and the data is flushed. Only if that hangs, at once: the next start recovers.
    for number, seconds in ((signal.SIGINT, 30.0), (signal.SIGQUIT, 5.0)):
        with suppress(ProcessLookupError):
            os.kill(server.pid, number)
        if _within(seconds, lambda: not pid_file.exists()):
            break
    # The file goes just before the process does.
    _within(0.5, lambda: _ended(server.pid))
    if server.socket_dir != data:
        with suppress(OSError):
            server.socket_dir.rmdir()


def _ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False
    # Ended, and its parent has not asked for it yet; in a container without an init nobody ever does.
    return state == "Z"


def _within(seconds: float, true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL)
    return True


def _watch(directory: Path) -> None:
    stopped = False
    while not stopped:
        users = _open(directory / "users")
        fcntl.flock(users, fcntl.LOCK_EX)
        # Not kept while asking for the other lock: whoever starts a server takes the two in the other order.
        os.close(users)
        with nobody_else(directory, timeout=math.inf):
            stopped = stop_unused(directory)


if __name__ == "__main__" and os.fork() == 0:
    # The caller waits for its child only; the grandchild outlives it.
    with suppress(FileNotFoundError):
        _watch(Path(sys.argv[1]))
