"""Models that run in this process: loaded at their first use, one call at a time, beside the event loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")


class LocalModel:
    """A model and the one thread that it is called in: more would only share the same cores and its memory.

    Args:
        load: makes the model; takes its time.
        at_once: how many texts go through the model in one call. Who has stopped waiting is found out between two calls,
            so that the next one need not wait for an answer that nobody wants.
    """

    def __init__(self, load: Callable[[], Any], *, at_once: int) -> None:
        self._load = load
        self._at_once = at_once
        self._model: Any = None
        self._thread: ThreadPoolExecutor | None = None

    async def prepare(self) -> None:
        """Load the model, if that has not been done."""
        if self._model is None:
            await self.call(_nothing)

    async def call(self, work: Callable[[Any], T]) -> T:
        """What ``work`` makes of the model."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="timber-embedder")
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._work, work)

    async def vectors(
        self, texts: Sequence[str], encode: Callable[[Any, list[str]], Any]
    ) -> list[list[float]]:
        """The vectors of these texts; ``encode`` gives those of some as an array."""
        found: list[list[float]] = []
        for start in range(0, len(texts), self._at_once):
            some = list(texts[start : start + self._at_once])
            found += (await self.call(partial(_encoded, encode, some))).tolist()
        return found

    def close(self) -> None:
        """Let the thread end, and the model go."""
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)
            self._thread = None
        self._model = None

    def _work(self, work: Callable[[Any], T]) -> T:
        model = self._model
        if model is None:
            model = self._model = self._load()
        return work(model)


def _nothing(_model: Any) -> None:
    pass


def _encoded(encode: Callable[[Any, list[str]], Any], texts: list[str], model: Any) -> Any:
    return encode(model, texts)
