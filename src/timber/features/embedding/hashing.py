"""An embedder for tests: no model, no meaning, always the same vector for the same words."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from hashlib import blake2b

_WORD = re.compile(r"\w+")


class HashingEmbedder:
    """Vectors that count words: for tests only, since it finds words and not meanings, and worse than a full-text search.

    Args:
        dimension: the number of buckets that words fall into.
    """

    def __init__(self, dimension: int = 256) -> None:
        self._dimension = dimension

    @property
    def name(self) -> str:
        """``hashing-for-tests-256``."""
        return f"hashing-for-tests-{self._dimension}"

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector for each text, of length 1; of a text without words of length 0."""
        return [self._vector(text) for text in texts]

    def _vector(self, text: str) -> list[float]:
        vector = [0.0] * self._dimension
        for word in _WORD.findall(text.lower()):
            number = int.from_bytes(blake2b(word.encode(), digest_size=8).digest(), "big")
            vector[(number >> 1) % self._dimension] += 1.0 if number & 1 else -1.0
        length = math.sqrt(sum(number * number for number in vector))
        return [number / length for number in vector] if length else vector
