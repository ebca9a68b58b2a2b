"""What turns texts into vectors, and what is held against it before a vector is believed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

from timber.errors import ConfigurationError, ServiceError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Vector = Sequence[float]

_LARGEST: Final = 3.4e38  # of a float of four bytes


@runtime_checkable
class Embedder(Protocol):
    """Turns texts into vectors, many at a time; close vectors are of texts that mean something alike."""

    @property
    def name(self) -> str:
        """The model behind it. It is stored with each vector: vectors of different names are never compared."""
        raise NotImplementedError

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        """One vector for each text, in order; all of the dimension that the model of rows declares."""
        raise NotImplementedError


@runtime_checkable
class QueryEmbedder(Embedder, Protocol):
    """An embedder that looks for a text with another vector than it stores for it."""

    async def embed_query(self, query: str) -> Vector:
        """The vector to look for."""
        raise NotImplementedError


@runtime_checkable
class PreparedEmbedder(Embedder, Protocol):
    """An embedder that has to be made ready, which may take longer than any call of it."""

    async def prepare(self) -> None:
        """Load what it needs, if that has not been done."""


class NoAnswerError(UnavailableError):
    """The embedder gave no answer in time."""


class CheckedEmbedder:
    """An embedder as a model of rows uses it: with a deadline, and every answer held against what was asked.

    Args:
        model: whose rows they are, for messages.
        dimension: of each vector.
        seconds: how long one call may take.
    """

    def __init__(self, embedder: Embedder, *, model: str, dimension: int, seconds: float) -> None:
        self._embedder = embedder
        self._model = model
        self._dimension = dimension
        self._seconds = seconds

    @property
    def name(self) -> str:
        """The name of the embedder."""
        return self._embedder.name

    async def embed(self, texts: Sequence[str]) -> list[str]:
        """The vectors of these texts, as pgvector writes them.

        Raises:
            UnavailableError: the embedder failed, or gave no answer in time.
            ConfigurationError: what it gave is not one vector of the declared dimension for each text.
        """
        vectors = await self._within(self._embedder.embed, texts)
        if not hasattr(vectors, "__len__"):
            raise ConfigurationError(f"{self._who} did not give a list of vectors.")
        if len(vectors) != len(texts):
            raise ConfigurationError(
                f"{self._who} gave {len(vectors)} vectors for {len(texts)} texts: it is to give one for each, in order."
            )
        return [self._checked(vector) for vector in vectors]

    async def embed_query(self, query: str) -> str | None:
        """The vector to look for, None if it points nowhere.

        Raises:
            UnavailableError: the embedder failed, or gave no answer in time.
            ConfigurationError: what it gave is not one vector of the declared dimension.
        """
        if not isinstance(self._embedder, QueryEmbedder):
            vector = (await self.embed([query]))[0]
        else:
            vector = self._checked(await self._within(self._embedder.embed_query, query))
        return vector if vector.strip("[],-0") else None

    @property
    def _who(self) -> str:
        return f"The embedder {self.name!r} of {self._model}"

    async def _within(self, ask: Callable[[Any], Awaitable[Any]], given: object) -> Any:
        """An answer within the deadline, also from an embedder that takes no notice of being cancelled."""

        async def answer() -> Any:
            return await ask(given)

        if isinstance(self._embedder, PreparedEmbedder):
            await self._prepared(self._embedder)
        task = asyncio.create_task(answer())
        try:
            await asyncio.wait([task], timeout=self._seconds)
        finally:
            if not task.done():
                task.cancel()
                task.add_done_callback(_take_note)
        if not task.done():
            raise NoAnswerError(
                f"{self._who} gave no answer within {self._seconds:g} s: "
                "raise embedder_timeout if it needs longer."
            )
        try:
            return task.result()
        except ServiceError:
            raise
        except Exception as error:  # whatever somebody's embedder raises
            raise UnavailableError(f"{self._who} failed with {type(error).__name__}.") from error

    async def _prepared(self, embedder: PreparedEmbedder) -> None:
        try:
            await embedder.prepare()
        except ServiceError:
            raise
        except Exception as error:  # no such folder, not enough memory, and so on
            raise UnavailableError(
                f"{self._who} could not be loaded: {type(error).__name__}."
            ) from error

    def _checked(self, vector: Any) -> str:
        try:
            numbers = [float(number) for number in vector]
        except (TypeError, ValueError):
            raise ConfigurationError(
                f"{self._who} gave something that is no list of numbers."
            ) from None
        if len(numbers) != self._dimension:
            raise ConfigurationError(
                f"{self._who} gives vectors of {len(numbers)} dimensions, and the model declares {self._dimension}: "
                "change one of the two."
            )
        if not all(abs(number) <= _LARGEST for number in numbers):
            raise ConfigurationError(
                f"{self._who} gave a vector with NaN, or with a number that is too large."
            )
        return f"[{','.join(f'{number:.9g}' for number in numbers)}]"


def _take_note(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()  # so that nobody complains of an error that nobody waits for
