"""Models that run in this process: loaded at their first use, one call at a time, beside the event loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class LocalModel:
    """A model and the one thread that it is called in: more would only share the same cores and its memory.

    Args:
        load: makes the model; takes its time.
    """

    def __init__(self, load: Callable[[], Any]) -> None:
        self._load = load
        self._model: Any = None
        self._thread: ThreadPoolExecutor | None = None

    async def call(self, work: Callable[[Any], T]) -> T:
        """What ``work`` makes of the model."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="timber-embedder")
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._work, work)

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
