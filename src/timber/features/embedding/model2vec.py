"""Static embeddings of model2vec: a table of word vectors, quick without a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from timber.features.embedding.local import LocalModel

_AT_ONCE: Final = 1024


class Model2VecEmbedder:
    """An embedder with a model of model2vec; it comes with ``pip install 'timber-async[model2vec]'``.

    Args:
        model: the folder of a model, or its name on the hub, from where it is fetched at the first use.
        name: what its vectors are stored under; the last part of ``model`` where nothing is said.
    """

    def __init__(self, model: str | Path, *, name: str | None = None) -> None:
        self.name: str = name or Path(model).name
        self._local = LocalModel(lambda: _load(str(model)), at_once=_AT_ONCE)

    async def prepare(self) -> None:
        """Load the model."""
        await self._local.prepare()

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector for each text."""
        return await self._local.vectors(texts, lambda model, some: model.encode(some))

    async def close(self) -> None:
        """Let the model go."""
        self._local.close()


def _load(model: str) -> Any:
    from model2vec import StaticModel  # pyright: ignore[reportMissingImports]  # noqa: PLC0415

    return StaticModel.from_pretrained(model)
