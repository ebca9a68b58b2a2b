"""Static embeddings of model2vec: a table of word vectors, quick without a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from timber.features.embedding.local import LocalModel


class Model2VecEmbedder:
    """An embedder with a model of model2vec; it comes with ``pip install 'timber-async[model2vec]'``.

    Args:
        model: the folder of a model, or its name on the hub, from where it is fetched at the first use.
        name: what its vectors are stored under; the last part of ``model`` where nothing is said.
    """

    def __init__(self, model: str | Path, *, name: str | None = None) -> None:
        self.name = name or Path(model).name
        self._local = LocalModel(lambda: _load(str(model)))

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector for each text."""
        return await self._local.call(lambda model: _encode(model, list(texts)))

    async def close(self) -> None:
        """Let the model go."""
        self._local.close()


def _load(model: str) -> Any:
    from model2vec import StaticModel  # pyright: ignore[reportMissingImports]  # noqa: PLC0415

    return StaticModel.from_pretrained(model)


def _encode(model: Any, texts: list[str]) -> list[list[float]]:
    vectors: list[list[float]] = model.encode(texts).tolist()
    return vectors
