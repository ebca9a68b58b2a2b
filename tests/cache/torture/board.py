"""What the processes know of one another's acknowledged writes: a file that all of them map into their memory."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

KEYS = 24
PROCESSES = 4
VERSIONS = 20_000
_SIZE = 8 * KEYS * (PROCESSES + VERSIONS)
_NUMBER = struct.Struct("<q")
_MOMENT = struct.Struct("<d")


class Board:
    """For each process and key the highest acknowledged version; for each key and version when it was acknowledged.

    Every cell is written by one process only: a version by its writer.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(b"\0" * _SIZE)
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _SIZE)

    def acknowledge(self, process: int, key: int, version: int, now: float) -> None:
        times = 8 * KEYS * PROCESSES
        _MOMENT.pack_into(self._map, times + 8 * (key * VERSIONS + version), now)
        cell = 8 * (process * KEYS + key)
        if version > _NUMBER.unpack_from(self._map, cell)[0]:
            _NUMBER.pack_into(self._map, cell, version)

    def of(self, process: int, key: int) -> int:
        """What a process has acknowledged."""
        number: int = _NUMBER.unpack_from(self._map, 8 * (process * KEYS + key))[0]
        return number

    def of_any(self, key: int) -> int:
        return max(self.of(process, key) for process in range(PROCESSES))

    def when(self, key: int, version: int) -> float:
        """When a version was acknowledged; 0 if it was not."""
        times = 8 * KEYS * PROCESSES
        moment: float = _MOMENT.unpack_from(self._map, times + 8 * (key * VERSIONS + version))[0]
        return moment

    def first_after(self, key: int, version: int) -> float:
        """When the first version above this one was acknowledged."""
        moments = [self.when(key, v) for v in range(version + 1, self.of_any(key) + 1)]
        return min(moment for moment in moments if moment)

    def close(self) -> None:
        self._map.close()
