"""What is left of somebody in a cache: a clear makes answers worthless, but their bytes lie there until they expire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson
from redis.exceptions import RedisError

from timber.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from redis.asyncio import Redis

    from timber.cache.keys import Keyspace
    from timber.cache.memory import MemoryCache

_SCAN: Final = 500  # keys that are looked at, or dropped, at once
_GLOB: Final = "*?[]\\^"


class Remains:
    """Looks through all copies for a text that stands in them as a whole value, such as a person's id.

    It goes through every key of the cache, which is for rare and thorough work.

    Args:
        memory: the first level of this process.
        client: Redis, if there is one.
    """

    def __init__(self, memory: MemoryCache, client: Redis | None, keys: Keyspace | None) -> None:
        self._memory = memory
        self._client = client
        self._keys = keys

    async def count(self, text: str) -> int:
        """How many copies hold the text.

        Raises:
            UnavailableError: Redis does not answer.
        """
        found = len(self._memory.holding(lambda value: _holds(value, text)))
        async for _ in self._naming(text):
            found += 1
        return found

    async def drop(self, text: str, models: Iterable[str]) -> int:
        """Drop the copies that hold the text, and every answer to a question about these models; how many held it.

        What hangs on a name with the text in it is dropped, too, so that the name is in no key any more.

        Raises:
            UnavailableError: Redis does not answer.
        """
        mine = self._memory.holding(lambda value: _holds(value, text))
        for name in mine:
            self._memory.drop(name)
        held = [key async for key in self._naming(text)]
        await self._unlink(held)
        if self._keys is not None:
            for model in models:
                await self._unlink_all(self._keys.entry(f"{model}?"), lambda _: True)
            named = self._keys.generation("")
            await self._unlink_all(
                named, lambda key: text in key.decode(errors="replace").split(":")
            )
        return len(mine) + len(held)

    async def _naming(self, text: str) -> AsyncIterator[bytes]:
        """The keys of entries that hold the text as a value of its own."""
        if self._client is None or self._keys is None:
            return
        quoted = orjson.dumps(text)
        async for keys in self._scan(self._keys.entry("")):
            try:
                values: list[Any] = await self._client.mget(keys)
            except (RedisError, OSError, TimeoutError) as error:
                raise _unavailable() from error
            for key, value in zip(keys, values, strict=True):
                if isinstance(value, bytes) and quoted in value:
                    yield key

    async def _unlink_all(self, beginning: str, chosen: Callable[[bytes], bool]) -> None:
        async for keys in self._scan(beginning):
            await self._unlink([key for key in keys if chosen(key)])

    async def _unlink(self, keys: list[bytes]) -> None:
        if keys and self._client is not None:
            try:
                await self._client.unlink(*keys)
            except (RedisError, OSError, TimeoutError) as error:
                raise _unavailable() from error

    async def _scan(self, beginning: str) -> AsyncIterator[list[bytes]]:
        """The keys with this beginning, some at a time."""
        if self._client is None:
            return
        escaped = "".join(f"\\{c}" if c in _GLOB else c for c in beginning)
        batch: list[bytes] = []
        try:
            async for key in self._client.scan_iter(match=f"{escaped}*", count=_SCAN):
                batch.append(key)
                if len(batch) >= _SCAN:
                    yield batch
                    batch = []
        except (RedisError, OSError, TimeoutError) as error:
            raise _unavailable() from error
        if batch:
            yield batch


def _holds(value: Any, text: str) -> bool:
    """Whether a frozen value is the text, or holds it as a value of its own."""
    if isinstance(value, bytes):
        return orjson.dumps(text) in value
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, tuple | list):
        return any(_holds(part, text) for part in value)
    return value is not None and str(value) == text


def _unavailable() -> UnavailableError:
    return UnavailableError("The cache cannot be looked through: Redis does not answer.")
