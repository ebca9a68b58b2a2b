"""Small files that are there as a whole or not at all, after a crash and for other processes."""

from __future__ import annotations

import os
import secrets
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path


def replace_file(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, in place of one that may be there."""
    with _written(path, content) as new:
        new.replace(path)
        _keep_names(path.parent)


def create_file(path: Path, content: bytes) -> bool:
    """Write a file that only its owner can read, unless there is one; whether it was written."""
    with _written(path, content) as new:
        try:
            path.hardlink_to(new)
        except FileExistsError:
            return False
        _keep_names(path.parent)
        return True


def overwrite_file(path: Path, content: bytes) -> None:
    """Write a file in place of another one, whose bytes on the disk are overwritten where the file system allows it."""
    with path.open("rb+") as old:
        replace_file(path, content)
        old.write(bytes(os.fstat(old.fileno()).st_size))
        old.flush()
        os.fsync(old.fileno())


@contextmanager
def alone(lock: Path) -> Generator[None]:
    """While this is held no other process holds it."""
    file = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if sys.platform != "win32":
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


@contextmanager
def _written(path: Path, content: bytes) -> Generator[Path]:
    """A new file beside ``path`` with this content, on the disk; what is left of it at the end is removed."""
    new = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(file, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        yield new
    finally:
        with suppress(FileNotFoundError):
            new.unlink()


def _keep_names(folder: Path) -> None:
    """Have the names in a folder written to the disk."""
    file = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
