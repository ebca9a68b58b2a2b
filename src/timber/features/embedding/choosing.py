"""The embedder that the settings name, ``model2vec:PATH`` for instance."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urldefrag

from timber.errors import ConfigurationError
from timber.features.embedding.embedding import EmbeddingOptions
from timber.features.embedding.provider import EmbeddingProvider
from timber.models.column_types import nearest

if TYPE_CHECKING:
    from timber.features.embedding.embedder import Embedder
    from timber.settings import TimberSettings

_HERE: Final = "timber.features.embedding"


def provider_of_settings(settings: TimberSettings) -> EmbeddingProvider | None:
    """The provider with the embedder that the settings name; None if they name none.

    Raises:
        ConfigurationError: there is no such kind of embedder, or what it needs is not installed.
    """
    if settings.embedder is None:
        return None
    options = EmbeddingOptions(
        timeout=settings.embedder_timeout,
        batch=settings.embedding_batch,
        attempts=settings.embedding_attempts,
        longest_text=settings.embedding_longest_text,
    )
    return EmbeddingProvider(embedder_of_settings(settings), options=options, owned=True)


def embedder_of_settings(settings: TimberSettings) -> Embedder:
    """The embedder that the settings name.

    Raises:
        ConfigurationError: there is no such kind of embedder, or what it needs is not installed.
    """
    kind, _, rest = (settings.embedder or "").partition(":")
    make = _KINDS.get(kind)
    if make is None or not rest:
        raise ConfigurationError(
            f"The setting `embedder` is no embedder{nearest(kind, _KINDS)}: write model2vec:FOLDER, "
            "sentence-transformers:NAME, openai:URL#MODEL, or hashing:256 in tests."
        )
    return make(rest, settings)


def _model2vec(rest: str, _settings: TimberSettings) -> Embedder:
    return _adapter("model2vec", "Model2VecEmbedder", needs="model2vec")(rest)


def _sentence_transformers(rest: str, _settings: TimberSettings) -> Embedder:
    adapter = _adapter(
        "sentence_transformers", "SentenceTransformersEmbedder", needs="sentence_transformers"
    )
    return adapter(rest)


def _openai(rest: str, settings: TimberSettings) -> Embedder:
    url, model = urldefrag(rest)
    if not model:
        raise ConfigurationError(
            "The setting `embedder` names no model behind its URL: write openai:https://host/v1#MODEL."
        )
    return _adapter("openai", "OpenAIEmbedder", needs="aiohttp")(
        url, model, key=settings.embedder_key, timeout=settings.embedder_timeout
    )


def _hashing(rest: str, settings: TimberSettings) -> Embedder:
    if settings.production:
        raise ConfigurationError(
            "The embedder `hashing` is for tests only and TIMBER_ENV is production: name one that knows meanings."
        )
    if not rest.isascii() or not rest.isdigit() or not 1 <= int(rest) <= 2000:
        raise ConfigurationError("The embedder `hashing` takes a dimension from 1 to 2000.")
    return _adapter("hashing", "HashingEmbedder")(int(rest))


def _adapter(module: str, name: str, *, needs: str | None = None) -> Callable[..., Embedder]:
    """The class of an adapter, once what it needs is there."""
    try:
        if needs is not None:
            import_module(needs)
        adapter: Any = getattr(import_module(f"{_HERE}.{module}"), name)
    except ModuleNotFoundError as error:
        extra = module.replace("_", "-")
        raise ConfigurationError(
            f"The embedder `{extra}` needs {error.name}, which is not installed. It comes with "
            f"pip install 'timber-async[{extra}]'"
        ) from error
    return adapter  # type: ignore[no-any-return]


_KINDS: Final[dict[str, Callable[[str, TimberSettings], Embedder]]] = {
    "model2vec": _model2vec,
    "sentence-transformers": _sentence_transformers,
    "openai": _openai,
    "hashing": _hashing,
}
