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
        batch_size: how many texts go through the model at once.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        name: str | None = None,
        device: str | None = None,
        batch_size: int = 32,
    ) -> None:
        self.name = name or Path(model).name
        self._local = LocalModel(lambda: _load(str(model), device))
        self._batch_size = batch_size

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector for each text, of length 1."""
        given = list(texts)

        def encode(model: Any) -> list[list[float]]:
            vectors: list[list[float]] = model.encode_document(
                given,
                batch_size=self._batch_size,
                normalize_embeddings=True,
                show_progress_bar=False,
            ).tolist()
            return vectors

        return await self._local.call(encode)

    async def embed_query(self, query: str) -> list[float]:
        """The vector to look for."""

        def encode(model: Any) -> list[float]:
            vector: list[float] = model.encode_query(
                query, normalize_embeddings=True, show_progress_bar=False
            ).tolist()
            return vector

        return await self._local.call(encode)

    async def close(self) -> None:
        """Let the model go."""
        self._local.close()


def _load(model: str, device: str | None) -> Any:
    from sentence_transformers import (  # pyright: ignore[reportMissingImports]  # noqa: PLC0415
        SentenceTransformer,
    )

    return SentenceTransformer(model, device=device)
