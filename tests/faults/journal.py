"""A ledger outside the database: what each client was about to do, and what it was told became of it.

A line is written before the work is begun and after it has ended, by the process that does it; lines of several processes do not
mix (O_APPEND). What was begun and never ended was in the hands of a process that died.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Said = Literal["committed", "rolled_back", "unknown", "failed"]
"""``failed``: an error of which nothing is known."""


@dataclass
class Work:
    """One piece of work in a journal."""

    name: str
    rows: int
    """How many rows it leaves if it happens."""
    begun: float
    said: Said | None = None
    ended: float | None = None
    why: str = ""
    more: dict[str, Any] = field(default_factory=dict)


class Journal:
    """A journal in a file; times are those of ``time.monotonic``, which all processes of a machine share."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)

    def close(self) -> None:
        os.close(self._file)

    def begin(self, name: str, *, rows: int = 1, **more: Any) -> None:
        """Something is about to be done under a name that nothing else has; ``more`` is kept with it."""
        self._write({"name": name, "rows": rows, "more": more, "begun": time.monotonic()})

    def end(self, name: str, said: Said, *, why: object = "") -> None:
        """The caller was told what became of it, ``why`` being the error."""
        self._write({"name": name, "said": said, "ended": time.monotonic(), "why": str(why)})

    def _write(self, line: Mapping[str, Any]) -> None:
        os.write(self._file, json.dumps(line).encode() + b"\n")

    def read(self) -> dict[str, Work]:
        """Every piece of work by its name."""
        found: dict[str, Work] = {}
        for text in self.path.read_text(encoding="utf-8").splitlines():
            line = json.loads(text)
            name = line.pop("name")
            if name not in found:
                found[name] = Work(name, **line)
                continue
            for key, value in line.items():
                setattr(found[name], key, value)
        return found


@dataclass
class Account:
    """A journal held against the rows that are there."""

    committed: int = 0
    """Acknowledged, and there."""
    rolled_back: int = 0
    """Called so, and not there."""
    lost: list[str] = field(default_factory=list)
    """Acknowledged, and not there as a whole."""
    doubled: list[str] = field(default_factory=list)
    """More rows than it has."""
    halved: list[str] = field(default_factory=list)
    """Fewer rows than it has, and not none."""
    denied: list[str] = field(default_factory=list)
    """Called rolled back, and there."""
    unresolved: list[str] = field(default_factory=list)
    """Called unknown, or nothing at all, by a process that lived."""
    unheard: int = 0
    """Begun by a process that died."""
    strangers: list[str] = field(default_factory=list)
    """Rows of nobody's work."""

    @classmethod
    def of(cls, works: Mapping[str, Work], rows: Mapping[str, int]) -> Account:
        """``rows``: how many rows there are of each piece of work, by its name."""
        account = cls(strangers=sorted(rows.keys() - works.keys()))
        there = Counter(rows)
        for work in works.values():
            found = there[work.name]
            if found > work.rows:
                account.doubled.append(work.name)
            elif 0 < found < work.rows:
                account.halved.append(work.name)
            if work.said == "committed":
                if found < work.rows:
                    account.lost.append(work.name)
                else:
                    account.committed += 1
            elif work.said == "rolled_back":
                if found:
                    account.denied.append(work.name)
                else:
                    account.rolled_back += 1
            elif work.said in {"unknown", "failed"}:
                account.unresolved.append(work.name)
            elif work.said is None:
                account.unheard += 1
        return account

    def check(self) -> None:
        """Nothing lost, doubled, halved, denied or unresolved."""
        wrong = {
            name: (len(found), found[:3])
            for name, found in vars(self).items()
            if isinstance(found, list) and found
        }
        assert not wrong, f"of {self.committed} acknowledged: {wrong}"
