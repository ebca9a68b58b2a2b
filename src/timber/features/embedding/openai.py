"""Vectors from a service that speaks OpenAI's protocol: OpenAI itself, or Ollama, vLLM, text-embeddings-inference and others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import orjson
from pydantic import SecretStr
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from timber.errors import ConfigurationError, UnavailableError

_BUSY: Final = 429
_LONGEST_WAIT: Final = 20.0


class OpenAIEmbedder:
    """An embedder at the other end of ``POST {url}/embeddings``; it comes with ``pip install 'timber-async[openai]'``.

    What may pass is asked again with growing waits, or when the service says: 429, 5xx, a lost connection. The key is
    sent in a header, and is in no log, message or traceback.

    Args:
        url: what stands before ``/embeddings``: ``https://api.openai.com/v1``.
        model: the name of the model.
        key: what the service knows its caller by.
        dimension: how long vectors are to be, where the model can shorten them.
        timeout: seconds for one answer, with all attempts.
        attempts: how often it is tried in all.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        key: SecretStr | str | None = None,
        dimension: int | None = None,
        timeout: float = 30.0,
        attempts: int = 4,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError(
                "The URL of an embedding service begins with http:// or https://."
            )
        self.name = model
        self._host = parts.hostname
        self._url = f"{url.rstrip('/')}/embeddings"
        self._key = key if key is None or isinstance(key, SecretStr) else SecretStr(key)
        self._more = {} if dimension is None else {"dimensions": dimension}
        self._timeout = timeout
        self._attempts = attempts
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"<OpenAIEmbedder {self.name} at {self._host}>"

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector for each text.

        Raises:
            UnavailableError: the service cannot be reached, or went on refusing.
            ConfigurationError: it does not take the key or the request, or answers something else than vectors.
        """
        retrying = AsyncRetrying(
            stop=stop_after_attempt(self._attempts),
            wait=_when_it_says,
            retry=retry_if_exception_type(_MayPassError),
            reraise=True,
        )
        try:
            async with asyncio.timeout(self._timeout):
                return await retrying(self._ask, list(texts))
        except TimeoutError:
            raise UnavailableError(
                f"{self._host} gave no vectors within {self._timeout:g} s."
            ) from None

    async def close(self) -> None:
        """Close the connections to the service."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _ask(self, texts: list[str]) -> list[list[float]]:
        if self._session is None:
            self._session = aiohttp.ClientSession()
        headers = {}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key.get_secret_value()}"
        asked = {"model": self.name, "input": texts, **self._more}
        problem = "broke off the connection"
        # What the client raises holds the request with its headers, so that nothing is raised from inside it.
        with suppress(aiohttp.ClientError):
            async with self._session.post(self._url, json=asked, headers=headers) as response:
                if response.status == 200:
                    return _vectors(await response.read(), len(texts), self._host)
                problem = f"answered with status {response.status}"
                if response.status != _BUSY and response.status < 500:
                    raise ConfigurationError(f"{self._host} {problem} to a request for vectors.")
                raise _MayPassError(
                    f"{self._host} {problem}.", wait=response.headers.get("Retry-After")
                )
        raise _MayPassError(f"{self._host} {problem}.")


class _MayPassError(UnavailableError):
    """The service is busy, broken or out of reach, which may pass."""

    def __init__(self, message: str, *, wait: str | None = None) -> None:
        super().__init__(message)
        self.wait = 0.0
        if wait is not None:
            with suppress(ValueError):  # it may also be a date, of a clock that need not be ours
                self.wait = float(wait)


_GROWING = wait_random_exponential(multiplier=0.5, max=_LONGEST_WAIT)


def _when_it_says(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome is not None else None
    said = error.wait if isinstance(error, _MayPassError) else 0.0
    return max(min(said, _LONGEST_WAIT), _GROWING(state))


def _vectors(body: bytes, number: int, host: str) -> list[list[float]]:
    """The vectors of an answer, in the order of the texts."""
    try:
        answer: Any = orjson.loads(body)
        found = {int(item["index"]): list(item["embedding"]) for item in answer["data"]}
        return [found[index] for index in range(number)]
    except (KeyError, IndexError, TypeError, ValueError):
        raise ConfigurationError(
            f"{host} answered something else than one vector for each text."
        ) from None
