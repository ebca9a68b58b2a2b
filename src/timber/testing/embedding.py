"""An embedder for tests: always the same vector for the same words, and it can be made to fail."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from hashlib import blake2b

_WORD = re.compile(r"\w+")


class FakeEmbedder:
    """Counts words into the dimensions of a vector: texts that share words are close.

    Args:
        dimension: of each vector.

    Attributes:
        texts: every text it was asked for, in order.
        failures: errors that the next calls raise, one each.
    """

    def __init__(self, dimension: int = 16) -> None:
        self._dimension = dimension
        self.texts: list[str] = []
        self.failures: list[BaseException] = []

    @property
    def name(self) -> str:
        """What is stored with each vector."""
        return f"fake-{self._dimension}"

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector for each text, of length 1."""
        if self.failures:
            raise self.failures.pop(0)
        self.texts += texts
        return [self._vector(text) for text in texts]

    def _vector(self, text: str) -> list[float]:
        vector = [0.0] * self._dimension
        for word in _WORD.findall(text.lower()):
            digest = blake2b(word.encode(), digest_size=8).digest()
            vector[int.from_bytes(digest, "big") % self._dimension] += 1.0
        length = math.sqrt(sum(part * part for part in vector))
        return [part / length for part in vector] if length else [1.0, *vector[1:]]
