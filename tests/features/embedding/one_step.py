"""A worker in a process of its own, which says when it asks its embedder a second time, and then never hears of it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from tests.features.embedding.conftest import REGISTRY
from timber import Timber
from timber.features.embedding.embedding import EmbeddingOptions
from timber.features.embedding.hashing import HashingEmbedder
from timber.features.embedding.provider import EmbeddingProvider


class Stuck(HashingEmbedder):
    """Answers once."""

    asked = 0

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        self.asked += 1
        if self.asked > 1:
            sys.stdout.write("embedding\n")
            sys.stdout.flush()
            await asyncio.sleep(60)
        return await super().embed(texts)


async def main(url: str) -> None:
    # A lease of four seconds.
    options = EmbeddingOptions(timeout=1000.0, batch=16, margin=-2996.0)
    provider = EmbeddingProvider(Stuck(64), options=options)
    async with Timber(url, registry=REGISTRY, providers=[provider]) as timber:
        await timber.background().run_once()


asyncio.run(main(sys.argv[1]))
