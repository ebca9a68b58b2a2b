"""The process that ends a test's own servers when the test's process has gone, however it went.

It is told of their folders on its input, which the system closes when that process ends, ``kill -9`` included. Run as a script it
needs the standard library alone.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path


def guard(folder: Path) -> None:
    """End the server that has its data in ``folder``, and remove the folder, once this process is no more."""
    told = _guard().stdin
    assert told is not None
    told.write(f"{folder}\n")
    told.flush()


@cache
def _guard() -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # what ends the tests by their group does not end it
    )
    atexit.register(_let_go, process)
    return process


def _let_go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    process.wait()


def children_of(parent: int) -> list[int]:
    """The processes that ``parent`` has started, as /proc has them."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            found.append(int(entry.name))
    return found


def _end(folder: Path) -> None:
    with suppress(OSError, ValueError):  # it was stopped, and most often removed
        postmaster = int((folder / "data" / "postmaster.pid").read_text().split("\n", 1)[0])
        # The number may be somebody else's by now; a server works in its own folder.
        if Path(f"/proc/{postmaster}/cwd").samefile(folder / "data"):
            os.kill(postmaster, signal.SIGSTOP)  # it starts no more processes
            for pid in (postmaster, *children_of(postmaster)):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)  # a frozen one, too
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        folder.parent.rmdir()  # unless there is another one in it


if __name__ == "__main__":
    for ended in {line.rstrip("\n") for line in sys.stdin}:
        _end(Path(ended))
