"""Embedders that do what tests need: count what they are asked, fail, hang, or answer nonsense."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from timber.features.embedding.hashing import HashingEmbedder


class Recording(HashingEmbedder):
    """Remembers each call, and does something else where it is told to."""

    def __init__(self, dimension: int = 64) -> None:
        super().__init__(dimension)
        self.calls: list[list[str]] = []
        self.answer: Callable[[list[str]], Any] | None = None
        self.entered = asyncio.Event()
        self.gate: asyncio.Event | None = None

    @property
    def texts(self) -> list[str]:
        """Every text that was embedded, as often as it was."""
        return [text for call in self.calls for text in call]

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        self.calls.append(list(texts))
        self.entered.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.answer is not None:
            answer = self.answer(list(texts))
            return await answer if asyncio.iscoroutine(answer) else answer
        return await super().embed(texts)


class Renamed(HashingEmbedder):
    """The same vectors under another name: to a library they are another model's."""

    @property
    def name(self) -> str:
        return "another-for-tests"


def failing(error: BaseException) -> Callable[[list[str]], Any]:
    def answer(texts: list[str]) -> Any:
        raise error

    return answer
