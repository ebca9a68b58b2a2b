"""A text in pieces, each small enough for one vector, cut where people would."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

# From the best place to cut to the worst: after a paragraph, a sentence, a line, a word.
_CUTS = tuple(
    re.compile(pattern)
    for pattern in (
        r"\n[ \t]*\n\s*",
        r"[.!?:;]['\")\]]*\s+|[\u3002\uff01\uff1f]\s*",
        r"\n",
        r"\s+",
    )
)


@dataclass(frozen=True, slots=True)
class Chunk:
    """One piece of a text.

    Attributes:
        start: its first character.
        length: the number of its characters.
        digest: the digest of its text, which it is known by: 32 bytes.
    """

    start: int
    length: int
    digest: bytes

    def of(self, text: str) -> str:
        """The piece itself."""
        return text[self.start : self.start + self.length]


def chunks(text: str, *, size: int, overlap: int) -> list[Chunk]:
    """The pieces of a text, each once, none of them blank.

    Where a piece ends depends on where it begins and on what follows, so that after a change the cuts soon fall where
    they fell before: what is behind a change keeps its pieces, and so their vectors.

    Args:
        size: how many characters a piece has at most.
        overlap: about how many characters two neighbours share.
    """
    found: dict[bytes, Chunk] = {}
    for start, end in _spans(text, size, overlap):
        piece = text[start:end]
        stripped = piece.strip()
        if stripped:
            begin = start + len(piece) - len(piece.lstrip())
            digest = sha256(stripped.encode("utf-8", "surrogatepass")).digest()
            found.setdefault(digest, Chunk(begin, len(stripped), digest))
    return list(found.values())


def _spans(text: str, size: int, overlap: int) -> Iterator[tuple[int, int]]:
    start = 0
    while len(text) - start > size:
        cut = _cut(text, start, start + size, overlap)
        yield start, cut
        start = _back(text, cut, overlap)
    yield start, len(text)


def _cut(text: str, start: int, limit: int, overlap: int) -> int:
    """Where the piece from ``start`` ends: the last good place in its second half, or its limit."""
    # A cut before this would not get further than the piece before it.
    earliest = max(start + (limit - start) // 2, start + overlap + 1)
    for pattern in _CUTS:
        last = None
        for last in pattern.finditer(text, earliest, limit):  # noqa: B007  # the last one is wanted
            pass
        if last is not None:
            return last.end()
    return limit


def _back(text: str, cut: int, overlap: int) -> int:
    """Where the next piece begins: the first word within the overlap before the cut."""
    if overlap == 0:
        return cut
    word = _CUTS[-1].search(text, cut - overlap, cut)
    return word.end() if word is not None and word.end() < cut else cut - overlap
