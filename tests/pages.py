"""Pages of the documentation as programs: the blocks of one in order, and the files that they make.

A block after a sentence that ends with a file's name in backquotes and a colon is that file; a diff changes the file that was
named last.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(
    r"^(?P<indent> *)```(?P<language>\w+)\n(?P<text>.*?)^(?P=indent)```$|`(?P<file>[\w./-]+\.\w+)`:\s*$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Block:
    """One block of a page.

    Attributes:
        line: where its text begins, counted from 1.
        file: what it is the content of, or changes.
    """

    language: str
    text: str
    line: int
    file: str | None

    def apply(self, folder: Path) -> None:
        """Write the file, or change it."""
        assert self.file is not None
        path = folder / self.file
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.language != "diff":
            path.write_text(self.text, encoding="utf-8")
            return
        before = path.read_text(encoding="utf-8")
        lines = [(line[0], line[1:]) for line in self.text.splitlines(keepends=True)]
        old = "".join(line for sign, line in lines if sign in " -")
        new = "".join(line for sign, line in lines if sign in " +")
        assert before.count(old) == 1, f"line {self.line}: what is changed in {self.file}"
        path.write_text(before.replace(old, new), encoding="utf-8")


def blocks(text: str) -> Iterator[Block]:
    """The blocks of a page in order."""
    named: str | None = None
    named_last: str | None = None
    for found in _BLOCK.finditer(text):
        if found["file"]:
            named = named_last = found["file"]
            continue
        line = text.count("\n", 0, found.start("text")) + 1
        file = named_last if found["language"] == "diff" else named
        code = re.sub(f"^{found['indent']}", "", found["text"], flags=re.MULTILINE)
        yield Block(found["language"], code, line, file)
        named = None
