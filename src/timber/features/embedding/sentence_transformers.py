"""Models of sentence-transformers, run in this process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from timber.features.embedding.local import LocalModel


class SentenceTransformersEmbedder:
    """An embedder with a model of sentence-transformers; it comes with ``pip install 'timber-async[sentence-transformers]'``.

    A query gets the prompt that the model has for queries, where it has one.

    Args:
        model: the folder of a model, or its name on the hub, from where it is fetched at the first use.
        name: what its vectors are stored under; the last part of ``model`` where nothing is said.
        device: ``cpu`` or ``cuda``; the best there is where nothing is said.
        at_once: how many texts go through the model at once.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        name: str | None = None,
        device: str | None = None,
        at_once: int = 16,
    ) -> None:
        self.name: str = name or Path(model).name
        self._local = LocalModel(lambda: _load(str(model), device), at_once=at_once)

    async def prepare(self) -> None:
        """Load the model."""
        await self._local.prepare()

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector for each text, of length 1."""

        def encode(model: Any, some: list[str]) -> Any:
            return model.encode_document(some, normalize_embeddings=True, show_progress_bar=False)

        return await self._local.vectors(texts, encode)

    async def embed_query(self, query: str) -> list[float]:
        """The vector to look for."""

        def encode(model: Any, some: list[str]) -> Any:
            return model.encode_query(some, normalize_embeddings=True, show_progress_bar=False)

        return (await self._local.vectors([query], encode))[0]

    async def close(self) -> None:
        """Let the model go."""
        self._local.close()


def _load(model: str, device: str | None) -> Any:
    from sentence_transformers import (  # pyright: ignore[reportMissingImports]  # noqa: PLC0415
        SentenceTransformer,
    )

    return SentenceTransformer(model, device=device)
